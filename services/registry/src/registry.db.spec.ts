import { randomBytes, randomUUID } from 'node:crypto';
import { Pool } from 'pg';
import type { AppendLedgerReply } from '@studio/shared/contract/ledger';
import type { MinerView, RoutableMiners } from '@studio/shared/contract/miners';
import type { ScoreBoard, ScoreEvent, ScoreEventPage, Snapshot } from '@studio/shared/contract/scores';
import { SCORES_STREAM, SUBJECTS } from '@studio/shared/contract/subjects';
import { DEFAULT_POLICY } from '@studio/shared/domain/policy';
import { loadEnv } from '@studio/shared/platform/env';
import { createLogger } from '@studio/shared/platform/logger';
import { requestJson } from '@studio/shared/platform/nats';
import { sha256Hex } from '@studio/shared/protocol/canonical';
import { hotkeyFromSeed, type Hotkey } from '@studio/shared/protocol/hotkey';
import { signRequest } from '@studio/shared/protocol/signatures';
import { AuditorSide, restorationOf, reversalOf, someAward } from '@studio/shared/testing/auditor-side';
import { openTestNats, openTestScores, type TestNats, type TestScores } from '@studio/shared/testing/nats';
import { createDatabase, type TestDatabase } from '@studio/shared/testing/postgres';
import { openTestRedis, type TestRedis } from '@studio/shared/testing/redis';
import { boot, type RunningRegistry } from './boot';
import { RegistryEnv } from './env';

const ADMIN_KEY = randomBytes(32).toString('hex');
const REFERENCE = hotkeyFromSeed('22'.repeat(32));
const log = createLogger({ name: 'registry', level: 'silent', format: 'line' });

let database: TestDatabase;
let nats: TestNats;
let scores: TestScores;
let redis: TestRedis;
let auditor: AuditorSide;
let owner: Pool;
let registry: RunningRegistry;
let replica: RunningRegistry;

const start = (): Promise<RunningRegistry> =>
  boot(
    loadEnv(RegistryEnv, {
      POSTGRES_URL: database.urls.registry,
      NATS_URL: nats.url,
      REDIS_URL: redis.url,
      HTTP_PORT: '0',
      ADMIN_PORT: '0',
      ADMIN_KEY,
      ORCHESTRATOR_SEED: '11'.repeat(32),
      TRUSTED_HOTKEYS: REFERENCE.address,
      ...scores.env,
    }),
    log,
  );

beforeAll(async () => {
  [database, nats, scores, redis] = await Promise.all([
    createDatabase(),
    openTestNats(),
    openTestScores(),
    openTestRedis(),
  ]);
  auditor = new AuditorSide(database);
  owner = new Pool({ connectionString: database.urls.owner, max: 2 });
  // The database goes before the pool does.
  owner.on('error', () => undefined);
  [registry, replica] = await Promise.all([start(), start()]);
});

afterAll(async () => {
  await Promise.all([registry.close(), replica.close()]);
  await Promise.all([auditor.close(), owner.end()]);
  await Promise.all([database.drop(), nats.close(), scores.close(), redis.close()]);
});

