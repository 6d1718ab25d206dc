/** The clients' side of `jobs`: submit, read, cancel. A worker's side is dispatch.store.ts. */
import type { JobListQuery } from '@studio/shared/contract/job-queries';
import type {
  AttemptProgress,
  AttemptState,
  Blame,
  Engine,
  JobFailure,
  JobInput,
  JobKind,
  JobResult,
  JobState,
  Presentation,
  RoutingRule,
} from '@studio/shared/domain/job';
import type { MinerDialect } from '@studio/shared/contract/miners';
import { StudioError, type ErrorCode } from '@studio/shared/domain/errors';
import { DEADLINE_TIMEOUTS } from '@studio/shared/domain/task-kinds';
import { Batcher } from '@studio/shared/platform/batcher';
import type { DataSource } from 'typeorm';
import { QueuePositions, type WaitingRow } from './queue-positions';
import { isRowFault, statesFor, type Updated } from './sql';
import type { Webhook } from './webhooks/webhook-url';

const NOT_STARTED = 'JOB_NOT_STARTED' satisfies ErrorCode;

export interface NewJob {
  id: string;
  clientId: string;
  idempotencyKey: string | null;
  /** Hex SHA-256 of what the client sent: the same key with another one is a mistake. */
  requestHash: string;
  kind: JobKind;
  engine: Engine;
  input: JobInput;
  routing: RoutingRule;
  /** Audited by references only. */
  private: boolean;
  /** Who is told of its end. */
  webhook: Webhook | null;
  timeoutMs: number;
  /** Seconds from now; null: as long as the task allows, and as long as that for the first attempt. */
  deadlineS: number | null;
  startDeadlineS: number | null;
  presentation: Presentation | null;
}

export interface StoredAttempt {
  attemptNo: number;
  hotkey: string;
  operator: string;
  dialect: MinerDialect;
  state: AttemptState;
  blame: Blame;
  reason: string | null;
  hedge: boolean;
  sentAt: string;
  finishedAt: string | null;
  rawUs: number | null;
  creditUs: number | null;
  netUs: number | null;
  progress: AttemptProgress | null;
}

export interface StoredJob {
  id: string;
  kind: JobKind;
  engine: Engine;
  input: JobInput;
  state: JobState;
  createdAt: Date;
  deadlineAt: Date;
  finishedAt: Date | null;
  queuePosition: number | null;
  failure: JobFailure | null;
  result: JobResult | null;
  presentation: Presentation | null;
  attempts: StoredAttempt[];
}

export type CancelledAttempt = Pick<StoredAttempt, 'hotkey' | 'attemptNo'> & Pick<StoredJob, 'kind' | 'engine'>;

type Unplaced = Omit<StoredJob, 'queuePosition'>;

interface OwnedJob extends Unplaced {
  clientId: string;
}

/** Not stored: the limit that the client's queue has reached, or null for an Idempotency-Key that was used before. */
interface Refused {
  fullAt: number | null;
}

/** A queue moves at its miners' speed, which is seconds for an image. */
const QUEUE_RETRY_S = 5;

/** As many of the first that wait are numbered: a look at them takes about 5 ms. */
const NUMBERED = 5_000;

/** A job that was put off waits this long at most (job-run.ts); later entries are leases. */
const PUT_OFF_S = 5;

/** A job in one unit of group commit takes about 1 kB. */
const SUBMIT_BATCH = 200;

/** Jobs read at once. Clients that poll arrive together, and planning the statement costs more than running it. */
const FIND_BATCH = 100;

const ATTEMPTS = `(
  SELECT coalesce(jsonb_agg(jsonb_build_object(
           'attemptNo', a.attempt_no, 'hotkey', a.hotkey, 'operator', a.operator,
           'dialect', a.dialect, 'state', a.state, 'blame', a.blame, 'reason', a.reason,
           'hedge', a.hedge, 'sentAt', a.sent_at, 'finishedAt', a.finished_at,
           'rawUs', a.raw_us, 'creditUs', a.credit_us, 'netUs', a.net_us,
           'progress', a.progress) ORDER BY a.attempt_no), '[]')
    FROM studio.attempts a WHERE a.job_id = j.id)`;

const COLUMNS = `j.id, j.kind, j.engine, j.input, j.state, j.failure, j.result, j.presentation,
  j.created_at AS "createdAt", j.deadline_at AS "deadlineAt", j.finished_at AS "finishedAt"`;

