import type { DataSource, EntityManager } from 'typeorm';
import { HOUSE_CLIENT_ID } from '@studio/shared/contract/submit-job';
import { TRANSACTION_BOUND_MS } from '@studio/shared/database/grants';
import { AUDIT_INTAKE_LOCK, EPOCH_BOUNDARY_LOCK } from '@studio/shared/database/locks';
import type { JobKind } from '@studio/shared/domain/job';
import { VOID_SAMPLE_MEMORY } from '@studio/shared/domain/latency';
import { completePolicy, type Policy } from '@studio/shared/domain/policy';
import { minerKind, minerLane, type DrawRecord, type Filing, type FinishedJob, type IntakeBatch, type Judges } from './filing'; // prettier-ignore

export interface Taken {
  filing: Filing;
  /** When the last of its jobs finished, as Postgres writes it. */
  upTo: string;
}

/**
 * A job's `finished_at` is taken when its statement starts, and it becomes visible when its transaction commits: after
 * one bounded statement and one bounded idle time at most. Whatever finished longer ago than that is visible.
 */
const OVERLAP_MS = 2 * TRANSACTION_BOUND_MS + 5_000;

/** Between full passes: two batches of results are written at a time, and the one that began later may commit first. */
const LOOK_BACK_MS = 500;

/** Reads finished jobs and writes their draws, awards and audits. The only writer of `draws`. */
export class DrawStore {
  private knownJudges: ReadonlyMap<string, Judges> = new Map();
  private judgesUntil = 0;

  constructor(private readonly source: DataSource) {}

  /**
   * One batch in one transaction. The intake lock keeps other replicas out; the boundary lock, held shared, keeps the
   * epoch open until the commit.
   * @param since looks at jobs that finished then or later, or shortly before; undefined: from the newest job that was
   *   ever taken in, less all the time that a commit can take.
   * @returns undefined when another replica is at it, or no epoch is open.
   */
  async takeIn(
    { since, limit }: { since: string | undefined; limit: number },
    decide: (batch: IntakeBatch) => Filing,
  ): Promise<Taken | undefined> {
    return this.source.transaction(async (tx) => {
      if (!(await holdsLocks(tx))) return undefined;
      const ground = await openEpoch(tx);
      if (!ground) return undefined;
      const jobs = await untakenJobs(tx, since, limit);
      const last = jobs.at(-1);
      if (!last) return undefined;
      const known = { records: await recordsOf(tx, jobs), recentUs: await validSamples(tx, jobs) };
      const filing = decide({ ...ground, jobs, ...known, judges: await this.judges() });
      await write(tx, filing);
      return { filing, upTo: last.finishedAt };
    });
  }

  /** Asked for every few seconds, not with every batch: with thousands of miners it reads thousands of rows. */
  private async judges(): Promise<ReadonlyMap<string, Judges>> {
    const now = performance.now();
    if (now >= this.judgesUntil) {
      const rows: { lane: string; trusted: boolean; operators: string[] }[] = await this.source.query(JUDGES);
      this.knownJudges = new Map(
        rows.map(({ lane, trusted, operators }) => [lane, { trusted, operators: new Set(operators) }]),
      );
      this.judgesUntil = now + JUDGES_MS;
    }
    return this.knownJudges;
  }

  /** Succeeded jobs that have no draw yet, among those that a scan would still look at. */
  async countUntaken(): Promise<number> {
    const rows: { count: number }[] = await this.source.query(
      `SELECT count(*)::int AS count FROM studio.jobs j
        WHERE j.state = 'succeeded' AND j.finished_at >= ${SCAN_START}
          AND NOT EXISTS (SELECT 1 FROM studio.draws d WHERE d.job_id = j.id)`,
    );
    return rows[0]?.count ?? 0;
  }
}

/** Registrations come at the pace of people. */
const JUDGES_MS = 2_000;

/**
 * Per (kind, engine), as `lane` names it: whether a reference offers it, and the operators of everybody else who does. Who is
 * quarantined for the kind is asked for no replay.
 */
const JUDGES = `
  SELECT o.kind || '|' || o.engine AS lane, bool_or(m.trusted) AS trusted,
         COALESCE(array_agg(DISTINCT m.operator) FILTER (WHERE NOT m.trusted), '{}') AS operators
    FROM studio.miners m CROSS JOIN LATERAL jsonb_to_recordset(m.offers) AS o(kind text, engine text)
   WHERE m.withdrawn_at IS NULL
     AND NOT EXISTS (SELECT 1 FROM studio.standing_quarantines q
                       JOIN studio.epochs e ON e.state = 'open' AND e.epoch >= q.from_epoch AND e.epoch < q.until_epoch
                      WHERE q.hotkey = m.hotkey AND q.kind = o.kind)
   GROUP BY 1`;

