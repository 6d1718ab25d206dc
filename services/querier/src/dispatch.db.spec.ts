import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CALLBACK_SECRET_HEADER, type MinerJobRequest } from '@studio/shared/contract/miner-job';
import { createDataSource } from '@studio/shared/database/data-source';
import { createLogger } from '@studio/shared/platform/logger';
import { startFakeRegistry, type FakeRegistry } from '@studio/shared/testing/fake-registry';
import { openTestNats, type TestNats } from '@studio/shared/testing/nats';
import { openTestRedis, type TestRedis } from '@studio/shared/testing/redis';
import { createDatabase, type TestDatabase } from '@studio/shared/testing/postgres';
import { resultForm, startStubMiner, type StubMiner } from '@studio/shared/testing/stub-miner';
import sharp from 'sharp';
import type { DataSource } from 'typeorm';
import { boot, type RunningQuerier } from './boot';
import { ClientKeyStore } from './client-key.store';
import { DispatchStore } from './dispatch.store';
import { QuerierEnv } from './env';

jest.setTimeout(60_000);

const log = createLogger({ name: 'test', level: 'fatal', format: 'line' });
let database: TestDatabase;
let nats: TestNats;
let redis: TestRedis;
let db: DataSource;
let owner: DataSource;
let artifactsDir: string;
let env: QuerierEnv;
let api: RunningQuerier;
let headers: Record<string, string>;
let clientId: string;
let image: Buffer;

/** Made for each test: miners, who they are known by, and workers. */
let registry: FakeRegistry;
let miners: StubMiner[];
let workers: RunningQuerier[];

beforeAll(async () => {
  [database, nats, redis] = await Promise.all([createDatabase(), openTestNats(), openTestRedis()]);
  artifactsDir = await mkdtemp(join(tmpdir(), 'querier-'));
  registry = startFakeRegistry(nats.connection, []);
  env = Object.assign(new QuerierEnv(), {
    ROLE: 'api',
    POSTGRES_URL: database.urls.querier,
    NATS_URL: nats.url,
    PUBLIC_URL: 'http://studio.test',
    ARTIFACTS_DIR: artifactsDir,
    URL_SECRET: randomBytes(32).toString('hex'),
    ORCHESTRATOR_SEED: randomBytes(32).toString('hex'),
    REDIS_URL: redis.url,
    ALLOW_PRIVATE_EGRESS: true,
    WORKER_GRACE_MS: 200,
  });
  api = await boot(env, log);
  db = await createDataSource({ url: database.urls.querier, name: 'test', poolSize: 2 }).initialize();
  owner = await createDataSource({ url: database.urls.owner, name: 'owner', poolSize: 1 }).initialize();
  const created = await new ClientKeyStore(db).create('one');
  clientId = created.clientId;
  headers = { authorization: `Key ${created.key}`, 'content-type': 'application/json' };
  await owner.query(`INSERT INTO studio.policies (version, body)
    SELECT 1, '{"version": 1, "leaseMs": 1000, "maxAttempts": 3}'::jsonb`);
  await owner.query(`INSERT INTO studio.epochs (epoch, policy_version, commitment) VALUES (1, 1, 'c')`);
  const noise = { type: 'gaussian' as const, mean: 128, sigma: 40 };
  image = await sharp({ create: { width: 64, height: 64, channels: 3, background: '#000', noise } })
    .png()
    .toBuffer();
});

afterAll(async () => {
  await api?.close();
  await Promise.all([db?.destroy(), owner?.destroy()]);
  registry?.close();
  await nats?.close();
  await redis?.close();
  await database?.drop();
  await rm(artifactsDir, { recursive: true, force: true });
});

beforeEach(() => {
  miners = [];
  workers = [];
});
afterEach(async () => {
  await Promise.all(workers.map((worker) => worker.close()));
  await Promise.all(miners.map((miner) => miner.close()));
  // What a test left unfinished may not reach the next one's miners.
  await db.query(`UPDATE studio.attempts SET state = 'cancelled', finished_at = studio.now() WHERE state = 'open'`);
  await db.query(`UPDATE studio.jobs SET state = 'cancelled', finished_at = studio.now() WHERE finished_at IS NULL`);
});

async function useMiners(count: number, answer: StubMiner['answer'] = works, slots = 4): Promise<StubMiner[]> {
  const names = Array.from({ length: count }, (_, i) => `5Miner${i}x${randomUUID()}`);
  miners = await Promise.all(names.map((name) => startStubMiner(name, slots)));
  for (const miner of miners) miner.answer = answer;
  registry.announce(miners.map(({ routable }) => routable));
  return miners;
}