/** Of a client with a limit no more are stored than there is room for (studio.queue_room). */
const INSERT = `WITH rooms AS MATERIALIZED (SELECT * FROM studio.queue_room($2::uuid[])),
  given AS MATERIALIZED (
    SELECT g.*, CASE WHEN row_number() OVER (PARTITION BY g."clientId" ORDER BY g."id") > r.room THEN r.most END AS "fullAt"
      FROM jsonb_to_recordset($1::jsonb) AS g("id" uuid, "clientId" uuid, "idempotencyKey" text, "requestHash" text,
           "kind" text, "engine" text, "input" jsonb, "routing" jsonb, "private" boolean, "timeoutMs" int,
           "deadlineS" int, "startDeadlineS" int, "presentation" jsonb, "webhook" jsonb)
      LEFT JOIN rooms r ON r.client_id = g."clientId"),
  stored AS (
    INSERT INTO studio.jobs AS j (id, client_id, idempotency_key, request_hash, kind, engine, input, routing,
                                  private, timeout_ms, deadline_at, start_by, presentation, webhook)
    SELECT g."id", g."clientId", g."idempotencyKey", decode(g."requestHash", 'hex'), g."kind", g."engine",
           g."input", g."routing", g."private", g."timeoutMs",
           studio.now() + coalesce(g."deadlineS" * 1000, ${DEADLINE_TIMEOUTS} * g."timeoutMs") * interval '1 ms',
           studio.now() + g."startDeadlineS" * interval '1 s', g."presentation",
           g."webhook" IS NOT NULL
      FROM given g WHERE g."fullAt" IS NULL
    ON CONFLICT DO NOTHING
    RETURNING j.id, j.created_at, j.deadline_at),
  to_tell AS (
    INSERT INTO studio.webhooks (job_id, client_id, url, form)
    SELECT g."id", g."clientId", g."webhook"->>'url', g."webhook"->>'form'
      FROM given g JOIN stored s ON s.id = g."id" WHERE g."webhook" IS NOT NULL)
  SELECT g."id", s.id IS NOT NULL AS stored, g."fullAt", s.created_at AS "createdAt", s.deadline_at AS "deadlineAt"
    FROM given g LEFT JOIN stored s ON s.id = g."id"`;

export class JobStore {
  private readonly submits: Batcher<NewJob, Unplaced | Refused>;
  private readonly finds: Batcher<string, OwnedJob | undefined>;
  private readonly positions = new QueuePositions(() => this.waiting());

  /** `onStored` hears, after the commit, which kinds have new jobs. */
  constructor(
    private readonly db: DataSource,
    private readonly onStored: (kinds: ReadonlySet<JobKind>) => void,
  ) {
    this.submits = new Batcher((jobs) => this.insert(jobs), { maxBatch: SUBMIT_BATCH, isolate: isRowFault });
    this.finds = new Batcher((ids) => this.findAll(ids), { maxBatch: FIND_BATCH, isolate: isRowFault });
  }

  /**
   * Durable when it resolves. With an idempotency key that was used before: the job of then.
   * @throws StudioError IDEMPOTENCY_MISMATCH, TOO_MANY_REQUESTS when the client's queue is full
   */
  async submit(job: NewJob): Promise<StoredJob> {
    const stored = await this.submits.add(job);
    if ('id' in stored) return this.placed(stored);
    const earlier = job.idempotencyKey && (await this.findByKey(job.clientId, job.idempotencyKey, job.requestHash));
    if (!earlier && stored.fullAt !== null) throw queueFull(stored.fullAt);
    if (!earlier) throw new StudioError('INTERNAL', 'the job was neither stored nor there before: send it again');
    return earlier;
  }

  /** @throws StudioError IDEMPOTENCY_MISMATCH */
  async findByKey(clientId: string, idempotencyKey: string, requestHash: string): Promise<StoredJob | undefined> {
    const [found] = await this.db.query<{ id: string; hash: string }[]>(
      `SELECT id, encode(request_hash, 'hex') AS hash FROM studio.jobs WHERE client_id = $1 AND idempotency_key = $2`,
      [clientId, idempotencyKey],
    );
    if (!found) return undefined;
    if (found.hash === requestHash) return this.find(clientId, found.id);
    const message = 'this Idempotency-Key was used with another body: use a fresh key, or send the first body again';
    throw new StudioError('IDEMPOTENCY_MISMATCH', message);
  }