const SCAN_START = `COALESCE(
  (SELECT max(finished_at) FROM studio.draws) - interval '${OVERLAP_MS} milliseconds', '-infinity')`;

async function holdsLocks(tx: EntityManager): Promise<boolean> {
  const rows: { held: boolean }[] = await tx.query('SELECT pg_try_advisory_xact_lock($1) AS held', [AUDIT_INTAKE_LOCK]);
  if (!rows[0]?.held) return false;
  await tx.query('SELECT pg_advisory_xact_lock_shared($1)', [EPOCH_BOUNDARY_LOCK]);
  return true;
}

async function openEpoch(
  tx: EntityManager,
): Promise<{ epoch: number; policy: Policy; secret: Uint8Array } | undefined> {
  const rows: { epoch: number; policy: Policy; secret: Buffer }[] = await tx.query(
    `SELECT e.epoch, p.body AS policy, s.secret
       FROM studio.epochs e
       JOIN studio.policies p ON p.version = e.policy_version
       JOIN studio.draw_secrets s ON s.epoch = e.epoch
      WHERE e.state = 'open'`,
  );
  return rows[0] && { ...rows[0], policy: completePolicy(rows[0].policy) };
}

type JobRow = Omit<FinishedJob, 'netUs'> & { netUs: string | null };

/**
 * First the jobs, then what belongs to each, in that order whatever the planner's statistics say: from the attempts'
 * side it would read all that were ever accepted. A scalar subquery cannot be turned into a join with all draws either.
 */
async function untakenJobs(tx: EntityManager, since: string | undefined, limit: number): Promise<FinishedJob[]> {
  const start = since === undefined ? SCAN_START : `$3::timestamptz - interval '${LOOK_BACK_MS} milliseconds'`;
  const rows: JobRow[] = await tx.query(
    `WITH finished AS MATERIALIZED (
       SELECT * FROM studio.jobs j
        WHERE j.state = 'succeeded' AND j.finished_at >= ${start}
          AND (SELECT d.job_id FROM studio.draws d WHERE d.job_id = j.id) IS NULL
        ORDER BY j.finished_at, j.id
        LIMIT $1)
     SELECT j.id AS "jobId", a.attempt_no AS "attemptNo", a.hotkey, a.operator, j.kind, j.engine,
            j.timeout_ms AS "timeoutMs", a.net_us AS "netUs", a.void, j.finished_at::text AS "finishedAt",
            CASE WHEN j.client_id = $2 AND j.idempotency_key ~ '^[0-9a-f-]{36}$'
                 THEN EXISTS (SELECT 1 FROM studio.audit_replays r WHERE r.request_key = j.idempotency_key::uuid)
                 ELSE false END AS house,
            COALESCE(m.trusted, false) AS trusted, j.private,
            CASE WHEN j.kind = 'lora-training' THEN j.input->'image'->>'pixelHash' END AS "imageHash",
            CASE WHEN j.kind = 'lora-training' THEN j.result->'lora'->>'sha256' END AS "loraSha256"
       FROM finished j
      CROSS JOIN LATERAL (
        SELECT attempt_no, hotkey, operator, net_us, void FROM studio.attempts
         WHERE job_id = j.id AND state = 'accepted' LIMIT 1) a
       LEFT JOIN studio.miners m ON m.hotkey = a.hotkey
      ORDER BY j.finished_at, j.id`,
    [limit, HOUSE_CLIENT_ID, ...(since === undefined ? [] : [since])],
  );
  return rows.map((row) => ({ ...row, netUs: row.netUs === null ? null : Number(row.netUs) }));
}

async function recordsOf(tx: EntityManager, jobs: readonly FinishedJob[]): Promise<Map<string, DrawRecord>> {
  const rows: (DrawRecord & { hotkey: string; kind: JobKind })[] = await tx.query(
    `SELECT hotkey, kind, jobs_seen AS "jobsSeen", audits, passes, cusum
       FROM studio.miner_trust WHERE hotkey = ANY($1)`,
    [[...new Set(jobs.map((job) => job.hotkey))]],
  );
  return new Map(
    rows.map(({ hotkey, kind, jobsSeen, audits, passes, cusum }) => [
      minerKind(hotkey, kind),
      { jobsSeen, audits, passes, cusum },
    ]),
  );
}