async function startWorker(): Promise<RunningQuerier> {
  const worker = await boot(Object.assign(new QuerierEnv(), env, { ROLE: 'worker', WORKER_NAME: randomUUID() }), log);
  workers.push(worker);
  return worker;
}

const works: StubMiner['answer'] = (request) => ({ status: 200, form: resultForm(request, { image_0: image }) });
const accepts: StubMiner['answer'] = () => ({ status: 202 });

/** A job in the queue, with a T_max of its own. */
async function addJob(options: { timeoutMs?: number; deadlineMs?: number; routing?: object } = {}): Promise<string> {
  const { timeoutMs = 10_000, deadlineMs = 3 * timeoutMs, routing = {} } = options;
  const id = randomUUID();
  const lora = { sha256: 'a'.repeat(64), bytes: 1, contentType: 'x', rank: 4, tensorHash: 'b'.repeat(64) };
  const input = { lora, prompt: 'a cat', width: 64, height: 64, seed: 1, loraScale: 1, warp: 0, numImages: 1 };
  await db.query(
    `INSERT INTO studio.jobs (id, client_id, request_hash, kind, engine, input, routing, timeout_ms, deadline_at)
     VALUES ($1, $2, '', 'lora-inference', 'ref-sep-v1', $3, $4, $5, studio.now() + $6 * interval '1 ms')`,
    [id, clientId, JSON.stringify(input), JSON.stringify(routing), timeoutMs, deadlineMs],
  );
  return id;
}

// Whatever the route answers: the assertions look at it.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Json = any;

/** Waits over the public API, as a client would. */
async function finished(id: string): Promise<Json> {
  for (;;) {
    const reply = await fetch(`${api.url}/v1/jobs/${id}?wait=20`, { headers });
    const job = (await reply.json()) as Json;
    if (job.finished_at) return job;
  }
}

async function callback(request: MinerJobRequest, body: FormData, secret = request.callback.secret): Promise<Response> {
  const url = request.callback.url.replace('http://studio.test', api.url);
  return fetch(url, { method: 'POST', body, headers: { [CALLBACK_SECRET_HEADER]: secret } });
}

const attemptStates = (job: Json): string[] => job.attempts.map(({ state }: { state: string }) => state);