/** Polls, because what is awaited is another process's sweep; the test's own timeout is the bound. */
async function until<T>(look: () => Promise<T | undefined | null | false>): Promise<T> {
  for (;;) {
    const found = await look();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function get<T>(path: string, base = registry.url): Promise<T> {
  return (await (await fetch(`${base}${path}`)).json()) as T;
}

const append = (...entries: object[]): Promise<AppendLedgerReply> =>
  requestJson(nats.connection, SUBJECTS.appendLedger.subject, { entries }, { timeoutMs: 30_000 });

interface Refusal {
  code: string;
  message: string;
  fields: { path: string; message: string }[];
}

const errorOf = async (reply: Response): Promise<Refusal> => ((await reply.json()) as { error: Refusal }).error;

const adminHeaders = { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' };
const closeEpoch = (epoch?: number, base = registry.adminUrl): Promise<Response> =>
  fetch(`${base}/admin/v1/epochs/close`, { method: 'POST', headers: adminHeaders, body: JSON.stringify({ epoch }) });

const openEpoch = async (): Promise<number | undefined> => (await get<{ epoch?: number }>('/v1/epochs/current')).epoch;

const snapshotOf = (epoch: number): Promise<Snapshot> =>
  until(async () => {
    const reply = await fetch(`${registry.url}/v1/snapshots/${epoch}`);
    return reply.ok && ((await reply.json()) as Snapshot);
  });

async function allEvents(): Promise<ScoreEvent[]> {
  return (await get<ScoreEventPage>('/v1/scores/events')).events;
}

/** Every message of the stream up to `last`, once it has that many; while it is made anew it may lose them again. */
async function streamed(last: number): Promise<ScoreEvent[]> {
  const manager = await scores.connection.jetstreamManager();
  const whole = async (): Promise<ScoreEvent[]> => {
    const { state } = await manager.streams.info(SCORES_STREAM);
    if (state.last_seq < last) throw new Error(`the stream ends at ${state.last_seq}`);
    const events: ScoreEvent[] = [];
    for (let seq = 1; seq <= last; seq += 1) {
      events.push((await manager.streams.getMessage(SCORES_STREAM, { seq })).json<ScoreEvent>());
    }
    return events;
  };
  return until(() => whole().catch(() => undefined));
}

describe('epochs', () => {
  it('wait for the first draw to be committed to, and say so', async () => {
    const reply = await fetch(`${registry.url}/v1/epochs/current`);
    expect(reply.status).toBe(404);
    expect(await reply.json()).toEqual({ error: { code: 'NOT_FOUND', message: 'no epoch is open yet', fields: [] } });
    expect((await closeEpoch()).status).toBe(409);
    await auditor.commit(1);
    await until(async () => (await openEpoch()) === 1);
  });

  it('cannot close before the next draw is committed to', async () => {
    const reply = await closeEpoch(1);
    expect(reply.status).toBe(409);
    expect(await errorOf(reply)).toMatchObject({
      code: 'EPOCH_NOT_CLOSABLE',
      message: expect.stringContaining('draw of epoch 2'),
    });
  });
});

describe('ledger', () => {
  it('numbers entries without a gap, and a repeated batch gets the same numbers', async () => {
    const entries = [someAward(), someAward({ hotkey: 'miner-b', points: '650000' }), someAward({ points: '1' })];
    const first = await append(...entries);
    expect(await append(...entries)).toEqual(first);
    expect(await append(entries[1]!, entries[1]!)).toEqual({ seqs: { [entries[1]!.id]: first.seqs[entries[1]!.id] } });
    expect(Object.values(first.seqs).map(Number)).toEqual([1, 2, 3]);
  });

  it('refuses what breaks a rule, naming the entry', async () => {
    const refused = append(someAward(), reversalOf(someAward()));
    await expect(refused).rejects.toMatchObject({
      code: 'LEDGER_REFUSED',
      fields: [{ path: 'entries.1', message: expect.stringContaining('no earlier award') }],
    });
  });

  it('refuses what is not an entry, naming the field', async () => {
    await expect(append(someAward({ points: '0.5' }))).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      fields: [{ path: 'entries.0.points', message: expect.any(String) }],
    });
    await expect(append({ ...someAward(), score: 1 })).rejects.toMatchObject({ code: 'INVALID_INPUT' });
    await expect(append()).rejects.toMatchObject({ code: 'INVALID_INPUT' });
  });

  it('takes a reversal of exactly what an award gave', async () => {
    const award = someAward({ hotkey: 'miner-b', points: '123456' });
    await append(award, reversalOf(award));
    expect((await get<ScoreBoard>('/v1/scores')).miners.find(({ hotkey }) => hotkey === 'miner-b')).toMatchObject({
      points: '650000',
      valid_jobs: 1,
    });
  });
});

describe('score events', () => {
  it('are the same in Postgres, over HTTP, from either replica and in the stream', async () => {
    const events = await allEvents();
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index + 1));
    expect((await get<ScoreEventPage>('/v1/scores/events', replica.url)).events).toEqual(events);
    expect(await streamed(events.length)).toEqual(events);
    const { rows } = await owner.query('SELECT seq::int, entry_id, points::text FROM studio.ledger ORDER BY seq');
    expect(events.map(({ seq, id, points }) => ({ seq, entry_id: id, points }))).toEqual(rows);
  });

  it('come in pages', async () => {
    const page = await get<ScoreEventPage>('/v1/scores/events?after=1&limit=2');
    expect(page.events.map(({ seq }) => seq)).toEqual([2, 3]);
    expect(page.last_seq).toBe((await allEvents()).length);
    const reply = await fetch(`${registry.url}/v1/scores/events?limit=1001`);
    expect(reply.status).toBe(422);
    expect((await errorOf(reply)).fields).toEqual([{ path: 'limit', message: expect.any(String) }]);
  });

  it('reach a reader of the live stream, from where it stopped', async () => {
    const gone = new AbortController();
    const reply = await fetch(`${replica.url}/v1/scores/stream`, {
      headers: { 'last-event-id': '2' },
      signal: gone.signal,
    });
    const known = (await allEvents()).length;
    const award = someAward();
    await append(award);
    let text = '';
    const decoder = new TextDecoder();
    for await (const chunk of reply.body!) {
      text += decoder.decode(chunk as Uint8Array);
      if (text.includes(award.id)) break;
    }
    gone.abort();
    const ids = [...text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id));
    expect(ids).toEqual(Array.from({ length: known - 1 }, (_, index) => index + 3));
  });

  it('are published again when the broker has lost the stream', async () => {
    const events = await allEvents();
    await streamed(events.length);
    await (await scores.connection.jetstreamManager()).streams.delete(SCORES_STREAM);
    expect(await streamed(events.length)).toEqual(events);
    const figures = await (await fetch(`${registry.url}/metrics`)).text();
    const others = await (await fetch(`${replica.url}/metrics`)).text();
    expect(figures + others).toMatch(/registry_stream_amnesia_total\{[^}]*\} [1-9]/);
  });

  it('replace a stream that is a copy of some other log', async () => {
    const events = await allEvents();
    const manager = await scores.connection.jetstreamManager();
    await streamed(events.length);
    // The next look at the stream finds a tail that is not ours.
    await scores.connection.jetstream().publish('scores.1.stranger', JSON.stringify({ seq: events.length + 1 }));
    await until(async () => {
      // For a moment there is none.
      const info = await manager.streams.info(SCORES_STREAM).catch(() => undefined);
      return info?.state.last_seq === events.length;
    });
    expect(await streamed(events.length)).toEqual(events);
  });
});

