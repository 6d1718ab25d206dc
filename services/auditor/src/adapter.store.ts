import type { DataSource } from 'typeorm';
import type { Engine } from '@studio/shared/domain/job';
import { addSuspects, type Suspect } from './suspects.store';

/** A delivered adapter, as the copy rule walks over them. */
export interface AdapterRow {
  jobId: string;
  engine: Engine;
  /** Hash of the training image's pixels, and its file. */
  imageHash: string;
  imageSha256: string;
  loraSha256: string;
  /** As Postgres writes them. */
  takenAt: string;
  finishedAt: string;
  checked: boolean;
  /** Replicas and references' results are never suspects: the former are compared anyway, the latter are the truth. */
  suspectable: boolean;
  /** `copyCosine` of the policy under which the job was drawn. */
  threshold: number;
}

/** Where the walk goes on. */
export interface AdapterPosition {
  takenAt: string;
  jobId: string;
}

const ROWS = `
  SELECT a.job_id AS "jobId", a.engine, a.image_hash AS "imageHash", j.input->'image'->>'sha256' AS "imageSha256",
         a.lora_sha256 AS "loraSha256", a.taken_at::text AS "takenAt", d.finished_at::text AS "finishedAt",
         a.checked_at IS NOT NULL AS checked, d.u IS NOT NULL AS suspectable,
         (p.body->'audit'->>'copyCosine')::float8 AS threshold
    FROM studio.adapters a
    JOIN studio.draws d ON d.job_id = a.job_id
    JOIN studio.jobs j ON j.id = a.job_id
    JOIN studio.policies p ON p.version = d.policy_version`;

export class AdapterStore {
  constructor(private readonly source: DataSource) {}

  /** The adapters after `position`, in the order they were taken in: one intake at a time, so that none appears late. */
  async after(position: AdapterPosition, limit: number): Promise<AdapterRow[]> {
    return this.source.query(
      `${ROWS} WHERE (a.taken_at, a.job_id) > ($1::timestamptz, $2::uuid) ORDER BY a.taken_at, a.job_id LIMIT $3`,
      [position.takenAt, position.jobId, limit],
    );
  }

  /** Up to `limit` adapters before the oldest unchecked one (before now, when all are checked), oldest first. */
  async beforeUnchecked(limit: number): Promise<AdapterRow[]> {
    return this.source.query(
      `SELECT * FROM (${ROWS}
         WHERE a.taken_at < COALESCE((SELECT min(taken_at) FROM studio.adapters WHERE checked_at IS NULL), 'infinity')
         ORDER BY a.taken_at DESC, a.job_id DESC LIMIT $1) recent
       ORDER BY "takenAt"::timestamptz, "jobId"`,
      [limit],
    );
  }

  /** Notes the outcome of a comparison: the audits that suspicion calls for, and the adapter as checked. */
  async checked(jobId: string, suspects: readonly Suspect[]): Promise<void> {
    await this.source.transaction(async (tx) => {
      await addSuspects(tx, suspects);
      await tx.query('UPDATE studio.adapters SET checked_at = studio.now() WHERE job_id = $1 AND checked_at IS NULL', [
        jobId,
      ]);
    });
  }
}