  /**
   * Undefined for a job of another client, exactly as for none.
   * @throws StudioError JOB_ARCHIVED
   */
  async find(clientId: string, id: string): Promise<StoredJob | undefined> {
    const found = await this.finds.add(id.toLowerCase());
    if (!found) await this.refuseArchived(clientId, id);
    if (found?.clientId !== clientId) return undefined;
    const { clientId: _owner, ...job } = found;
    return this.placed(job);
  }

  /** Newest first; ids are UUIDv7, so their order is the order of submission. */
  async list(clientId: string, wanted: JobListQuery): Promise<StoredJob[]> {
    const { limit, before, state, kind, engine, created_after: from, created_before: until } = wanted;
    const jobs = await this.db.query<Unplaced[]>(
      `SELECT ${COLUMNS}, ${ATTEMPTS} AS attempts
         FROM studio.jobs j WHERE j.client_id = $1 AND ($3::uuid IS NULL OR j.id < $3::uuid)
          AND ($4::text IS NULL OR j.state = $4) AND ($5::text IS NULL OR j.kind = $5)
          AND ($6::text IS NULL OR j.engine = $6) AND ($7::timestamptz IS NULL OR j.created_at >= $7)
          AND ($8::timestamptz IS NULL OR j.created_at < $8)
        ORDER BY j.id DESC LIMIT $2`,
      [clientId, limit, before, state, kind, engine, from, until],
    );
    return Promise.all(jobs.map((job) => this.placed(job)));
  }

  /**
   * Cancels unless the job is finished; its open attempts are closed without blame.
   * @returns whether this call cancelled it, and the attempts that were under way.
   */
  async cancel(clientId: string, id: string): Promise<{ cancelled: boolean; attempts: CancelledAttempt[] }> {
    const [row] = await this.db.query<{ cancelled: boolean; attempts: CancelledAttempt[] }[]>(
      `WITH held AS MATERIALIZED (
         SELECT id FROM studio.jobs
          WHERE id = $1 AND client_id = $2 AND state IN (${statesFor('cancel')}) FOR UPDATE),
       closed AS (
         UPDATE studio.attempts a SET state = 'cancelled', finished_at = studio.now(), reason = 'the client cancelled'
           FROM held h WHERE a.job_id = h.id AND a.state = 'open'
         RETURNING a.hotkey, a.attempt_no, a.kind, a.engine),
       ended AS (
         UPDATE studio.jobs j SET state = 'cancelled', finished_at = studio.now(), worker = NULL
           FROM held h WHERE j.id = h.id RETURNING j.id)
       SELECT EXISTS (SELECT 1 FROM ended) AS cancelled,
              (SELECT coalesce(jsonb_agg(jsonb_build_object('hotkey', hotkey, 'attemptNo', attempt_no, 'kind', kind,
                                                            'engine', engine)), '[]') FROM closed) AS attempts`,
      [id, clientId],
    );
    return row ?? { cancelled: false, attempts: [] };
  }

  /** Which of these jobs are finished. */
  async finishedAmong(ids: readonly string[]): Promise<string[]> {
    const rows = await this.db.query<{ id: string }[]>(
      'SELECT id FROM studio.jobs WHERE id = ANY($1::uuid[]) AND finished_at IS NOT NULL',
      [ids],
    );
    return rows.map(({ id }) => id);
  }

  /**
   * Ends what is past its deadline, or was not begun in the time that its client gave. An attempt is held against its miner only if its own time was over.
   * @returns how many jobs were ended.
   */
  async expire(limit: number): Promise<number> {
    const [, count] = await this.db.query<Updated<unknown>>(
      `WITH over AS MATERIALIZED (
         SELECT id, timeout_ms FROM studio.jobs
          WHERE state IN (${statesFor('expire')}) AND deadline_at <= studio.now()
          ORDER BY deadline_at LIMIT $1 FOR UPDATE SKIP LOCKED),
       unbegun AS MATERIALIZED (
         SELECT id, timeout_ms FROM studio.jobs
          WHERE state = 'queued' AND start_by <= studio.now() AND deadline_at > studio.now() AND attempt_no = 0
          ORDER BY start_by LIMIT $1 FOR UPDATE SKIP LOCKED),
       due AS (
         SELECT *, '${NOT_STARTED}' AS code FROM unbegun UNION ALL SELECT *, 'JOB_EXPIRED' AS code FROM over),
       closed AS (
         UPDATE studio.attempts a
            SET state = 'timeout', finished_at = studio.now(), reason = 'the job reached its deadline',
                blame = CASE WHEN a.sent_at + d.timeout_ms * interval '1 ms' <= studio.now() THEN 'miner' ELSE 'none' END
           FROM due d WHERE a.job_id = d.id AND a.state = 'open')
       UPDATE studio.jobs j
          SET state = 'expired', finished_at = studio.now(), worker = NULL,
              failure = jsonb_build_object('code', d.code, 'message', format(
                'not %s within %s s of its submission: submit it again, or when more miners are free',
                CASE d.code WHEN '${NOT_STARTED}' THEN 'begun' ELSE 'finished' END,
                round(extract(epoch FROM CASE d.code WHEN '${NOT_STARTED}' THEN j.start_by ELSE j.deadline_at END - j.created_at))))
         FROM due d WHERE j.id = d.id RETURNING j.id`,
      [limit],
    );
    return count;
  }