describe('scores', () => {
  const key = `scores:${DEFAULT_POLICY.version}:1`;

  it('are what the ledger sums to, in Redis too', async () => {
    const { miners, last_seq } = await get<ScoreBoard>('/v1/scores');
    const { rows } = await owner.query(
      'SELECT hotkey, sum(points)::text AS points FROM studio.ledger GROUP BY hotkey ORDER BY hotkey',
    );
    expect(miners.map(({ hotkey, points }) => ({ hotkey, points }))).toEqual(rows);
    expect(await redis.client.zscore(key, '#seq')).toBe(String(last_seq));
    expect(await redis.client.zscore(key, 'lora-training|miner-b')).toBe('650000');
    expect(await get('/v1/scores/miner-b')).toEqual(miners.find(({ hotkey }) => hotkey === 'miner-b'));
  });

  it('follow the ledger by increments', async () => {
    await get('/v1/scores');
    await redis.client.zincrby(key, 5, 'lora-training|miner-b'); // a mark that a rebuild would remove
    await append(someAward({ hotkey: 'miner-b', points: '10' }));
    const board = await get<ScoreBoard>('/v1/scores', replica.url);
    expect(board.miners.find(({ hotkey }) => hotkey === 'miner-b')?.points).toBe('650015');
    await redis.clear();
  });

  it.each([
    ['flushed', () => redis.clear()],
    ['ahead of the log', () => redis.client.zadd(key, 99_999, '#seq', 7, 'lora-training|stranger')],
    ['of the wrong type', () => redis.client.set(key, 'not a sorted set')],
  ])('are right when Redis was %s', async (_state, spoil) => {
    const before = await get<ScoreBoard>('/v1/scores');
    await redis.clear();
    await spoil();
    await append(someAward({ hotkey: 'miner-c', kind: 'lora-inference', points: '3' }));
    const after = await get<ScoreBoard>('/v1/scores', replica.url);
    const own = (board: ScoreBoard): bigint =>
      BigInt(board.miners.find(({ hotkey }) => hotkey === 'miner-c')?.points ?? 0);
    expect(own(after) - own(before)).toBe(3n);
    expect(after.miners.map(({ hotkey }) => hotkey)).toEqual(['miner-a', 'miner-b', 'miner-c']);
    expect(await get('/v1/scores')).toEqual(after);
  });
});