async function validSamples(tx: EntityManager, jobs: readonly FinishedJob[]): Promise<Map<string, number[]>> {
  const spoiled = jobs.filter((job) => job.void || job.netUs === null);
  if (spoiled.length === 0) return new Map();
  const lanes = new Map(spoiled.map((job) => [minerLane(job), { hotkey: job.hotkey, kind: job.kind, engine: job.engine }])); // prettier-ignore
  const rows: (Pick<FinishedJob, 'hotkey' | 'kind' | 'engine'> & { samples: string[] })[] = await tx.query(
    `SELECT p.hotkey, p.kind, p.engine, array(
              SELECT a.net_us FROM studio.attempts a
               WHERE a.hotkey = p.hotkey AND a.kind = p.kind AND a.engine = p.engine AND a.state = 'accepted'
                 AND NOT a.void AND a.net_us IS NOT NULL
               ORDER BY a.finished_at DESC LIMIT ${VOID_SAMPLE_MEMORY}) AS samples
       FROM jsonb_to_recordset($1::jsonb) AS p(hotkey text, kind text, engine text)`,
    [JSON.stringify([...lanes.values()])],
  );
  return new Map(rows.map((row) => [minerLane(row), row.samples.map(Number)]));
}

async function write(tx: EntityManager, { draws, audits, awards, seen }: Filing): Promise<void> {
  await insertDraws(tx, draws);
  await tx.query(
    `INSERT INTO studio.ledger_outbox (entry_id, payload)
     SELECT (value->>'id')::uuid, value FROM jsonb_array_elements($1::jsonb) WITH ORDINALITY ORDER BY ordinality`,
    [JSON.stringify(awards)],
  );
  // Sorted, as every writer of these rows takes them: no two transactions wait for each other.
  const counts = [...seen].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, jobs]) => ({ ...splitKey(key), jobs }));
  await tx.query(
    `INSERT INTO studio.miner_trust AS t (hotkey, kind, jobs_seen)
     SELECT hotkey, kind, jobs FROM jsonb_to_recordset($1::jsonb) AS n(hotkey text, kind text, jobs int)
     ON CONFLICT (hotkey, kind) DO UPDATE SET jobs_seen = t.jobs_seen + EXCLUDED.jobs_seen`,
    [JSON.stringify(counts)],
  );
  await tx.query(
    `INSERT INTO studio.audits (id, job_id, hotkey, operator, kind, engine, epoch, why, due_at)
     SELECT n.id, d.job_id, d.hotkey, d.operator, d.kind, d.engine, d.epoch, 'draw',
            studio.now() + n.delay * interval '1 millisecond'
       FROM jsonb_to_recordset($1::jsonb) AS n(id uuid, "jobId" uuid, delay int)
       JOIN studio.draws d ON d.job_id = n."jobId"`,
    [JSON.stringify(audits.map(({ id, jobId, delayMs }) => ({ id, jobId, delay: delayMs })))],
  );
  await insertAdapters(tx, draws);
}

/** Always later than those before, even when the clock is set back: who walks over the draws in this order misses none. */
const TAKEN_AT = `GREATEST(studio.now(), (SELECT max(taken_at) + interval '1 microsecond' FROM studio.draws))`;

async function insertDraws(tx: EntityManager, draws: Filing['draws']): Promise<void> {
  const rows = draws.map((draw) => ({ ...draw, points: draw.points.toString(), u: draw.u?.toString() ?? null }));
  await tx.query(
    `INSERT INTO studio.draws (job_id, attempt_no, hotkey, operator, kind, engine, epoch, policy_version, latency_us,
                               points, award_id, q, u, record, drawn, finished_at, taken_at)
     SELECT "jobId", "attemptNo", hotkey, operator, kind, engine, epoch, "policyVersion", "latencyUs",
            points, "awardId", q, u, record, drawn, "finishedAt", ${TAKEN_AT}
       FROM jsonb_to_recordset($1::jsonb) AS n("jobId" uuid, "attemptNo" int, hotkey text, operator text, kind text,
            engine text, epoch int, "policyVersion" int, "latencyUs" bigint, points bigint, "awardId" uuid,
            q double precision, u numeric, record jsonb, drawn boolean, "finishedAt" timestamptz)`,
    [JSON.stringify(rows)],
  );
}

async function insertAdapters(tx: EntityManager, draws: Filing['draws']): Promise<void> {
  const trainings = draws.filter((draw) => draw.imageHash !== null && draw.loraSha256 !== null);
  if (trainings.length === 0) return;
  await tx.query(
    `INSERT INTO studio.adapters (job_id, hotkey, engine, image_hash, lora_sha256, taken_at)
     SELECT d.job_id, d.hotkey, d.engine, n."imageHash", n."loraSha256", d.taken_at
       FROM jsonb_to_recordset($1::jsonb) AS n("jobId" uuid, "imageHash" text, "loraSha256" text)
       JOIN studio.draws d ON d.job_id = n."jobId"`,
    [JSON.stringify(trainings.map(({ jobId, imageHash, loraSha256 }) => ({ jobId, imageHash, loraSha256 })))],
  );
}

function splitKey(key: string): { hotkey: string; kind: string } {
  const [hotkey = '', kind = ''] = key.split('|');
  return { hotkey, kind };
}
