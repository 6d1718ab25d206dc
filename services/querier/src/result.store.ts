/** Where a result becomes the job's: one statement for many jobs, used for 200 replies and callbacks alike. */
import type { MinerDialect } from '@studio/shared/contract/miners';
import type { MinerReceipt } from '@studio/shared/contract/receipt';
import type { ArtifactRef, Engine, JobInput, JobKind, JobResult, AttemptState } from '@studio/shared/domain/job';
import type { NetworkPath } from '@studio/shared/domain/latency';
import { Batcher } from '@studio/shared/platform/batcher';
import type { DataSource } from 'typeorm';
import { isRowFault, OR_RENEW, statesFor } from './sql';

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
  /** What the credit was computed from. */
  network: Pick<NetworkPath, 'rttMinUs' | 'freshTls' | 'canonicalBytes'>;
  /** The miner's signature over what it answered; null where its dialect has none. */
  receipt: MinerReceipt | null;
}

/** An attempt that a result has closed: it is the job's, or another attempt's is. */
export interface ClosedAttempt {
  jobId: string;
  attemptNo: number;
  hotkey: string;
  kind: JobKind;
  engine: Engine;
  won: boolean;
  elapsedMs: number;
  timeoutMs: number;
  /** Latency as measured; null for the loser. */
  rawMs: number | null;
  /** SHA-256 of the LoRA that the miner now holds: the one it made, or rendered with. Null for the loser. */
  lora: string | null;
}

/** The latest results of one kind and engine: the given quantile of raw latency / T_max, and the median. */
export interface LatestResultsRow {
  kind: JobKind;
  engine: Engine;
  samples: number;
  quantileShare: number;
  medianShare: number;
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
  dialect: MinerDialect;
  callbackHash: Buffer;
  /** Since the attempt was sent, by the database's clock. */
  sinceSentUs: number;
}

const BATCH = 200;

/** Raw latency of attempt `a` of job `j`, as a share of T_max. */
const SHARE = 'a.raw_us / (j.timeout_ms * 1000.0)';

/** Jobs that the time of a hedge is taken from: some minutes of a busy day. */
const LATEST_JOBS = 1_000;

export class ResultStore {
  private readonly accepts: Batcher<AcceptedResult, boolean>;

