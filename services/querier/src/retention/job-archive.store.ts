/** Finished jobs on their way out of `jobs`: written to a file first, then deleted, in one transaction. */
import { HOUSE_CLIENT_ID } from '@studio/shared/contract/submit-job';
import { RETENTION_LOCK } from '@studio/shared/database/locks';
import { DEFAULT_POLICY } from '@studio/shared/domain/policy';
import type { DataSource, EntityManager } from 'typeorm';
import { firstIdAt } from './time-ids';

/** A job with its attempts as they stand in the tables: `jsonb_populate_record` makes the rows again. */
export interface ArchivedJob {
  job: { id: string } & Record<string, unknown>;
  attempts: Record<string, unknown>[];
}

export interface StoredArchive {
  sha256: string;
  bytes: number;
}

export interface ArchiveQuery {
  /** Jobs that finished in the last so many milliseconds stay. */
  keepMs: number;
  /** Ids up to this one were looked at in this pass. */
  after: string;
  limit: number;
}

/** The last epoch whose awards nothing can reverse any more. */
const LAST_FINAL = `(SELECT max(epoch) FROM studio.epochs WHERE state = 'closed')
  - coalesce((SELECT max((body->>'finalityEpochs')::int) FROM studio.policies), ${DEFAULT_POLICY.finalityEpochs})`;

/** Whether the audit that a house job replays for may have to be repeated. Its key is known before its id (audit_replays). */
const REPLAYS_AN_OPEN_CASE = `EXISTS (
  SELECT 1 FROM studio.audit_replays r JOIN studio.open_cases c ON c.audit_id = r.audit_id
   WHERE r.request_key = CASE WHEN j.client_id = '${HOUSE_CLIENT_ID}' AND j.idempotency_key ~ '^[0-9a-f-]{36}$'
                              THEN j.idempotency_key::uuid END)`;

/**
 * What somebody still reads of a job (row `j`), however old it is; $1 is the time up to which jobs go. Successes: not yet filed
 * by the auditor, not final, not looked at by the rules against copies. A training: its LoRA was used since (the rules
 * then ask for its photograph). A webhook on its way tells of the result. Canaries need nothing of their own: they end with their epoch.
 */
const NEEDED = `(
  (j.state = 'succeeded' AND NOT EXISTS (
     SELECT 1 FROM studio.draws d WHERE d.job_id = j.id AND d.epoch <= ${LAST_FINAL}
        AND NOT EXISTS (SELECT 1 FROM studio.picture_walk w
                         WHERE d.kind = 'lora-inference' AND (d.taken_at, d.job_id) > (w.taken_at, w.job_id))))
  OR EXISTS (SELECT 1 FROM studio.open_cases c WHERE c.job_id = j.id)
  OR ${REPLAYS_AN_OPEN_CASE}
  OR EXISTS (SELECT 1 FROM studio.webhooks w WHERE w.job_id = j.id AND w.state = 'pending')
  OR EXISTS (SELECT 1 FROM studio.adapters a WHERE a.job_id = j.id AND a.checked_at IS NULL)
  OR EXISTS (SELECT 1 FROM studio.artifacts f WHERE f.sha256 = j.result->'lora'->>'sha256' AND f.used_at >= $1))`;

export class JobArchiveStore {
  constructor(private readonly db: DataSource) {}

  /**
   * Hands the next old jobs to `write`, and deletes them when it has stored them durably. Killed in between, the jobs are still
   * here, and the file that was written is one that nothing names.
   * @returns the last id that was taken; undefined when there are no more, or another replica is at it.
   */
  async archive(
    { keepMs, after, limit }: ArchiveQuery,
    write: (jobs: ArchivedJob[]) => Promise<StoredArchive>,
  ): Promise<string | undefined> {
    return this.db.transaction(async (tx) => {
      if (!(await holdsRetention(tx))) return undefined;
      const until = await timeBefore(tx, keepMs);
      const jobs = await tx.query<ArchivedJob[]>(
        `SELECT to_jsonb(j) AS job,
                (SELECT coalesce(jsonb_agg(to_jsonb(a) ORDER BY a.attempt_no), '[]')
                   FROM studio.attempts a WHERE a.job_id = j.id) AS attempts
           FROM studio.jobs j
          WHERE j.finished_at < $1 AND j.id < $2 AND j.id > $3 AND NOT ${NEEDED}
          ORDER BY j.id LIMIT $4`,
        [until, firstIdAt(until), after, limit],
      );
      if (jobs.length === 0) return undefined;
      await remove(tx, until, jobs, await write(jobs));
      return jobs.at(-1)?.job.id;
    });
  }
}

/** Asked once more what is needed: a case may have been opened since. What stays then is in the file as well, without harm. */
async function remove(tx: EntityManager, until: Date, jobs: ArchivedJob[], file: StoredArchive): Promise<void> {
  const [archive] = await tx.query<{ id: number }[]>(
    'INSERT INTO studio.job_archives (sha256, bytes) VALUES ($1, $2) RETURNING id',
    [file.sha256, file.bytes],
  );
  await tx.query(
    `WITH gone AS MATERIALIZED (
       SELECT j.id FROM studio.jobs j WHERE j.id = ANY($2::uuid[]) AND j.finished_at < $1 AND NOT ${NEEDED}),
     attempts AS (DELETE FROM studio.attempts a USING gone g WHERE a.job_id = g.id),
     webhooks AS (DELETE FROM studio.webhooks w USING gone g WHERE w.job_id = g.id),
     jobs AS (
       DELETE FROM studio.jobs j USING gone g WHERE j.id = g.id
       RETURNING j.id, j.client_id, j.idempotency_key, j.timeout_ms)
     INSERT INTO studio.archived_jobs (id, client_id, idempotency_key, timeout_ms, archive)
     SELECT id, client_id, idempotency_key, timeout_ms, $3 FROM jobs`,
    [until, jobs.map(({ job }) => job.id), archive?.id],
  );
}

export async function holdsRetention(tx: EntityManager): Promise<boolean> {
  const [lock] = await tx.query<{ held: boolean }[]>('SELECT pg_try_advisory_xact_lock($1) AS held', [RETENTION_LOCK]);
  return lock?.held === true;
}

export async function timeBefore(tx: Pick<EntityManager, 'query'>, ms: number): Promise<Date> {
  const [row] = await tx.query<{ time: Date }[]>(`SELECT studio.now() - $1 * interval '1 ms' AS time`, [ms]);
  return row!.time;
}
