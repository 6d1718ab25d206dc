/** How far miners say they are, kept with the open attempts: one statement for all that came at the same time. */
import type { AttemptState } from '@studio/shared/domain/job';
import { Batcher } from '@studio/shared/platform/batcher';
import type { DataSource } from 'typeorm';
import { isRowFault } from './sql';

export interface ToldProgress {
  jobId: string;
  attemptNo: number;
  /** Hex SHA-256 of the secret that came with it. */
  callbackHash: string;
  step: number;
  total: number;
}

const BATCH = 200;

/** A miner reports once a second at most (contract/miner-job.ts); whoever does more often is not written more often. */
const LEAST_S = 0.75;

/** Lines of a log that somebody reads. */
const MARKS = 20;

export class ProgressStore {
  private readonly notes: Batcher<ToldProgress, AttemptState | undefined>;

  constructor(private readonly db: DataSource) {
    this.notes = new Batcher((told) => this.flush(told), { maxBatch: BATCH, isolate: isRowFault });
  }

  /** @returns the attempt's state; undefined when there is none with this secret. */
  note(told: ToldProgress): Promise<AttemptState | undefined> {
    return this.notes.add(told);
  }

  /** Both sides of the comparison are digests: the time that it takes says nothing of the secret. */
  private async flush(told: ToldProgress[]): Promise<(AttemptState | undefined)[]> {
    const rows = await this.db.query<{ nth: number; state: AttemptState }[]>(
      `WITH told AS MATERIALIZED (
         SELECT t.*, a.state, a.progress,
                floor(${MARKS} * t.step::numeric / t.total) > coalesce(floor(
                  ${MARKS} * (a.progress->'marks'->-1->>'step')::numeric / (a.progress->>'total')::numeric), 0) AS marks
           FROM jsonb_to_recordset($1::jsonb) AS t("nth" int, "jobId" uuid, "attemptNo" int, "callbackHash" text, "step" int, "total" int)
           JOIN studio.attempts a ON a.job_id = t."jobId" AND a.attempt_no = t."attemptNo"
                                 AND a.callback_hash = decode(t."callbackHash", 'hex')),
       noted AS (
         UPDATE studio.attempts a
            SET progress = jsonb_build_object('step', t.step, 'total', t.total, 'at', studio.now(), 'marks',
                  coalesce(t.progress->'marks', '[]') ||
                  CASE WHEN t.marks THEN jsonb_build_array(jsonb_build_object('step', t.step, 'at', studio.now()))
                       ELSE '[]' END)
           FROM told t
          WHERE a.job_id = t."jobId" AND a.attempt_no = t."attemptNo" AND a.state = 'open'
            AND (a.progress IS NULL OR (t.step >= (a.progress->>'step')::int
                 AND (a.progress->>'at')::timestamptz <= studio.now() - interval '${LEAST_S} s')))
       SELECT nth, state FROM told`,
      [JSON.stringify(told.map((each, nth) => ({ ...each, nth })))],
    );
    const states = new Map(rows.map(({ nth, state }) => [nth, state]));
    return told.map((_, nth) => states.get(nth));
  }
}