describe('closing an epoch', () => {
  it('happens once, however often and wherever it is ordered', async () => {
    await auditor.commit(2, 3);
    const replies = await Promise.all([
      closeEpoch(1),
      closeEpoch(1, replica.adminUrl),
      closeEpoch(1),
      closeEpoch(1, replica.adminUrl),
    ]);
    expect(replies.map(({ status }) => status).sort()).toEqual([200, 409, 409, 409]);
    expect(await replies.find(({ ok }) => ok)!.json()).toEqual({ closing: 1, open: 2 });
    expect(await get('/v1/epochs/1')).toMatchObject({ state: 'closing' });
    expect((await errorOf(await closeEpoch())).message).toContain('epoch 1 is still closing');
  });

  it('still takes the awards and reversals of the closing epoch, and then one snapshot by two replicas', async () => {
    const award = someAward({ hotkey: 'miner-late', points: '5' });
    await append(award, reversalOf(award), someAward({ epoch: 2, hotkey: 'miner-next' }));
    const ledgerSeq = (await allEvents()).length;
    await auditor.settle(1);
    const snapshot = await snapshotOf(1);
    expect(snapshot).toMatchObject({ epoch: 1, ledger_seq: ledgerSeq, policy: DEFAULT_POLICY, outcome: 'OK' });
    expect(snapshot.miners.map(({ hotkey }) => hotkey)).toEqual(['miner-a', 'miner-b', 'miner-c']);
    const events = await allEvents();
    expect(events.filter(({ type }) => type === 'snapshot')).toEqual([
      { seq: ledgerSeq + 1, type: 'snapshot', epoch: 1, at: expect.any(String), sha256: expect.any(String) },
    ]);
    const body = await (await fetch(`${registry.url}/v1/snapshots/1`)).text();
    expect(sha256Hex(body)).toBe(events.at(-1)?.sha256);
    expect(await (await fetch(`${registry.url}/v1/snapshots/latest`)).text()).toBe(body);
    expect(sha256Hex(Buffer.from(snapshot.draw.secret, 'hex'))).toBe(snapshot.draw.commitment);
    expect(await get('/v1/epochs/1')).toMatchObject({ state: 'closed', closed_at: expect.any(String) });
    expect(await streamed(ledgerSeq + 1)).toEqual(events);
  });

  it('refuses awards of the closed epoch, but not the repetition of an old one', async () => {
    await expect(append(someAward({ epoch: 1 }))).rejects.toMatchObject({ code: 'LEDGER_REFUSED' });
    const [first] = await allEvents();
    const { id, hotkey, job_id: jobId, points } = first!;
    expect(await append(someAward({ id, hotkey, jobId, points }))).toEqual({ seqs: { [id!]: '1' } });
  });

  it('is not touched by a restoration: only what comes after it has the points again', async () => {
    const body = await (await fetch(`${registry.url}/v1/snapshots/1`)).text();
    await get('/v1/scores');
    const taken = (await allEvents()).find(({ type, hotkey }) => type === 'reversal' && hotkey === 'miner-late')!;
    const { hotkey, job_id: jobId, points } = taken as Required<ScoreEvent>;
    const restoration = restorationOf(someAward({ hotkey, jobId, points }));
    await append(restoration);
    const events = await allEvents();
    expect(events.at(-1)).toMatchObject({ type: 'restoration', epoch: 1, hotkey, points: '5' });
    expect(await streamed(events.length)).toEqual(events);
    const board = await get<ScoreBoard>('/v1/scores');
    expect(board.miners.find((miner) => miner.hotkey === hotkey)).toMatchObject({ points: '5', valid_jobs: 1 });
    await redis.clear();
    expect(await get('/v1/scores')).toEqual(board);
    expect(await (await fetch(`${registry.url}/v1/snapshots/1`)).text()).toBe(body);
    await expect(append({ ...restoration, id: randomUUID() })).rejects.toMatchObject({ code: 'LEDGER_REFUSED' });
  });

  it('takes no snapshot on a secret that was not the one committed to', async () => {
    await closeEpoch(2);
    await auditor.settle(2, randomBytes(32).toString('hex'));
    // Both replicas have looked at the settlement once their sweeps have run twice.
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    expect((await fetch(`${registry.url}/v1/snapshots/2`)).status).toBe(404);
    expect(await get('/v1/epochs/2')).toMatchObject({ state: 'closing' });
    await owner.query('DELETE FROM studio.settlements WHERE epoch = 2');
    await auditor.settle(2);
    const { miners } = await snapshotOf(2);
    expect(miners.map(({ hotkey }) => hotkey)).toEqual(expect.arrayContaining(['miner-late', 'miner-next']));
  });

  it('comes by the clock when the epoch has lasted its blocks', async () => {
    await auditor.commit(4);
    await owner.query(`UPDATE studio.epochs SET opened_at = opened_at - interval '72 minutes' WHERE epoch = 3`);
    await until(async () => (await openEpoch()) === 4);
  });

  it('is an outcome of its own when the window has no valid job', async () => {
    // A policy of one epoch, from epoch 5 on.
    const policy = { ...DEFAULT_POLICY, version: DEFAULT_POLICY.version + 1, windowEpochs: 1 };
    await owner.query('INSERT INTO studio.policies (version, body) VALUES ($1, $2)', [
      policy.version,
      JSON.stringify(policy),
    ]);
    await auditor.settle(3);
    await snapshotOf(3);
    await auditor.commit(5, 6);
    expect((await closeEpoch(4)).status).toBe(200);
    await auditor.settle(4);
    await snapshotOf(4);
    const award = someAward({ epoch: 5, policyVersion: policy.version });
    await append(award, reversalOf(award));
    expect((await closeEpoch(5)).status).toBe(200);
    await auditor.settle(5);
    expect(await snapshotOf(5)).toMatchObject({
      outcome: 'NO_SCORES',
      miners: [],
      policy: { version: policy.version },
    });
  });

  it('is ordered with the operators’ key only', async () => {
    const reply = await fetch(`${registry.adminUrl}/admin/v1/epochs/close`, { method: 'POST' });
    expect(reply.status).toBe(401);
    expect((await fetch(`${registry.url}/admin/v1/epochs/close`, { method: 'POST' })).status).toBe(404);
    const ledger = await fetch(`${registry.adminUrl}/admin/v1/ledger?epoch=2`, { headers: adminHeaders });
    expect(await ledger.json()).toMatchObject({ entries: [{ hotkey: 'miner-next', reason: 'completed and valid' }] });
  });
});

