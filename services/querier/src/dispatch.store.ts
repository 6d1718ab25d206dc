/**
 * The workers' side of `jobs` and `attempts`. Every write is fenced: it names the `lease_no` it was made under, and a row
 * that another worker has claimed since does not match. Statements that touch several jobs lock them in id order.
 */
import type {
  AttemptState,
  Blame,
  Engine,
  JobFailure,
  JobInput,
  JobKind,
  RoutingRule,
} from '@studio/shared/domain/job';
import type { MinerDialect } from '@studio/shared/contract/miners';
import { Batcher } from '@studio/shared/platform/batcher';
import type { DataSource } from 'typeorm';
import { statesFor, type Updated } from './sql';

export interface AttemptRecord {
  attemptNo: number;
  hotkey: string;
  operator: string;
  state: AttemptState;
  blame: Blame;
  reason: string | null;
  /** Since it was sent, by the database's clock. */
  elapsedMs: number;
  hedge: boolean;
  dialect: MinerDialect;
}

export interface ClaimedJob {
  id: string;
  kind: JobKind;
  engine: Engine;
  input: JobInput;
  routing: RoutingRule;
  timeoutMs: number;
  leaseNo: number;
  /** Number of the last attempt; 0 before the first. */
  attemptNo: number;
  /** Until the deadline, by the database's clock. */
  remainingMs: number;
  attempts: AttemptRecord[];
}

export interface NewAttempt {
  jobId: string;
  leaseNo: number;
  attemptNo: number;
  hotkey: string;
  operator: string;
  hedge: boolean;
  dialect: MinerDialect;
  /** Hex SHA-256 of the callback's secret. */
  callbackHash: string;
}

/** What becomes of the job after an attempt: `hold`: this worker goes on; the others end this worker's part. */
export type NextMove = { move: 'hold' } | { move: 'release'; wakeMs: number } | { move: 'fail'; failure: JobFailure };

export interface AttemptEnd {
  jobId: string;
  leaseNo: number;
  /** Null where no attempt was made: only the job moves. */
  attemptNo: number | null;
  state: AttemptState | null;
  blame: Blame;
  reason: string | null;
  next: NextMove;
}

interface ParkedJob {
  jobId: string;
  leaseNo: number;
  wakeMs: number;
}

const BATCH = 200;
const FENCED = `j."lease_no" = g."leaseNo" AND j.state = 'running'`;

const LANE = `concat_ws('|', kind, engine, routing->>'onlyHotkey')`;

const ATTEMPTS = `CASE WHEN j.attempt_no = 0 THEN '[]'::jsonb ELSE (
  SELECT coalesce(jsonb_agg(jsonb_build_object(
           'attemptNo', a.attempt_no, 'hotkey', a.hotkey, 'operator', a.operator, 'state', a.state, 'blame', a.blame,
           'reason', a.reason, 'hedge', a.hedge, 'dialect', a.dialect, 'elapsedMs', extract(epoch FROM studio.now() - a.sent_at) * 1000)
         ORDER BY a.attempt_no), '[]') FROM studio.attempts a WHERE a.job_id = j.id) END AS attempts`;

const CLAIMED = `j.id, j.kind, j.engine, j.input, j.routing, j.timeout_ms AS "timeoutMs", j.lease_no AS "leaseNo",
  j.attempt_no AS "attemptNo", extract(epoch FROM j.deadline_at - studio.now())::float8 * 1000 AS "remainingMs",
  ${ATTEMPTS}`;

export class DispatchStore {
  private readonly opens: Batcher<NewAttempt, boolean>;
  private readonly ends: Batcher<AttemptEnd, boolean>;
  private readonly parks: Batcher<ParkedJob, boolean>;

  constructor(
    private readonly db: DataSource,
    private readonly worker: string,
    /** Hears, after the commit, that jobs have failed for good. */
    private readonly onFinished: () => void,
  ) {
    // None may be repeated blindly: whether a failed commit was applied is not known. The lease's end sorts it out.
    this.opens = new Batcher((attempts) => this.insertAttempts(attempts), { maxBatch: BATCH });
    this.ends = new Batcher((ends) => this.closeAttempts(ends), { maxBatch: BATCH });
    this.parks = new Batcher((parked) => this.awaitCallbacks(parked), { maxBatch: BATCH });
  }

