import { randomBytes, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createDataSource } from '@studio/shared/database/data-source';
import { adapterFormat, adapterShapes } from '@studio/shared/domain/adapter-format';
import { createLogger } from '@studio/shared/platform/logger';
import { requestJson } from '@studio/shared/platform/nats';
import { writeSafetensors } from '@studio/shared/protocol/safetensors';
import { startFakeRegistry, type FakeRegistry } from '@studio/shared/testing/fake-registry';
import { openTestNats, type TestNats } from '@studio/shared/testing/nats';
import { openTestRedis, type TestRedis } from '@studio/shared/testing/redis';
import { createDatabase, type TestDatabase } from '@studio/shared/testing/postgres';
import { startStubMiner, type StubMiner } from '@studio/shared/testing/stub-miner';
import sharp from 'sharp';
import type { DataSource } from 'typeorm';
import { boot, type RunningQuerier } from './boot';
import { ClientKeyStore } from './client-key.store';
import { QuerierEnv } from './env';

jest.setTimeout(60_000);

const PHOTO = readFileSync(join(__dirname, '../../../photos/chelsea.png'));
const photo = `data:image/png;base64,${PHOTO.toString('base64')}`;
let database: TestDatabase;
let nats: TestNats;
let redis: TestRedis;
let registry: FakeRegistry;
let miner: StubMiner;
let api: RunningQuerier;
let db: DataSource;
let artifactsDir: string;
let key: string;
let otherKey: string;

beforeAll(async () => {
  [database, nats, redis, miner] = await Promise.all([
    createDatabase(),
    openTestNats(),
    openTestRedis(),
    startStubMiner('5Miner'),
  ]);
  artifactsDir = await mkdtemp(join(tmpdir(), 'querier-'));
  registry = startFakeRegistry(nats.connection, [miner.routable]);
  const env = Object.assign(new QuerierEnv(), {
    ROLE: 'api',
    POSTGRES_URL: database.urls.querier,
    NATS_URL: nats.url,
    PUBLIC_URL: 'http://studio.test',
    ARTIFACTS_DIR: artifactsDir,
    URL_SECRET: randomBytes(32).toString('hex'),
    ORCHESTRATOR_SEED: randomBytes(32).toString('hex'),
    REDIS_URL: redis.url,
  });
  api = await boot(env, createLogger({ name: 'test', level: 'silent', format: 'json' }));
  db = await createDataSource({ url: database.urls.querier, name: 'test', poolSize: 1 }).initialize();
  const keys = new ClientKeyStore(db);
  key = (await keys.create('one')).key;
  otherKey = (await keys.create('other')).key;
});

afterAll(async () => {
  await api?.close();
  await db?.destroy();
  registry?.close();
  await Promise.all([miner?.close(), nats?.close(), redis?.close()]);
  await database?.drop();
  await rm(artifactsDir, { recursive: true, force: true });
});