describe('miners', () => {
  const miner = hotkeyFromSeed('33'.repeat(32));
  const registration = {
    endpoint: 'http://127.0.0.1:8080',
    dialect: 'native',
    offers: [{ kind: 'lora-training', engine: 'ref-sep-v1', slots: 1 }],
  };

  interface Signing {
    body?: object;
    method?: string;
    key?: Hotkey;
    nowMs?: number;
    nonce?: string;
    sent?: object;
    path?: string;
  }

  async function signed(options: Signing = {}): Promise<Response> {
    const { method = 'PUT', key = miner, nowMs = Date.now(), nonce = randomUUID() } = options;
    const path = options.path ?? `/v1/miners/${key.address}`;
    const { hotkey: recipient } = await get<{ hotkey: string }>('/v1/identity');
    const body = method === 'PUT' ? JSON.stringify(options.body ?? registration) : '';
    const headers = signRequest({ method, path, body, nowMs, nonce, recipient }, key);
    const payload = options.sent ? JSON.stringify(options.sent) : body;
    return fetch(`${registry.url}${path}`, {
      method,
      headers: { ...headers, 'content-type': 'application/json' },
      body: method === 'PUT' ? payload : undefined,
    });
  }

  const routable = async (): Promise<RoutableMiners['miners']> =>
    (await requestJson<RoutableMiners>(nats.connection, SUBJECTS.routableMiners.subject, {}, { timeoutMs: 30_000 }))
      .miners;

  it('register with their own signature, and workers hear of it', async () => {
    const heard = new Promise((resolve) => {
      nats.connection.subscribe(SUBJECTS.minersChanged.subject, { max: 1, callback: resolve });
    });
    await nats.connection.flush();
    const reply = await signed();
    expect(reply.status).toBe(200);
    expect(await reply.json()).toMatchObject({ hotkey: miner.address, operator: miner.address, trusted: false });
    await heard;
    expect(await routable()).toEqual([
      { ...registration, hotkey: miner.address, operator: miner.address, trusted: false, quarantined: [], uid: null },
    ]);
  });

  it.each<[string, () => Promise<Response>, string]>([
    ['stale', () => signed({ nowMs: Date.now() - 3_600_000 }), 'timestamp'],
    ['of the future', () => signed({ nowMs: Date.now() + 3_600_000 }), 'timestamp'],
    ['for another body', () => signed({ sent: { ...registration, endpoint: 'http://10.0.0.1' } }), 'does not match'],
    ['by another key', () => signed({ key: REFERENCE, path: `/v1/miners/${miner.address}` }), 'itself'],
  ])('are refused with a signature %s', async (_how, request, message) => {
    const reply = await request();
    expect(reply.status).toBe(401);
    expect(await errorOf(reply)).toMatchObject({
      code: 'SIGNATURE_REFUSED',
      message: expect.stringContaining(message),
    });
  });

  it('are refused a second time with the same nonce, whatever it then asks for', async () => {
    const nonce = randomUUID();
    expect((await signed({ nonce })).status).toBe(200);
    const replay = await signed({ nonce, method: 'DELETE' });
    expect(replay.status).toBe(401);
    expect((await errorOf(replay)).message).toContain('nonce');
    expect(await routable()).toHaveLength(1);
  });

  it('are told which field is wrong', async () => {
    const twice = { ...registration, offers: [...registration.offers, ...registration.offers] };
    expect((await errorOf(await signed({ body: twice }))).fields).toMatchObject([{ path: 'offers.1' }]);
    const wrong = { ...registration, endpoint: 'ftp://x', score: 1 };
    const { fields } = await errorOf(await signed({ body: wrong }));
    expect(fields.map(({ path }: { path: string }) => path).sort()).toEqual(['endpoint', 'score']);
    const other = await signed({ key: REFERENCE });
    expect(await errorOf(other)).toMatchObject({ code: 'INVALID_INPUT', fields: [{ path: 'endpoint' }] });
  });

  it('are marked as references by configuration, never by themselves', async () => {
    const reply = await signed({ key: REFERENCE, body: { ...registration, endpoint: 'http://127.0.0.1:8081' } });
    expect(await reply.json()).toMatchObject({ trusted: true });
  });

  it('lose the kinds they are quarantined for in the open epoch, until that is lifted', async () => {
    await auditor.quarantine(miner.address, 'lora-training', 6, 7);
    await auditor.quarantine(miner.address, 'lora-inference', 7, 9);
    const found = async () => (await routable()).find(({ hotkey }) => hotkey === miner.address)?.quarantined;
    expect(await found()).toEqual(['lora-training']);
    await auditor.lift(miner.address, 'amnesty');
    expect(await found()).toEqual([]);
  });

  it('withdraw, and come back, taking part from then on', async () => {
    const since = (await get<MinerView>(`/v1/miners/${miner.address}`)).registered_at;
    expect((await signed({ method: 'DELETE' })).status).toBe(204);
    expect((await routable()).map(({ hotkey }) => hotkey)).toEqual([REFERENCE.address]);
    expect(await get(`/v1/miners/${miner.address}`)).toMatchObject({ withdrawn_at: expect.any(String) });
    const back = (await (await signed()).json()) as MinerView;
    expect(Date.parse(back.registered_at)).toBeGreaterThan(Date.parse(since));
    expect(await (await signed()).json()).toMatchObject({ registered_at: back.registered_at, withdrawn_at: null });
    expect(await routable()).toHaveLength(2);
  });
});

