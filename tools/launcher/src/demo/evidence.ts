/** Reads, from outside the services, what the invariants are checked against: Postgres, the stream, HTTP, Redis, files. */
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import Redis from 'ioredis';
import { connect, consumerOpts, credsAuthenticator } from 'nats';
import { Client } from 'pg';
import type { ScoreBoard, ScoreEvent, Snapshot } from '@studio/shared/contract/scores';
import { SCORES_STREAM } from '@studio/shared/contract/subjects';
import type { LedgerEntryType } from '@studio/shared/domain/score-window';
import { weightsFile, type Endpoints } from '../system/processes';
import type { System } from '../system/start-system';
import type { OperatorClient } from './operator-client';
import { verifiedExport, type VerifiedExport } from './signed-export';

export interface JobRow {
  id: string;
  kind: string;
  state: string;
  late_ms: number | null;
  accepted_attempt: number | null;
  accepted: number;
  open: number;
}

/** An award with all that its points were computed from. */
export interface AwardRow {
  job_id: string;
  points: string;
  latency_us: string;
  timeout_ms: number;
  kind: string;
  state: string;
  attempt_state: string;
}

export interface LedgerRowText {
  seq: string;
  type: LedgerEntryType;
  job_id: string;
  hotkey: string;
  epoch: number;
  points: string;
}

export interface DrawRow {
  job_id: string;
  epoch: number;
  u: string;
  q: number;
  drawn: boolean;
}

export interface Evidence {
  jobs: JobRow[];
  awards: AwardRow[];
  ledger: LedgerRowText[];
  draws: DrawRow[];
  trustedPoints: string;
  httpEvents: ScoreEvent[];
  streamEvents: ScoreEvent[];
  /** Scores of the open epoch's window: as served over HTTP, and as Redis holds them. */
  served: ScoreBoard;
  cached: Map<string, string>;
  weights: ValidatorWeights | null;
  exported: VerifiedExport;
}

export interface ValidatorWeights {
  epoch: number;
  hotkeys: string[];
  weights: number[];
  snapshot_sha256: string;
}

export async function gatherEvidence(
  system: System,
  operator: OperatorClient,
  jobIds: readonly string[],
  { epoch, policy }: Snapshot,
): Promise<Evidence> {
  const served = await operator.scores();
  const lastSeq = served.last_seq;
  const client = new Client({ connectionString: system.ownerUrl, application_name: 'launcher' });
  await client.connect();
  const rows = async <T>(sql: string, parameters: unknown[] = []): Promise<T[]> =>
    (await client.query(sql, parameters)).rows as T[];
  try {
    return {
      jobs: await rows<JobRow>(JOBS, [jobIds]),
      awards: await rows<AwardRow>(AWARDS),
      ledger: await rows<LedgerRowText>(
        'SELECT seq, type, job_id, hotkey, epoch, points FROM studio.ledger ORDER BY seq',
      ),
      draws: await rows<DrawRow>('SELECT job_id, epoch, u, q, drawn FROM studio.draws WHERE u IS NOT NULL'),
      trustedPoints: (await rows<{ sum: string }>(TRUSTED_POINTS))[0]!.sum,
      httpEvents: await allHttpEvents(operator, lastSeq),
      streamEvents: await allStreamEvents(system.endpoints.scores, lastSeq),
      served,
      cached: await cachedScores(system.endpoints.redis, `scores:${policy.version}:${served.epoch}`, operator),
      weights: readWeights(weightsFile(system.places)),
      exported: await verifiedExport(system, epoch),
    };
  } finally {
    await client.end();
  }
}

const JOBS = `
  SELECT j.id, j.kind, j.state, j.accepted_attempt,
         (extract(epoch FROM j.finished_at - j.deadline_at) * 1000)::float8 AS late_ms,
         count(*) FILTER (WHERE a.state = 'accepted')::int AS accepted, count(*) FILTER (WHERE a.state = 'open')::int AS open
    FROM studio.jobs j LEFT JOIN studio.attempts a ON a.job_id = j.id
   WHERE j.id = ANY($1) GROUP BY j.id`;

const AWARDS = `
  SELECT l.job_id, l.points, d.latency_us, j.timeout_ms, l.kind, j.state, a.state AS attempt_state
    FROM studio.ledger l
    JOIN studio.draws d ON d.job_id = l.job_id
    JOIN studio.jobs j ON j.id = l.job_id
    LEFT JOIN studio.attempts a ON a.job_id = l.job_id AND a.attempt_no = d.attempt_no
   WHERE l.type = 'award'`;

const TRUSTED_POINTS = `
  SELECT coalesce(sum(l.points), 0)::text AS sum FROM studio.ledger l JOIN studio.miners m USING (hotkey) WHERE m.trusted`;

async function allHttpEvents(operator: OperatorClient, lastSeq: number): Promise<ScoreEvent[]> {
  const events: ScoreEvent[] = [];
  for (;;) {
    const page = await operator.events(events.length);
    events.push(...page.events);
    if (page.events.length === 0 || events.at(-1)!.seq >= lastSeq) return events;
  }
}

/** Everything the stream holds, from its beginning, read with the registry's credentials. */
async function allStreamEvents({ url, files }: Endpoints['scores'], lastSeq: number): Promise<ScoreEvent[]> {
  const authenticator = credsAuthenticator(readFileSync(files.registryCreds));
  const connection = await connect({ servers: url, authenticator });
  try {
    const options = consumerOpts().orderedConsumer().deliverAll().bindStream(SCORES_STREAM);
    const subscription = await connection.jetstream().subscribe('scores.>', options);
    const events: ScoreEvent[] = [];
    const enough = setTimeout(() => subscription.unsubscribe(), 10_000);
    for await (const message of subscription) {
      const event = message.json<ScoreEvent>();
      events.push(event);
      if (event.seq >= lastSeq) break;
    }
    clearTimeout(enough);
    return events;
  } finally {
    await connection.close();
  }
}

/** A Redis that has just been started is empty until somebody asks the registry for scores; then it is filled within this time. */
const REFILL_MS = 20_000;

/** Hotkey → points, from the registry's sorted set: its members are `<kind>|<hotkey>`, `<kind>#|<hotkey>` and `#seq`. */
async function cachedScores(url: string, key: string, operator: OperatorClient): Promise<Map<string, string>> {
  const redis = new Redis(url, { maxRetriesPerRequest: 10 });
  const read = (): Promise<string[]> => redis.zrange(key, 0, -1, 'WITHSCORES');
  try {
    let flat = await read();
    for (const end = performance.now() + REFILL_MS; flat.length === 0 && performance.now() < end; flat = await read()) {
      await operator.scores();
      await sleep(200);
    }
    const totals = new Map<string, bigint>();
    for (let i = 0; i < flat.length; i += 2) {
      const [kind, hotkey] = flat[i]!.split('|');
      if (hotkey && !kind!.endsWith('#')) totals.set(hotkey, (totals.get(hotkey) ?? 0n) + BigInt(flat[i + 1]!));
    }
    return new Map([...totals].map(([hotkey, points]) => [hotkey, points.toString()]));
  } finally {
    redis.disconnect();
  }
}

function readWeights(path: string): ValidatorWeights | null {
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as ValidatorWeights) : null;
}