async function call(method: string, path: string, options: { body?: unknown; headers?: Record<string, string> } = {}) {
  const { body, headers = {} } = options;
  const isRaw = Buffer.isBuffer(body);
  const response = await fetch(`${api.url}${path}`, {
    method,
    headers: {
      authorization: `Key ${key}`,
      ...(body && !isRaw ? { 'content-type': 'application/json' } : {}),
      ...headers,
    },
    body: isRaw ? new Uint8Array(body) : body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.includes('json');
  return { status: response.status, body: isJson ? JSON.parse(text) : text };
}

const training = (input: Record<string, unknown> = {}) => ({
  kind: 'lora-training',
  engine: 'ref-sep-v1',
  input: { image_url: photo, steps: 10, seed: 7, ...input },
});
const submit = (body: unknown, headers: Record<string, string> = {}) => call('POST', '/v1/jobs', { body, headers });
const countJobs = async () => Number((await db.query('SELECT count(*) FROM studio.jobs'))[0].count);

function loraFile(): Buffer {
  const shapes = adapterShapes(adapterFormat('ref-sep-v1')!, 4);
  const tensors = [...shapes].map(([name, shape]): [string, { shape: number[]; data: Float32Array }] => {
    const length = shape.reduce((product, side) => product * side, 1);
    return [name, { shape, data: new Float32Array(length).fill(0.01) }];
  });
  return Buffer.from(writeSafetensors(tensors, { engine: 'ref-sep-v1', rank: '4', resolution: '64' }));
}

describe('submitting a job', () => {
  it('stores it with its canonical photograph before the reply', async () => {
    const { status, body } = await submit(training());
    expect(status).toBe(202);
    expect(body).toMatchObject({ kind: 'lora-training', state: 'queued', attempts: [], failure: null });
    const [row] = await db.query('SELECT * FROM studio.jobs WHERE id = $1', [body.id]);
    expect(row.input).toMatchObject({ resolution: 64, steps: 10, rank: 16, seed: 7, image: { width: 64, height: 64 } });
    expect(row.deadline_at.getTime() - row.created_at.getTime()).toBe(3 * row.timeout_ms);
    expect(body.urls.status).toBe(`http://studio.test/v1/jobs/${body.id}`);
  });

  it('draws a seed where none is given', async () => {
    const { body } = await submit(training({ seed: undefined }));
    const [{ input }] = await db.query('SELECT input FROM studio.jobs WHERE id = $1', [body.id]);
    expect(Number.isInteger(input.seed)).toBe(true);
  });

  it('gives the same job for the same Idempotency-Key, also at the same time', async () => {
    const headers = { 'idempotency-key': randomUUID() };
    const replies = await Promise.all([
      submit(training(), headers),
      submit(training(), headers),
      submit(training(), headers),
    ]);
    expect(new Set(replies.map(({ body }) => body.id)).size).toBe(1);
    expect(await submit(training({ seed: 8 }), headers)).toMatchObject({
      status: 422,
      body: { error: { code: 'IDEMPOTENCY_MISMATCH' } },
    });
  });

  it('keeps the keys of two clients apart', async () => {
    const headers = { 'idempotency-key': randomUUID() };
    const one = await submit(training(), headers);
    const other = await submit(training(), { ...headers, authorization: `Bearer ${otherKey}` });
    expect(other.status).toBe(202);
    expect(other.body.id).not.toBe(one.body.id);
  });

  it.each<[string, unknown, number, string, string]>([
    ['an unknown kind', { ...training(), kind: 'video' }, 422, 'INVALID_INPUT', 'kind'],
    ['an unknown engine', { ...training(), engine: 'magic' }, 422, 'INVALID_INPUT', 'engine'],
    ['no input', { kind: 'lora-training', engine: 'ref-sep-v1' }, 422, 'INVALID_INPUT', 'input'],
    ['a field nobody knows', { ...training(), priority: 1 }, 422, 'INVALID_INPUT', 'priority'],
    ['a negative seed', training({ seed: -1 }), 422, 'INVALID_INPUT', 'input.seed'],
    ['steps as text', training({ steps: '10' }), 422, 'INVALID_INPUT', 'input.steps'],
    ['too many steps', training({ steps: 1e6 }), 422, 'INVALID_INPUT', 'input.steps'],
    ['rank 0', training({ rank: 0 }), 422, 'INVALID_INPUT', 'input.rank'],
    ['a misspelt field', training({ step: 10 }), 422, 'INVALID_INPUT', 'input.step'],
    ['no photograph', training({ image_url: undefined }), 422, 'INVALID_INPUT', 'input.image_url'],
    ['a foreign URL', training({ image_url: 'http://169.254.169.254/' }), 422, 'UNSUPPORTED_URL', 'input.image_url'],
    [
      'text as photograph',
      training({ image_url: 'data:image/png;base64,aGVsbG8=' }),
      422,
      'IMAGE_UNREADABLE',
      'input.image_url',
    ],
    [
      'an empty photograph',
      training({ image_url: 'data:image/png;base64,' }),
      422,
      'IMAGE_UNREADABLE',
      'input.image_url',
    ],
    [
      'a foreign LoRA',
      { kind: 'lora-inference', engine: 'ref-sep-v1', input: { lora_url: 'https://x.test/a', prompt: '' } },
      422,
      'UNSUPPORTED_URL',
      'input.lora_url',
    ],
    [
      'a prompt with NUL',
      { kind: 'lora-inference', engine: 'ref-sep-v1', input: { lora_url: 'x', prompt: 'a\0b' } },
      422,
      'INVALID_INPUT',
      'input.prompt',
    ],
  ])('refuses %s and names the field', async (_, body, status, code, path) => {
    const before = await countJobs();
    const reply = await submit(body);
    expect(reply).toMatchObject({ status, body: { error: { code, fields: [{ path }] } } });
    expect(reply.body.error.message).toContain(path);
    expect(await countJobs()).toBe(before);
  });

  it.each(['127.0.0.1', '2130706433', '10.1.2.3', '[::1]', '[::ffff:127.0.0.1]'])(
    'refuses a webhook to %s, and stores nothing',
    async (host) => {
      const before = await countJobs();
      const reply = await submit({ ...training(), webhook_url: `http://${host}:8080/` });
      expect(reply).toMatchObject({ status: 422, body: { error: { fields: [{ path: 'webhook_url' }] } } });
      expect(reply.body.error.message).toMatch(/address; give a public address/);
      expect(await countJobs()).toBe(before);
    },
  );

  it('refuses a photograph of 100 megapixels', async () => {
    const create = { width: 10_000, height: 10_000, channels: 3 as const, background: '#000' };
    const huge = await sharp({ create, limitInputPixels: false }).png({ compressionLevel: 9 }).toBuffer();
    const reply = await submit(training({ image_url: `data:image/png;base64,${huge.toString('base64')}` }));
    expect(reply).toMatchObject({ status: 422, body: { error: { code: 'IMAGE_UNREADABLE' } } });
    expect(reply.body.error.message).toMatch(/100 megapixels/);
  });

  it('refuses a body that is not JSON', async () => {
    const headers = { 'content-type': 'application/json' };
    expect(await call('POST', '/v1/jobs', { body: Buffer.from('{"kind":'), headers })).toMatchObject({
      status: 400,
      body: { error: { code: 'MALFORMED_BODY' } },
    });
  });

  it('fails at once when no miner can do it, and stores nothing', async () => {
    const before = await countJobs();
    const reply = await submit({ kind: 'lora-training', engine: 'flux', input: { image_url: photo } });
    expect(reply).toMatchObject({ status: 503, body: { error: { code: 'NO_ELIGIBLE_MINER' } } });
    expect(await countJobs()).toBe(before);
  });

  it('takes a private job only where a reference can check it', async () => {
    const body = { ...training(), private: true };
    const refused = await submit(body);
    expect(refused).toMatchObject({ status: 422, body: { error: { fields: [{ path: 'private' }] } } });
    expect(await submit({ ...body, private: 'yes' })).toMatchObject({ status: 422 });
    registry.announce([miner.routable, { ...miner.routable, hotkey: '5Reference', trusted: true }]);
    let taken = await submit(body);
    while (taken.status === 422) taken = await submit(body);
    expect(taken.status).toBe(202);
    const [row] = await db.query('SELECT private FROM studio.jobs WHERE id = $1', [taken.body.id]);
    expect(row).toEqual({ private: true });
    registry.announce([miner.routable]);
  });

  it.each(['', 'Key wrong', `Key studio_${'0'.repeat(12)}_${'0'.repeat(64)}`, 'Basic abc'])(
    'needs a key (%s)',
    async (authorization) => {
      expect(await submit(training(), { authorization })).toMatchObject({
        status: 401,
        body: { error: { code: 'UNAUTHENTICATED' } },
      });
    },
  );
});

describe('a job', () => {
  it('of another client does not exist', async () => {
    const { body } = await submit(training());
    const headers = { authorization: `Key ${otherKey}` };
    for (const [method, path] of [
      ['GET', ''],
      ['GET', '/result'],
      ['POST', '/cancel'],
    ] as const) {
      expect(await call(method, `/v1/jobs/${body.id}${path}`, { headers })).toMatchObject({ status: 404 });
    }
    expect(await call('GET', '/v1/jobs/not-an-id')).toMatchObject({ status: 404 });
  });

  it('that is queued has no result yet', async () => {
    const { body } = await submit(training());
    expect(await call('GET', `/v1/jobs/${body.id}/result`)).toMatchObject({
      status: 409,
      body: { error: { code: 'NOT_FINISHED' } },
    });
  });

  it('can be cancelled once', async () => {
    const { body } = await submit(training());
    const waiting = call('GET', `/v1/jobs/${body.id}?wait=30`);
    expect(await call('POST', `/v1/jobs/${body.id}/cancel`)).toMatchObject({
      status: 202,
      body: { state: 'cancelled' },
    });
    expect((await waiting).body.state).toBe('cancelled');
    expect(await call('POST', `/v1/jobs/${body.id}/cancel`)).toMatchObject({ status: 409 });
    expect(await call('GET', `/v1/jobs/${body.id}/result`)).toMatchObject({ status: 499 });
  });

  it('is listed newest first, page by page', async () => {
    const ids = [];
    for (let i = 0; i < 3; i++) ids.unshift((await submit(training())).body.id);
    const first = await call('GET', '/v1/jobs?limit=2');
    expect(first.body.jobs.map(({ id }: { id: string }) => id)).toEqual(ids.slice(0, 2));
    const second = await call('GET', `/v1/jobs?limit=1&before=${ids[1]}`);
    expect(second.body.jobs[0].id).toBe(ids[2]);
    expect(await call('GET', '/v1/jobs?limit=1000')).toMatchObject({ status: 422 });
  });

  it('is found by what it is and when it came, page by page, by its owner alone', async () => {
    const mine = (await Promise.all([submit(training()), submit(training())])).map(
      ({ body }) => body as { id: string },
    );
    await submit(training(), { authorization: `Key ${otherKey}` });
    await call('POST', `/v1/jobs/${mine[0]!.id}/cancel`);
    const all: { id: string; state: string; kind: string; engine: string; created_at: string }[] = [];
    for (let next: string | null = ''; next !== null;) {
      const { body } = await call('GET', `/v1/jobs?limit=3${next && `&before=${next}`}`);
      all.push(...body.jobs);
      next = body.next;
    }
    const count =
      'SELECT count(*)::int AS jobs FROM studio.jobs WHERE client_id = (SELECT client_id FROM studio.jobs WHERE id = $1)';
    expect(new Set(all.map(({ id }) => id)).size).toBe((await db.query(count, [mine[0]!.id]))[0].jobs);

    const middle = all[1]!.created_at;
    for (const [query, wanted] of [
      ['state=cancelled', ({ state }) => state === 'cancelled'],
      [
        'kind=lora-training&engine=ref-sep-v1',
        ({ kind, engine }) => kind === 'lora-training' && engine === 'ref-sep-v1',
      ],
      ['kind=lora-inference', ({ kind }) => kind === 'lora-inference'],
      ['engine=flux', ({ engine }) => engine === 'flux'],
      [`created_after=${middle}`, ({ created_at }) => created_at >= middle],
      [`created_before=${middle}`, ({ created_at }) => created_at < middle],
    ] as [string, (job: (typeof all)[number]) => boolean][]) {
      const { body } = await call('GET', `/v1/jobs?limit=100&${query}`);
      const ids = (jobs: { id: string }[]) => jobs.map(({ id }) => id);
      // The database's times are finer than those shown, so that a job of that very millisecond may be on either side.
      const told = ids((body.jobs as typeof all).filter(({ created_at }) => created_at !== middle));
      expect({ query, ids: told }).toEqual({
        query,
        ids: ids(all.filter(wanted).filter(({ created_at }) => created_at !== middle)),
      });
    }
    for (const wrong of [
      'state=done',
      'kind=video',
      'created_after=yesterday',
      'created_before=2026-01-01T00:00:00',
      'miner=x',
    ]) {
      expect({ wrong, status: (await call('GET', `/v1/jobs?${wrong}`)).status }).toEqual({ wrong, status: 422 });
    }
  });
});

describe('an artifact', () => {
  const upload = (body: Buffer, type: string) =>
    call('POST', '/v1/artifacts', { body, headers: { 'content-type': type } });
  const local = (url: string) => url.replace('http://studio.test', api.url);

  it('that is a photograph is uploaded, downloaded and trained on', async () => {
    const bytes = PHOTO;
    const { status, body } = await upload(bytes, 'image/png');
    expect(status).toBe(201);
    const response = await fetch(local(body.url));
    expect(Buffer.from(await response.arrayBuffer()).equals(bytes)).toBe(true);
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    expect(await submit(training({ image_url: body.url }))).toMatchObject({ status: 202 });
  });

  it('that is a LoRA is uploaded and rendered with', async () => {
    const { status, body } = await upload(loraFile(), 'application/octet-stream');
    expect(status).toBe(201);
    const input = { lora_url: body.url, prompt: 'a cat' };
    const job = await submit({ kind: 'lora-inference', engine: 'ref-sep-v1', input });
    expect(job.status).toBe(202);
    const [row] = await db.query('SELECT input FROM studio.jobs WHERE id = $1', [job.body.id]);
    expect(row.input).toMatchObject({
      width: 64,
      height: 64,
      loraScale: 1,
      warp: 0.25,
      numImages: 1,
      lora: { rank: 4 },
    });
  });

  it('that is neither is refused', async () => {
    expect(await upload(Buffer.from('hello'), 'application/octet-stream')).toMatchObject({
      status: 422,
      body: { error: { code: 'LORA_UNREADABLE' } },
    });
    expect(await upload(Buffer.from('hello'), 'image/png')).toMatchObject({
      status: 422,
      body: { error: { code: 'IMAGE_UNREADABLE' } },
    });
  });

  it('that is a photograph is no LoRA', async () => {
    const { body } = await upload(PHOTO, 'image/png');
    const input = { lora_url: body.url, prompt: '' };
    expect(await submit({ kind: 'lora-inference', engine: 'ref-sep-v1', input })).toMatchObject({
      status: 422,
      body: { error: { code: 'LORA_UNREADABLE', fields: [{ path: 'input.lora_url' }] } },
    });
  });

  it('is not given out on an altered link', async () => {
    const { body } = await upload(loraFile(), 'application/octet-stream');
    expect((await fetch(local(body.url.replace(/expires=\d/, 'expires=9')))).status).toBe(403);
    expect((await fetch(local(body.url.split('?')[0]))).status).toBe(403);
  });
});

describe('the auditor', () => {
  const command = async (routing = {}) => {
    const [{ input }] = await db.query(`SELECT input FROM studio.jobs WHERE kind = 'lora-training' LIMIT 1`);
    return { idempotencyKey: randomUUID(), kind: 'lora-training', engine: 'ref-sep-v1', input, routing };
  };
  const ask = (body: unknown) =>
    requestJson<{ jobId: string }>(nats.connection, 'querier.jobs.submit', body, { timeoutMs: 30_000 });

  it('submits the stored input of a job over NATS, once per key', async () => {
    const body = await command({ onlyHotkey: miner.hotkey });
    const [one, again] = [await ask(body), await ask(body)];
    expect(one.jobId).toBe(again.jobId);
    const [row] = await db.query('SELECT routing, input FROM studio.jobs WHERE id = $1', [one.jobId]);
    expect(row).toEqual({ routing: { onlyHotkey: miner.hotkey }, input: body.input });
  });

  it("submits a request in a client's words, and it is stored as a client's is", async () => {
    const request = { image_url: photo, steps: 10, seed: 7 };
    const asked = { idempotencyKey: randomUUID(), kind: 'lora-training', engine: 'ref-sep-v1', request };
    const routing = { firstHotkey: miner.hotkey };
    const [one, again] = [await ask({ ...asked, routing }), await ask({ ...asked, routing })];
    expect(again.jobId).toBe(one.jobId);
    const { body } = await submit(training());
    const stored = 'SELECT kind, engine, input, timeout_ms FROM studio.jobs WHERE id = $1';
    const [[house], [organic]] = [await db.query(stored, [one.jobId]), await db.query(stored, [body.id])];
    expect(house).toEqual(organic);
    const [row] = await db.query('SELECT routing FROM studio.jobs WHERE id = $1', [one.jobId]);
    expect(row.routing).toEqual(routing);
  });

  it('names a LoRA by its hash, which a client may not', async () => {
    const upload = { body: loraFile(), headers: { 'content-type': 'application/octet-stream' } };
    const { body: file } = await call('POST', '/v1/artifacts', upload);
    const [, sha256] = /artifacts\/([0-9a-f]{64})/.exec(file.url)!;
    const request = { lora_url: `artifact:${sha256}`, prompt: 'a cat' };
    const asked = { idempotencyKey: randomUUID(), kind: 'lora-inference', engine: 'ref-sep-v1', routing: {} };
    const { jobId } = await ask({ ...asked, request });
    const [row] = await db.query('SELECT input FROM studio.jobs WHERE id = $1', [jobId]);
    expect(row.input).toMatchObject({ lora: { sha256, rank: 4 }, prompt: 'a cat', width: 64, warp: 0.25 });
    const unknown = { ...request, lora_url: `artifact:${'0'.repeat(64)}` };
    await expect(ask({ ...asked, idempotencyKey: randomUUID(), request: unknown })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    expect(await submit({ kind: 'lora-inference', engine: 'ref-sep-v1', input: request })).toMatchObject({
      status: 422,
      body: { error: { code: 'UNSUPPORTED_URL' } },
    });
  });

  it('hears which field of its request is wrong, and that input and request exclude each other', async () => {
    const { input, ...rest } = await command();
    const both = ask({ ...rest, input, request: { image_url: photo } });
    await expect(both).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      fields: [{ path: 'input' }, { path: 'request' }],
    });
    await expect(ask(rest)).rejects.toMatchObject({ fields: [{ path: 'input' }, { path: 'request' }] });
    await expect(ask({ ...rest, request: { image_url: photo, steps: 1e6 } })).rejects.toMatchObject({
      fields: [{ path: 'input.steps' }],
    });
  });

  it('hears which field is wrong, and that nobody may do the job', async () => {
    await expect(ask({ ...(await command()), engine: 'magic' })).rejects.toMatchObject({ code: 'INVALID_INPUT' });
    await expect(ask(await command({ onlyHotkey: 'nobody' }))).rejects.toMatchObject({ code: 'NO_ELIGIBLE_MINER' });
  });
});

it('documents itself', async () => {
  const { status, body } = await call('GET', '/docs/json');
  expect(status).toBe(200);
  expect(Object.keys(body.paths)).toEqual(
    expect.arrayContaining(['/v1/jobs', '/v1/jobs/{id}', '/v1/jobs/{id}/result', '/v1/artifacts', '/v1/webhooks']),
  );
  expect(await call('GET', '/health/ready')).toMatchObject({ status: 200, body: { ready: true } });
});