/** The first change of a job's state to the one that is waited for. */
async function untilState(id: string, state: string): Promise<void> {
  for (;;) {
    const [row] = await db.query('SELECT state FROM studio.jobs WHERE id = $1', [id]);
    if (row.state === state) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe('a worker', () => {
  it('brings a job to a miner and its checked result to the client', async () => {
    const [miner] = await useMiners(1);
    await startWorker();
    const id = await addJob();
    const job = await finished(id);
    expect(job).toMatchObject({
      state: 'succeeded',
      attempts: [{ attempt: 1, state: 'accepted', hotkey: miner!.hotkey }],
    });
    expect(job.attempts[0].net_ms).toBeGreaterThan(0);
    const result = (await (await fetch(`${api.url}/v1/jobs/${id}/result`, { headers })).json()) as Json;
    const file = await fetch(result.images[0].url.replace('http://studio.test', api.url));
    expect(
      await sharp(await file.arrayBuffer())
        .raw()
        .toBuffer(),
    ).toEqual(await sharp(image).raw().toBuffer());
    expect(miner!.asked[0]).toMatchObject({ job_id: id, attempt: 1, timeout_ms: 10_000, input: { prompt: 'a cat' } });
  });

  it('spreads jobs fairly', async () => {
    // As many slots as jobs: the slower one is not passed over for being full, so turns alone decide.
    const [one, other] = await useMiners(2, works, 20);
    await startWorker();
    const ids = await Promise.all(Array.from({ length: 20 }, () => addJob()));
    await Promise.all(ids.map(finished));
    expect([one!.asked.length, other!.asked.length]).toEqual([10, 10]);
  });

  it.each<[string, StubMiner['answer'], string, RegExp]>([
    [
      'an image of another size',
      (r) => ({ status: 200, form: resultForm(r, { image_0: small() }) }),
      'invalid',
      /16×16/,
    ],
    ['garbage', (r) => ({ status: 200, form: resultForm(r, { image_0: randomBytes(500) }) }), 'invalid', /not a PNG/],
    ['no file', (r) => ({ status: 200, form: resultForm(r, {}) }), 'invalid', /image_0 is missing/],
    [
      'a file too many',
      (r) => ({ status: 200, form: resultForm(r, { image_0: image, x: image }) }),
      'invalid',
      /nobody asked/,
    ],
    ["another job's result", (r) => ({ status: 200, form: resultForm({ ...r, job_id: randomUUID() }, { image_0: image }) }), 'invalid', /another job/], // prettier-ignore
    ['a plain 200', () => ({ status: 200 }), 'invalid', /not multipart/],
    ['that it failed', (r) => ({ status: 200, form: resultForm(r, {}, { status: 'failed', error: 'no\u0000 memory' }) }), 'failed', /no memory/], // prettier-ignore
    ['HTTP 422', () => ({ status: 422 }), 'failed', /HTTP 422/],
    ['HTTP 500', () => ({ status: 500 }), 'failed', /HTTP 500/],
  ])('takes a job to another miner when one answers with %s', async (_, answer, state, reason) => {
    const [first, second] = await useMiners(2, answer);
    // Whoever is asked second does it right.
    const right: StubMiner['answer'] = (r) => (r.attempt === 1 ? answer(r) : works(r));
    for (const miner of [first!, second!]) miner.answer = right;
    await startWorker();
    const job = await finished(await addJob());
    expect(attemptStates(job)).toEqual([state, 'accepted']);
    expect(job.attempts[0]).toMatchObject({ blame: 'miner', reason: expect.stringMatching(reason) });
    expect(job.attempts[1].hotkey).not.toBe(job.attempts[0].hotkey);
  });

  it('fails a job with the reasons when nobody is left', async () => {
    await useMiners(2, () => ({ status: 500 }));
    await startWorker();
    const id = await addJob();
    const job = await finished(id);
    expect(job).toMatchObject({ state: 'failed', failure: { code: 'JOB_FAILED' } });
    expect(job.failure.message).toMatch(/attempt 1 .*HTTP 500.*attempt 2 .*HTTP 500/);
    const result = await fetch(`${api.url}/v1/jobs/${id}/result`, { headers });
    expect(result.status).toBe(500);
  });

  it('does not charge a busy miner, and asks again', async () => {
    const [miner] = await useMiners(1);
    miner!.answer = (request) => (miner!.asked.length < 5 ? { status: 429 } : works(request));
    await startWorker();
    const job = await finished(await addJob());
    expect(job.state).toBe('succeeded');
    expect(job.attempts.slice(0, -1).every((a: Json) => a.state === 'busy' && a.blame === 'none')).toBe(true);
    expect(job.attempts).toHaveLength(5);
  });

  it('gives a slow miner its time, then the job to another', async () => {
    await useMiners(2);
    for (const miner of miners) miner.answer = (request) => (request.attempt === 1 ? 'hang' : works(request));
    await startWorker();
    const job = await finished(await addJob({ timeoutMs: 1_000, deadlineMs: 10_000 }));
    expect(attemptStates(job)).toEqual(['timeout', 'accepted']);
    expect(job.attempts[0].blame).toBe('miner');
  });

  it('asks the same miner again where only that one may do the job', async () => {
    const [miner, other] = await useMiners(2);
    miner!.routable.trusted = true;
    registry.announce(miners.map(({ routable }) => routable));
    miner!.answer = (request) => (request.attempt < 3 ? { status: 500 } : works(request));
    await startWorker();
    const job = await finished(await addJob({ routing: { onlyHotkey: miner!.hotkey } }));
    expect(attemptStates(job)).toEqual(['failed', 'failed', 'accepted']);
    expect(other!.asked).toHaveLength(0);
    expect((await finished(await addJob())).attempts[0].hotkey).toBe(other!.hotkey);
  });

  it('fails a job at once that nobody may do any more', async () => {
    await useMiners(1);
    await startWorker();
    const job = await finished(await addJob({ routing: { onlyHotkey: 'gone' } }));
    expect(job.failure).toMatchObject({ code: 'NO_ELIGIBLE_MINER' });
  });

  it('that is killed leaves its attempt to another, which asks the same pair again', async () => {
    const [miner] = await useMiners(1);
    let release: (() => void) | undefined;
    const running = new Promise<void>((resolve) => (release = resolve));
    miner!.answer = async (request) => (await running, works(request));
    // Claimed and sent by a worker of which nothing is left but its rows.
    const store = new DispatchStore(db, 'killed', () => undefined);
    const id = await addJob();
    const [claimed] = await store.claim(10, 1, []);
    await store.openAttempt({
      jobId: id,
      leaseNo: claimed!.leaseNo,
      attemptNo: 1,
      hotkey: miner!.hotkey,
      operator: 'o',
      callbackHash: '00',
    });
    await startWorker();
    const asked = await miner!.askedTimes(1);
    expect(asked).toMatchObject({ job_id: id, attempt: 1 });
    release!();
    const job = await finished(id);
    expect(attemptStates(job)).toEqual(['accepted']);
    const [attempt] = await db.query('SELECT void FROM studio.attempts WHERE job_id = $1', [id]);
    expect(attempt.void).toBe(true);
  });

  it('hands its jobs over when it is told to end', async () => {
    const [miner] = await useMiners(1, accepts);
    let asked = 0;
    miner!.answer = (request) => (++asked === 1 ? 'hang' : works(request));
    const first = await startWorker();
    const id = await addJob({ timeoutMs: 60_000 });
    await miner!.askedTimes(1);
    await first.close();
    workers = [];
    await startWorker();
    expect(attemptStates(await finished(id))).toEqual(['accepted']);
    expect(miner!.asked.map(({ attempt }) => attempt)).toEqual([1, 1]);
  });
});

describe('losing every database connection', () => {
  it('costs time, not the result', async () => {
    const [miner] = await useMiners(1);
    const cut = (): Promise<unknown> =>
      owner.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE datname = current_database() AND application_name LIKE 'querier-%'`);
    miner!.answer = async (request) => {
      if (miner!.asked.length === 1) await cut();
      return works(request);
    };
    await startWorker();
    const id = await addJob();
    await miner!.askedTimes(1);
    expect(await finished(id)).toMatchObject({ state: 'succeeded', attempts: [{ state: 'accepted' }] });
    expect(new Set(miner!.asked.map(({ attempt }) => attempt))).toEqual(new Set([1]));
  });
});

describe('a lease', () => {
  it('that was lost writes nothing', async () => {
    await useMiners(0);
    const stale = new DispatchStore(db, 'stale', () => undefined);
    const fresh = new DispatchStore(db, 'fresh', () => undefined);
    const id = await addJob();
    const [old] = await stale.claim(10, 0, []);
    const [current] = await fresh.claim(10, 60_000, []);
    expect(current).toMatchObject({ id, leaseNo: old!.leaseNo + 1 });
    const attempt = { jobId: id, attemptNo: 1, hotkey: 'h', operator: 'o', callbackHash: '00' };
    const end = { jobId: id, attemptNo: 1, state: 'failed', blame: 'miner', reason: 'r', next: { move: 'release', wakeMs: 0 } } as const; // prettier-ignore
    expect(await stale.openAttempt({ ...attempt, leaseNo: old!.leaseNo })).toBe(false);
    expect(await fresh.openAttempt({ ...attempt, leaseNo: current!.leaseNo })).toBe(true);
    expect(await stale.endAttempt({ ...end, leaseNo: old!.leaseNo })).toBe(false);
    expect(await stale.awaitCallback(id, old!.leaseNo, 1)).toBe(false);
    expect(await stale.renew([{ id, leaseNo: old!.leaseNo }], 1_000)).toEqual([id]);
    expect(await fresh.renew([{ id, leaseNo: current!.leaseNo }], 60_000)).toEqual([]);
    const [row] = await db.query('SELECT state, attempt_no FROM studio.jobs WHERE id = $1', [id]);
    expect(row).toEqual({ state: 'running', attempt_no: 1 });
  });
});

describe('a callback', () => {
  it('brings the result of an accepted job', async () => {
    const [miner] = await useMiners(1, accepts);
    await startWorker();
    const id = await addJob();
    const request = await miner!.askedTimes(1);
    await untilState(id, 'awaiting-callback');
    const reply = await callback(request, resultForm(request, { image_0: image }));
    expect([reply.status, await reply.json()]).toEqual([200, { accepted: true }]);
    expect(await finished(id)).toMatchObject({ state: 'succeeded', attempts: [{ raw_ms: expect.any(Number) }] });
  });

  it('may overtake the 202', async () => {
    const [miner] = await useMiners(1);
    miner!.answer = async (request) => {
      await callback(request, resultForm(request, { image_0: image }));
      return { status: 202 };
    };
    await startWorker();
    expect(attemptStates(await finished(await addJob()))).toEqual(['accepted']);
  });

  it('with a bad result may overtake the 202, and the job goes on', async () => {
    await useMiners(2);
    for (const miner of miners) {
      miner.answer = async (request) => {
        if (request.attempt > 1) return works(request);
        await callback(request, resultForm(request, { image_0: small() }));
        return { status: 202 };
      };
    }
    await startWorker();
    expect(attemptStates(await finished(await addJob()))).toEqual(['invalid', 'accepted']);
  });

  it('with a wrong secret changes nothing', async () => {
    const [miner] = await useMiners(1, accepts);
    await startWorker();
    const id = await addJob();
    const request = await miner!.askedTimes(1);
    await untilState(id, 'awaiting-callback');
    const form = (): FormData => resultForm(request, { image_0: image });
    expect((await callback(request, form(), 'wrong')).status).toBe(401);
    expect((await callback({ ...request, callback: { ...request.callback, url: `http://studio.test/miners/callback/${randomUUID()}/1` } }, form())).status).toBe(401); // prettier-ignore
    await untilState(id, 'awaiting-callback');
    expect((await callback(request, form())).status).toBe(200);
  });

  it('that is repeated a hundred times counts once', async () => {
    const [miner] = await useMiners(1, accepts);
    await startWorker();
    const id = await addJob();
    const request = await miner!.askedTimes(1);
    const replies = await Promise.all(
      Array.from({ length: 100 }, () => callback(request, resultForm(request, { image_0: image }))),
    );
    expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([200, 409]));
    expect((await callback(request, resultForm(request, { image_0: image }))).status).toBe(200);
    expect(attemptStates(await finished(id))).toEqual(['accepted']);
  });

  it('with an invalid result sends the job to another miner', async () => {
    await useMiners(2, accepts);
    await startWorker();
    const id = await addJob();
    const first = await Promise.race(miners.map((miner) => miner.askedTimes(1)));
    for (const miner of miners) miner.answer = works;
    const reply = await callback(first, resultForm(first, { image_0: small() }));
    expect(await reply.json()).toMatchObject({ accepted: false, reason: expect.stringMatching(/16×16/) });
    expect(attemptStates(await finished(id))).toEqual(['invalid', 'accepted']);
  });

  it('that never comes is a timeout, and comes too late afterwards', async () => {
    await useMiners(2, accepts);
    await startWorker();
    const id = await addJob({ timeoutMs: 1_000, deadlineMs: 20_000 });
    const first = await Promise.race(miners.map((miner) => miner.askedTimes(1)));
    for (const miner of miners) miner.answer = works;
    expect(attemptStates(await finished(id))).toEqual(['timeout', 'accepted']);
    expect((await callback(first, resultForm(first, { image_0: image }))).status).toBe(409);
  });
});

describe('the end of a job', () => {
  it('by cancelling reaches the miner, and is not held against it', async () => {
    const [miner] = await useMiners(1, accepts);
    await startWorker();
    const id = await addJob();
    const request = await miner!.askedTimes(1);
    await untilState(id, 'awaiting-callback');
    const cancelled = await fetch(`${api.url}/v1/jobs/${id}/cancel`, { method: 'POST', headers });
    expect(cancelled.status).toBe(202);
    const job = await finished(id);
    expect(job).toMatchObject({ state: 'cancelled', attempts: [{ state: 'cancelled', blame: 'none' }] });
    expect((await callback(request, resultForm(request, { image_0: image }))).status).toBe(409);
    expect(miner!.cancelled).toEqual([id]);
  });

  it('comes at its deadline', async () => {
    await useMiners(1, () => 'hang');
    await startWorker();
    const id = await addJob({ timeoutMs: 20_000, deadlineMs: 700 });
    const job = await finished(id);
    expect(job).toMatchObject({ state: 'expired', failure: { code: 'JOB_EXPIRED' } });
    expect(job.attempts).toMatchObject([{ state: 'timeout', blame: 'none' }]);
    expect((await fetch(`${api.url}/v1/jobs/${id}/result`, { headers })).status).toBe(504);
  });

  it('leaves a bystander alone', async () => {
    const [bystander] = await db.query(`SELECT * FROM studio.jobs WHERE state = 'succeeded' LIMIT 1`);
    await expect(db.query(`UPDATE studio.jobs SET worker = 'x' WHERE id = $1`, [bystander.id])).rejects.toThrow(
      'final',
    );
  });
});

let smallImage: Buffer;
beforeAll(async () => {
  smallImage = await sharp(image).resize(16, 16).png().toBuffer();
});
const small = (): Buffer => smallImage;
