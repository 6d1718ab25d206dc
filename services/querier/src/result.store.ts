/** Where a result becomes the job's: one statement for many jobs, used for 200 replies and callbacks alike. */
import type { ArtifactRef, Engine, JobInput, JobKind, JobResult, AttemptState } from '@studio/shared/domain/job';
import { Batcher } from '@studio/shared/platform/batcher';
import type { DataSource } from 'typeorm';
import { isRowFault, statesFor } from './sql';

/** A row of `artifacts`. `facts`: what the checks found out (ImageRef or LoraRef without the reference's own fields). */
export interface ArtifactRow extends ArtifactRef {
  facts: Record<string, unknown>;
}

export interface AcceptedResult {
  jobId: string;
  attemptNo: number;
  result: JobResult;
  artifacts: ArtifactRow[];
  rawUs: number;
  creditUs: number;
  netUs: number;
  /** A fault of ours spoiled the measurement. */
  void: boolean;
}

/** What a callback has to be measured against. */
export interface CallbackTarget {
  jobId: string;
  attemptNo: number;
  hotkey: string;
  kind: JobKind;
  engine: Engine;
  input: JobInput;
  timeoutMs: number;
  state: AttemptState;
  callbackHash: Buffer;
  /** Since the attempt was sent, by the database's clock. */
  sinceSentUs: number;
}

const BATCH = 200;

export class ResultStore {
  private readonly accepts: Batcher<AcceptedResult, boolean>;

  /** `onFinished` hears, after the commit, that jobs have ended. */
  constructor(
    private readonly db: DataSource,
    private readonly onFinished: () => void,
  ) {
    this.accepts = new Batcher((results) => this.flush(results), { maxBatch: BATCH, isolate: isRowFault });
  }

  /** @returns whether this attempt's result is now the job's; false: the attempt is closed or the job finished. */
  accept(result: AcceptedResult): Promise<boolean> {
    return this.accepts.add(result);
  }

  async callbackTarget(jobId: string, attemptNo: number): Promise<CallbackTarget | undefined> {
    const [row] = await this.db.query<CallbackTarget[]>(
      `SELECT j.id AS "jobId", a.attempt_no AS "attemptNo", a.hotkey, j.kind, j.engine, j.input,
              j.timeout_ms AS "timeoutMs", a.state, a.callback_hash AS "callbackHash",
              (extract(epoch FROM studio.now() - a.sent_at) * 1000000)::float8 AS "sinceSentUs"
         FROM studio.attempts a JOIN studio.jobs j ON j.id = a.job_id
        WHERE a.job_id = $1 AND a.attempt_no = $2`,
      [jobId, attemptNo],
    );
    return row;
  }

  /**
   * Closes an attempt whose callback brought no valid result. A job that only waited for it is queued again; one that a
   * worker holds is left to that worker.
   * @returns false when the attempt was closed already.
   */
  async refuse(
    { jobId, attemptNo }: { jobId: string; attemptNo: number },
    state: 'invalid' | 'failed',
    reason: string,
  ): Promise<boolean> {
    const rows = await this.db.query<{ id: string }[]>(
      `WITH held AS MATERIALIZED (
         SELECT id FROM studio.jobs WHERE id = $1 AND state IN (${statesFor('release')}) FOR UPDATE),
       closed AS (
         UPDATE studio.attempts a SET state = $3, blame = 'miner', reason = $4, finished_at = studio.now()
           FROM held h WHERE a.job_id = h.id AND a.attempt_no = $2 AND a.state = 'open' RETURNING a.job_id),
       queued AS (
         UPDATE studio.jobs j SET state = 'queued', wake_at = studio.now()
           FROM closed c WHERE j.id = c.job_id AND j.state = 'awaiting-callback')
       SELECT job_id AS id FROM closed`,
      [jobId, attemptNo, state, reason],
    );
    return rows.length > 0;
  }

  drain(): Promise<void> {
    return this.accepts.drain();
  }

  /** Two results for one job must not meet in one statement: each would see the other's attempt open. */
  private async flush(results: AcceptedResult[]): Promise<boolean[]> {
    const first = new Map<string, AcceptedResult>();
    for (const result of results) if (!first.has(result.jobId)) first.set(result.jobId, result);
    const accepted = await this.commit([...first.values()]);
    const later = results.filter((result) => first.get(result.jobId) !== result);
    const acceptedLater = later.length > 0 ? new Set(await this.flushLater(later)) : new Set<AcceptedResult>();
    return results.map((result) =>
      first.get(result.jobId) === result ? accepted.has(result.jobId) : acceptedLater.has(result),
    );
  }

  private async flushLater(results: AcceptedResult[]): Promise<AcceptedResult[]> {
    const answers = await this.flush(results);
    return results.filter((_, index) => answers[index]);
  }

  private async commit(results: AcceptedResult[]): Promise<Set<string>> {
    const artifacts = new Map(results.flatMap((result) => result.artifacts).map((row) => [row.sha256, row]));
    // Sorted: two batches that insert the same artifacts in different orders would wait for each other.
    const rows = [...artifacts.values()].sort((a, b) => (a.sha256 < b.sha256 ? -1 : 1));
    const accepted = await this.db.query<{ id: string }[]>(
      `WITH given AS (
         SELECT * FROM jsonb_to_recordset($1::jsonb) AS g("jobId" uuid, "attemptNo" int, "result" jsonb, "rawUs" bigint,
                "creditUs" bigint, "netUs" bigint, "void" boolean)),
       stored AS (
         INSERT INTO studio.artifacts (sha256, bytes, content_type, facts)
         SELECT f."sha256", f."bytes", f."contentType", f."facts"
           FROM jsonb_to_recordset($2::jsonb) AS f("sha256" text, "bytes" bigint, "contentType" text, "facts" jsonb)
         ON CONFLICT DO NOTHING),
       held AS MATERIALIZED (
         SELECT j.id, j.attempt_no AS attempts FROM studio.jobs j JOIN given g ON g."jobId" = j.id
          WHERE j.state IN (${statesFor('succeed')}) ORDER BY j.id FOR UPDATE OF j),
       accepted AS (
         UPDATE studio.attempts a
            SET state = 'accepted', finished_at = studio.now(), raw_us = g."rawUs", credit_us = g."creditUs",
                net_us = g."netUs", void = g."void"
           FROM given g JOIN held h ON h.id = g."jobId"
          WHERE a.job_id = g."jobId" AND a.attempt_no = g."attemptNo" AND a.state = 'open'
         RETURNING a.job_id, a.attempt_no, g."result"),
       superseded AS (
         UPDATE studio.attempts a
            SET state = 'superseded', finished_at = studio.now(), reason = 'another attempt was first'
           FROM accepted w JOIN held h ON h.id = w.job_id AND h.attempts > 1
          WHERE a.job_id = w.job_id AND a.attempt_no <> w.attempt_no AND a.state = 'open'),
       ended AS (
         UPDATE studio.jobs j
            SET state = 'succeeded', finished_at = studio.now(), result = w."result", accepted_attempt = w.attempt_no,
                worker = NULL
           FROM accepted w WHERE j.id = w.job_id RETURNING j.id)
       SELECT id FROM ended`,
      [JSON.stringify(results.map(({ artifacts: _, ...result }) => result)), JSON.stringify(rows)],
    );
    if (accepted.length > 0) this.onFinished();
    return new Set(accepted.map(({ id }) => id));
  }
}