  /**
   * Takes jobs whose time has come, under a new lease: those with an attempt under way in any case, queued ones as far as
   * there is room for them. `room`: free slots by `kind|engine`, or `kind|engine|hotkey` for jobs that only this miner may
   * do; what is not in it is not bounded. At most `limit` jobs are looked at.
   */
  async claim(limit: number, leaseMs: number, room: ReadonlyMap<string, number>): Promise<ClaimedJob[]> {
    const [rows] = await this.db.query<Updated<ClaimedJob>>(
      `WITH room AS (SELECT key AS lane, value::int AS free FROM jsonb_each_text($4::jsonb)),
       due AS MATERIALIZED (
         SELECT id, state, wake_at, ${LANE} AS lane FROM studio.jobs
          WHERE state IN (${statesFor('claim', 'resume')}) AND wake_at <= studio.now()
            AND deadline_at > studio.now()
            AND (state <> 'queued' OR ${LANE} <> ALL(ARRAY(SELECT lane FROM room WHERE free <= 0)))
          ORDER BY wake_at LIMIT $1 FOR UPDATE SKIP LOCKED),
       turns AS (
         SELECT id, state, lane, row_number() OVER (PARTITION BY state = 'queued', lane ORDER BY wake_at) AS place FROM due),
       taken AS (
         SELECT t.id FROM turns t LEFT JOIN room r ON r.lane = t.lane
          WHERE t.state <> 'queued' OR r.free IS NULL OR t.place <= r.free)
       UPDATE studio.jobs j
          SET state = 'running', lease_no = j.lease_no + 1, worker = $2, wake_at = studio.now() + $3 * interval '1 ms'
         FROM taken t WHERE j.id = t.id
       RETURNING ${CLAIMED}`,
      [limit, this.worker, leaseMs, JSON.stringify(Object.fromEntries(room))],
    );
    return rows;
  }

  /** The job as it is now; undefined when it is finished or no longer ours. */
  async reload(jobId: string, leaseNo: number): Promise<ClaimedJob | undefined> {
    const [row] = await this.db.query<ClaimedJob[]>(
      `SELECT ${CLAIMED} FROM studio.jobs j WHERE j.id = $1 AND j.lease_no = $2 AND j.state = 'running'`,
      [jobId, leaseNo],
    );
    return row;
  }

  /** Prolongs all leases at once. @returns the jobs that are no longer ours: finished, or claimed by another. */
  async renew(held: readonly { id: string; leaseNo: number }[], leaseMs: number): Promise<string[]> {
    const [rows] = await this.db.query<Updated<{ id: string }>>(
      `WITH given AS (SELECT * FROM jsonb_to_recordset($1::jsonb) AS g("id" uuid, "leaseNo" int)),
       kept AS MATERIALIZED (
         SELECT j.id FROM studio.jobs j JOIN given g ON g.id = j.id
          WHERE ${FENCED} ORDER BY j.id FOR UPDATE OF j)
       UPDATE studio.jobs j SET wake_at = studio.now() + $2 * interval '1 ms'
         FROM kept k WHERE j.id = k.id RETURNING j.id`,
      [JSON.stringify(held), leaseMs],
    );
    const kept = new Set(rows.map(({ id }) => id));
    return held.map(({ id }) => id).filter((id) => !kept.has(id));
  }

  /** Another worker may take these at once. */
  async handBack(held: readonly { id: string; leaseNo: number }[]): Promise<void> {
    if (held.length > 0) await this.renew(held, 0);
  }

  /** Durable before anything is sent. @returns false when the lease was lost. */
  openAttempt(attempt: NewAttempt): Promise<boolean> {
    return this.opens.add(attempt);
  }

  /** Closes an attempt without a result and moves the job. @returns false when the lease was lost. */
  endAttempt(end: AttemptEnd): Promise<boolean> {
    return this.ends.add(end);
  }

  /**
   * Every open attempt of the job was answered with 202: it waits for the callbacks, at most for `wakeMs`.
   * @returns false when the lease was lost or callbacks have closed the attempts already.
   */
  awaitCallback(jobId: string, leaseNo: number, wakeMs: number): Promise<boolean> {
    return this.parks.add({ jobId, leaseNo, wakeMs });
  }

  async drain(): Promise<void> {
    await Promise.all([this.opens.drain(), this.ends.drain(), this.parks.drain()]);
  }