  drain(): Promise<void> {
    return this.submits.drain();
  }

  private async refuseArchived(clientId: string, id: string): Promise<void> {
    const [archived] = await this.db.query<{ sha256: string }[]>(
      `SELECT f.sha256 FROM studio.archived_jobs j JOIN studio.job_archives f ON f.id = j.archive
        WHERE j.id = $1 AND j.client_id = $2`,
      [id, clientId],
    );
    if (!archived) return;
    const message = `the job and its files were removed after the time that this service keeps them; whoever runs it finds its record in archive ${archived.sha256}`;
    throw new StudioError('JOB_ARCHIVED', message);
  }

  private async placed(job: Unplaced): Promise<StoredJob> {
    return { ...job, queuePosition: job.state === 'queued' ? await this.positions.of(job) : null };
  }

  /** Not those that only one miner may do, the auditor's: they wait for that one alone. */
  private waiting(): Promise<WaitingRow[]> {
    return this.db.query<WaitingRow[]>(
      `SELECT id, kind, engine, (row_number() OVER (PARTITION BY kind, engine ORDER BY wake_at) - 1)::int AS ahead
         FROM (SELECT id, kind, engine, wake_at FROM studio.jobs
                WHERE state = 'queued' AND wake_at <= studio.now() + interval '${PUT_OFF_S} s' AND NOT routing ? 'onlyHotkey'
                ORDER BY wake_at LIMIT ${NUMBERED}) first
        ORDER BY wake_at`,
    );
  }

  /** Jobs of this kind that wait for a miner, as far as anybody counts them. */
  async countWaiting(kind: JobKind, engine: Engine): Promise<number> {
    const [row] = await this.db.query<{ jobs: number }[]>(
      `SELECT count(*)::int AS jobs FROM (
         SELECT 1 FROM studio.jobs WHERE state = 'queued' AND kind = $1 AND engine = $2 AND NOT routing ? 'onlyHotkey' LIMIT ${NUMBERED}) waiting`,
      [kind, engine],
    );
    return row?.jobs ?? 0;
  }

  private async findAll(ids: string[]): Promise<(OwnedJob | undefined)[]> {
    const rows = await this.db.query<OwnedJob[]>(
      `SELECT ${COLUMNS}, j.client_id AS "clientId", ${ATTEMPTS} AS attempts
         FROM studio.jobs j WHERE j.id = ANY($1::uuid[])`,
      [ids],
    );
    const found = new Map(rows.map((row) => [row.id, row]));
    return ids.map((id) => found.get(id));
  }

  private async insert(jobs: NewJob[]): Promise<(Unplaced | Refused)[]> {
    type Row = { id: string; stored: boolean; fullAt: number | null } & Pick<StoredJob, 'createdAt' | 'deadlineAt'>;
    const rows = await this.db.query<Row[]>(INSERT, [
      JSON.stringify(jobs),
      [...new Set(jobs.map(({ clientId }) => clientId))],
    ]);
    const answers = new Map(rows.map((row) => [row.id, row]));
    this.onStored(new Set(jobs.filter(({ id }) => answers.get(id)?.stored).map(({ kind }) => kind)));
    return jobs.map(({ id, kind, engine, input, presentation }) => {
      const { stored, fullAt, ...row } = answers.get(id)!;
      if (!stored) return { fullAt };
      const fresh = { state: 'queued', finishedAt: null, failure: null, result: null } as const;
      return { kind, engine, input, presentation, ...fresh, attempts: [], ...row };
    });
  }
}

function queueFull(limit: number): StudioError {
  const message =
    `${limit} of your jobs wait for a miner already, as many as your key allows: ` +
    'send this one when some have begun, or ask for a higher limit';
  return new StudioError('TOO_MANY_REQUESTS', message, [], { retryAfterS: QUEUE_RETRY_S });
}