describe('process', () => {
  it('says when it is ready and documents itself', async () => {
    expect(await get('/health/live')).toEqual({ alive: true });
    expect(await get('/health/ready')).toEqual({ ready: true, dependencies: { postgres: 'ok', nats: 'ok' } });
    const reply = await fetch(`${registry.url}/docs-json`);
    expect(Object.keys(((await reply.json()) as { paths: object }).paths)).toContain('/v1/scores/events');
  });

  it('survives the loss of every database connection', async () => {
    await owner.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE usename = 'studio_registry' AND datname = current_database()`,
    );
    await until(async () => (await fetch(`${registry.url}/v1/scores`)).ok);
    const [id, award] = [randomUUID(), someAward({ epoch: 6, policyVersion: 2 })];
    const reply = await until(() => append({ ...award, id }).catch(() => undefined));
    await streamed(Number(reply.seqs[id]));
  });

  it('serves scores while Redis is away', async () => {
    const alone = await boot(
      loadEnv(RegistryEnv, {
        POSTGRES_URL: database.urls.registry,
        NATS_URL: nats.url,
        REDIS_URL: 'redis://127.0.0.1:1',
        HTTP_PORT: '0',
        ADMIN_PORT: '0',
        ADMIN_KEY,
        ORCHESTRATOR_SEED: '11'.repeat(32),
      }),
      log,
    );
    expect(await get('/v1/scores', alone.url)).toEqual(await get('/v1/scores'));
    await alone.close();
  });
});