  /** Both hear it after the commit: that jobs have ended, and which attempts were closed by it. */
  constructor(
    private readonly db: DataSource,
    private readonly onFinished: () => void,
    private readonly onClosed: (attempts: readonly ClosedAttempt[]) => void = () => undefined,
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
              j.timeout_ms AS "timeoutMs", a.state, a.dialect, a.callback_hash AS "callbackHash",
              (extract(epoch FROM studio.now() - a.sent_at) * 1000000)::float8 AS "sinceSentUs"
         FROM studio.attempts a JOIN studio.jobs j ON j.id = a.job_id
        WHERE a.job_id = $1 AND a.attempt_no = $2`,
      [jobId, attemptNo],
    );
    return row;
  }

  /**
   * Closes an attempt whose callback brought no valid result. A job that only waited for it is queued again; one that a
   * worker holds is left to that worker, one that waits for a second callback goes on waiting.
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
           FROM closed c WHERE j.id = c.job_id AND j.state = 'awaiting-callback'
            AND NOT EXISTS (SELECT 1 FROM studio.attempts o
                             WHERE o.job_id = c.job_id AND o.attempt_no <> $2 AND o.state = 'open'))
       SELECT job_id AS id FROM closed`,
      [jobId, attemptNo, state, reason],
    );
    return rows.length > 0;
  }

  /** Per kind and engine, over the latest jobs of all: what a hedge is timed by. */
  async latest(quantile: number): Promise<LatestResultsRow[]> {
    return this.db.query<LatestResultsRow[]>(
      `SELECT j.kind, j.engine, count(*)::int AS samples,
              percentile_cont($1) WITHIN GROUP (ORDER BY ${SHARE}) AS "quantileShare",
              percentile_cont(0.5) WITHIN GROUP (ORDER BY ${SHARE}) AS "medianShare"
         FROM (SELECT id, kind, engine, timeout_ms, accepted_attempt FROM studio.jobs
                WHERE state = 'succeeded' ORDER BY finished_at DESC LIMIT ${LATEST_JOBS}) j
         JOIN studio.attempts a ON a.job_id = j.id AND a.attempt_no = j.accepted_attempt
        WHERE NOT a.void GROUP BY 1, 2`,
      [quantile],
    );
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
    const closed = await this.db.query<ClosedAttempt[]>(
      `WITH given AS (
         SELECT * FROM jsonb_to_recordset($1::jsonb) AS g("jobId" uuid, "attemptNo" int, "result" jsonb, "rawUs" bigint,
                "creditUs" bigint, "netUs" bigint, "void" boolean, "network" jsonb, "receipt" jsonb)),
       stored AS (
         INSERT INTO studio.artifacts (sha256, bytes, content_type, facts)
         SELECT f."sha256", f."bytes", f."contentType", f."facts"
           FROM jsonb_to_recordset($2::jsonb) AS f("sha256" text, "bytes" bigint, "contentType" text, "facts" jsonb)
         ${OR_RENEW}),
       held AS MATERIALIZED (
         SELECT j.id, j.attempt_no AS attempts, j.timeout_ms FROM studio.jobs j JOIN given g ON g."jobId" = j.id
          WHERE j.state IN (${statesFor('succeed')}) ORDER BY j.id FOR UPDATE OF j),
       accepted AS (
         UPDATE studio.attempts a
            SET state = 'accepted', finished_at = studio.now(), raw_us = g."rawUs", credit_us = g."creditUs",
                net_us = g."netUs", void = g."void", network = g."network", receipt = g."receipt"
           FROM given g JOIN held h ON h.id = g."jobId"
          WHERE a.job_id = g."jobId" AND a.attempt_no = g."attemptNo" AND a.state = 'open'
         RETURNING a.job_id, a.attempt_no, a.hotkey, a.kind, a.engine, a.sent_at, h.timeout_ms, a.raw_us, g."result"),
       superseded AS (
         UPDATE studio.attempts a
            SET state = 'superseded', finished_at = studio.now(), reason = 'another attempt was first'
           FROM accepted w JOIN held h ON h.id = w.job_id AND h.attempts > 1
          WHERE a.job_id = w.job_id AND a.attempt_no <> w.attempt_no AND a.state = 'open'
         RETURNING a.job_id, a.attempt_no, a.hotkey, a.kind, a.engine, a.sent_at, h.timeout_ms),
       ended AS (
         UPDATE studio.jobs j
            SET state = 'succeeded', finished_at = studio.now(), result = w."result", accepted_attempt = w.attempt_no,
                worker = NULL
           FROM accepted w WHERE j.id = w.job_id
         RETURNING j.id, coalesce(j.result->'lora'->>'sha256', j.input->'lora'->>'sha256') AS lora)
       SELECT c.job_id AS "jobId", c.attempt_no AS "attemptNo", c.hotkey, c.kind, c.engine, c.won,
              c.timeout_ms AS "timeoutMs", (extract(epoch FROM studio.now() - c.sent_at) * 1000)::float8 AS "elapsedMs",
              (c.raw_us / 1000.0)::float8 AS "rawMs", CASE WHEN c.won THEN e.lora END AS lora
         FROM ended e
         JOIN (SELECT job_id, attempt_no, hotkey, kind, engine, sent_at, timeout_ms, raw_us, true AS won FROM accepted
               UNION ALL SELECT s.*, NULL, false FROM superseded s) c ON c.job_id = e.id`,
      [JSON.stringify(results.map(({ artifacts: _, ...result }) => result)), JSON.stringify(rows)],
    );
    if (closed.length > 0) {
      this.onFinished();
      this.onClosed(closed);
    }
    return new Set(closed.map(({ jobId }) => jobId));
  }
}
