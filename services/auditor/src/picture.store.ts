import type { DataSource } from 'typeorm';
import type { Engine, InferenceInput } from '@studio/shared/domain/job';
import type { Indexed } from './picture-index';
import { addSuspects, type Suspect } from './suspects.store';

/** A draw, as the picture rule walks over them. */
export interface PictureRow extends WalkPosition {
  engine: Engine;
  /** Microseconds since 1970. */
  finishedUs: number;
  /** Up to here the walk has come already, in this process or another. */
  checked: boolean;
  /** Replicas and references' results are never suspects: the former are compared anyway, the latter are the truth. */
  suspectable: boolean;
  reference: boolean;
  /** Of an inference; else null. */
  input: InferenceInput | null;
  pictures: Indexed[];
}

/** Where the walk goes on. */
export interface WalkPosition {
  /** As Postgres writes it. */
  takenAt: string;
  jobId: string;
}

const BEGINNING: WalkPosition = { takenAt: '-infinity', jobId: '00000000-0000-0000-0000-000000000000' };

export class PictureStore {
  constructor(private readonly source: DataSource) {}

  /**
   * `draws` inferences before the place that all replicas together have come to, for one that has to remember them. The
   * first ever to ask begins after what is settled: nothing follows from an audit that comes later.
   */
  async start(draws: number): Promise<WalkPosition> {
    await this.source.query(
      `INSERT INTO studio.picture_walk (taken_at, job_id)
       (SELECT taken_at, job_id FROM studio.draws WHERE epoch <= (SELECT max(epoch) FROM studio.settlements)
         ORDER BY taken_at DESC, job_id DESC LIMIT 1)
       UNION ALL SELECT $1::timestamptz, $2::uuid LIMIT 1
       ON CONFLICT DO NOTHING`,
      [BEGINNING.takenAt, BEGINNING.jobId],
    );
    const [walk]: WalkPosition[] = await this.source.query(
      'SELECT taken_at::text AS "takenAt", job_id AS "jobId" FROM studio.picture_walk',
    );
    const [start]: WalkPosition[] = await this.source.query(
      `SELECT taken_at::text AS "takenAt", job_id AS "jobId" FROM studio.draws
        WHERE kind = 'lora-inference' AND (taken_at, job_id) <= ($1::timestamptz, $2::uuid)
        ORDER BY taken_at DESC, job_id DESC OFFSET $3 LIMIT 1`,
      [walk?.takenAt, walk?.jobId, draws],
    );
    return start ?? BEGINNING;
  }

  /** The draws after `position`, in the order they were taken in: one intake at a time, so that none appears late. */
  async after({ takenAt, jobId }: WalkPosition, limit: number): Promise<PictureRow[]> {
    return this.source.query(ROWS, [takenAt, jobId, limit]);
  }

  /** Notes that everything up to `position` was compared, with what came of it. */
  async checked({ takenAt, jobId }: WalkPosition, suspects: readonly Suspect[]): Promise<void> {
    await this.source.transaction(async (tx) => {
      await addSuspects(tx, suspects);
      await tx.query(
        `UPDATE studio.picture_walk SET taken_at = $1::timestamptz, job_id = $2::uuid
          WHERE (taken_at, job_id) < ($1::timestamptz, $2::uuid)`,
        [takenAt, jobId],
      );
    });
  }

  /** File of the photograph that this LoRA was trained on here; undefined for one that a client brought. */
  async photographOf(loraSha256: string): Promise<string | undefined> {
    const rows: { sha256: string }[] = await this.source.query(
      `SELECT j.input->'image'->>'sha256' AS sha256
         FROM studio.adapters a JOIN studio.jobs j ON j.id = a.job_id
        WHERE a.lora_sha256 = $1 ORDER BY a.taken_at LIMIT 1`,
      [loraSha256],
    );
    return rows[0]?.sha256;
  }
}

/** First the draws, then the jobs of the inferences among them, then what is known of each picture. */
const ROWS = `
  WITH walked AS MATERIALIZED (
    SELECT job_id, kind, engine, taken_at, finished_at, u, award_id FROM studio.draws
     WHERE (taken_at, job_id) > ($1::timestamptz, $2::uuid) ORDER BY taken_at, job_id LIMIT $3)
  SELECT d.job_id AS "jobId", d.engine, d.taken_at::text AS "takenAt",
         (extract(epoch FROM d.finished_at) * 1000000)::float8 AS "finishedUs",
         (d.taken_at, d.job_id) <= (w.taken_at, w.job_id) AS checked,
         d.u IS NOT NULL AS suspectable, d.award_id IS NULL AS reference,
         j.input, COALESCE(pictures.list, '[]') AS pictures
    FROM walked d
    CROSS JOIN studio.picture_walk w
    LEFT JOIN studio.jobs j ON j.id = d.job_id AND d.kind = 'lora-inference'
    LEFT JOIN LATERAL (
      SELECT jsonb_agg(jsonb_build_object('pixelHash', i.image->>'pixelHash', 'dctHash', a.facts->>'dctHash')
                       ORDER BY i.ordinality) AS list
        FROM jsonb_array_elements(j.result->'images') WITH ORDINALITY AS i(image, ordinality)
        LEFT JOIN studio.artifacts a ON a.sha256 = i.image->>'sha256') pictures ON true
   ORDER BY d.taken_at, d.job_id`;