  private async insertAttempts(attempts: NewAttempt[]): Promise<boolean[]> {
    const rows = await this.db.query<{ id: string }[]>(
      `WITH given AS (
         SELECT * FROM jsonb_to_recordset($1::jsonb) AS g("jobId" uuid, "leaseNo" int, "attemptNo" int, "hotkey" text,
                "operator" text, "hedge" boolean, "dialect" text, "callbackHash" text)),
       held AS MATERIALIZED (
         SELECT j.id FROM studio.jobs j JOIN given g ON g."jobId" = j.id
          WHERE ${FENCED} AND j.attempt_no = g."attemptNo" - 1 ORDER BY j.id FOR UPDATE OF j),
       numbered AS (
         UPDATE studio.jobs j SET attempt_no = j.attempt_no + 1 FROM held h WHERE j.id = h.id
         RETURNING j.id, j.kind, j.engine, j.lease_no, j.attempt_no)
       INSERT INTO studio.attempts (job_id, attempt_no, hotkey, operator, kind, engine, lease_no, hedge, dialect,
                                    callback_hash)
       SELECT n.id, n.attempt_no, g."hotkey", g."operator", n.kind, n.engine, n.lease_no, g."hedge", g."dialect",
              decode(g."callbackHash", 'hex')
         FROM numbered n JOIN given g ON g."jobId" = n.id
       RETURNING job_id AS id`,
      [JSON.stringify(attempts)],
    );
    return answered(attempts, rows);
  }

  private async closeAttempts(ends: AttemptEnd[]): Promise<boolean[]> {
    const given = ends.map(({ next, ...end }) => ({ wakeMs: 0, failure: null, ...next, ...end }));
    const rows = await this.db.query<{ id: string }[]>(
      `WITH given AS (
         SELECT * FROM jsonb_to_recordset($1::jsonb) AS g("jobId" uuid, "leaseNo" int, "attemptNo" int, "state" text,
                "blame" text, "reason" text, "move" text, "wakeMs" float8, "failure" jsonb)),
       held AS MATERIALIZED (
         SELECT j.id FROM studio.jobs j JOIN given g ON g."jobId" = j.id
          WHERE ${FENCED} ORDER BY j.id FOR UPDATE OF j),
       closed AS (
         UPDATE studio.attempts a SET state = g."state", blame = g."blame", reason = g."reason", finished_at = studio.now()
           FROM given g JOIN held h ON h.id = g."jobId"
          WHERE a.job_id = g."jobId" AND a.attempt_no = g."attemptNo" AND a.state = 'open'),
       moved AS (
         UPDATE studio.jobs j
            SET state = CASE g."move" WHEN 'release' THEN 'queued' ELSE 'failed' END, worker = NULL,
                wake_at = studio.now() + g."wakeMs" * interval '1 ms', failure = g."failure",
                finished_at = CASE g."move" WHEN 'fail' THEN studio.now() END
           FROM given g JOIN held h ON h.id = g."jobId" WHERE j.id = h.id AND g."move" <> 'hold')
       SELECT id FROM held`,
      [JSON.stringify(given)],
    );
    if (ends.some(({ next }) => next.move === 'fail')) this.onFinished();
    return answered(ends, rows);
  }

  /** Locks the attempts as well: a callback may be closing one at this moment. */
  private async awaitCallbacks(parked: ParkedJob[]): Promise<boolean[]> {
    const [rows] = await this.db.query<Updated<{ id: string }>>(
      `WITH given AS (SELECT * FROM jsonb_to_recordset($1::jsonb) AS g("jobId" uuid, "leaseNo" int, "wakeMs" float8)),
       held AS MATERIALIZED (
         SELECT j.id, g."wakeMs" FROM studio.jobs j
           JOIN given g ON g."jobId" = j.id
           JOIN studio.attempts a ON a.job_id = j.id
          WHERE ${FENCED} AND a.state = 'open' ORDER BY j.id, a.attempt_no FOR UPDATE OF j, a)
       UPDATE studio.jobs j
          SET state = 'awaiting-callback', worker = NULL, wake_at = studio.now() + h."wakeMs" * interval '1 ms'
         FROM held h WHERE j.id = h.id RETURNING j.id`,
      [JSON.stringify(parked)],
    );
    return answered(parked, rows);
  }
}

function answered(given: readonly { jobId: string }[], rows: readonly { id: string }[]): boolean[] {
  const done = new Set(rows.map(({ id }) => id));
  return given.map(({ jobId }) => done.has(jobId));
}
