import { randomBytes, randomUUID } from 'node:crypto';
import {
  SCOPES,
  type KeyEventView,
  type KeyView,
  type NewKeyView,
  type Scope,
} from '@studio/shared/contract/client-keys';
import { createDataSource } from '@studio/shared/database/data-source';
import type { JobInput } from '@studio/shared/domain/job';
import { createLogger } from '@studio/shared/platform/logger';
import { connectRedis } from '@studio/shared/platform/redis';
import { v7 as uuidv7 } from 'uuid';
import { boot, type RunningQuerier } from '../boot';
import { ClientKeyStore } from '../client-key.store';
import { QuerierEnv } from '../env';
import { JobStore } from '../job.store';
import { WorkerRig } from '../worker.rig';
import { BELIEVED_MS } from './client-access';
import { keysCommand } from './keys-command';
import { RequestRates } from './request-rates';
import { ROUTE_SCOPES } from './route-scopes';

jest.setTimeout(60_000);

const ADMIN_KEY = randomBytes(32).toString('hex');
const log = createLogger({ name: 'test', level: 'fatal', format: 'line' });
let rig: WorkerRig;
/** The rig's api is one replica; this is the other, with the operators' door. */
let second: RunningQuerier;
let photo: string;

beforeAll(async () => {
  rig = await WorkerRig.open();
  const env = Object.assign(new QuerierEnv(), rig.env, { ADMIN_KEY, ADMIN_PORT: 0 });
  second = await boot(env, log, undefined, rig.signatures);
  await rig.useMiners(1);
  photo = `data:image/png;base64,${rig.image.toString('base64')}`;
});

afterAll(async () => {
  await second?.close();
  await rig?.clear();
  await rig?.close();
});

async function ask(url: string, method: string, key: string, body?: unknown, headers: Record<string, string> = {}) {
  const reply = await fetch(url, {
    method,
    headers: { authorization: key, ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
    redirect: 'manual',
  });
  const text = await reply.text();
  const isJson = reply.headers.get('content-type')?.includes('json');
  return { status: reply.status, body: isJson ? JSON.parse(text) : text, headers: reply.headers };
}

const admin = (method: string, path: string, body?: unknown, headers?: Record<string, string>) =>
  ask(`${second.adminUrl}/admin/v1/${path}`, method, `Bearer ${ADMIN_KEY}`, body, headers);

async function newKey(command: object = {}): Promise<NewKeyView> {
  const { status, body } = await admin('POST', 'keys', { name: 'test', ...command });
  expect(status).toBe(201);
  return body as NewKeyView;
}

const events = async (key: string): Promise<KeyEventView[]> =>
  (await admin('GET', `key-events?key=${key}`)).body.events;
const training = () => ({ kind: 'lora-training', engine: 'ref-sep-v1', input: { image_url: photo, steps: 10 } });

describe('a key', () => {
  it('is shown once, and kept as its hash', async () => {
    const { key, id, prefix } = await newKey({ name: 'shop' });
    expect(key).toMatch(/^studio_[0-9a-f]{12}_[0-9a-f]{64}$/);
    const { body } = await admin('GET', 'keys');
    const listed = (body.keys as KeyView[]).find((one) => one.id === id);
    expect(listed).toMatchObject({
      name: 'shop',
      prefix,
      requests_per_minute: 3_000,
      queued_jobs: 1_000,
      revoked_at: null,
    });
    const everything = JSON.stringify([body, await events(id), await rig.db.query('SELECT * FROM studio.client_keys')]);
    expect(everything).not.toContain(key.split('_')[2]);
  });

  it('is made by nobody without the operators’ key, and not on the clients’ door', async () => {
    const { key } = await newKey();
    for (const authorization of ['Bearer wrong', `Key ${key}`, '']) {
      expect((await ask(`${second.adminUrl}/admin/v1/keys`, 'POST', authorization, { name: 'x' })).status).toBe(401);
      expect((await ask(`${second.adminUrl}/admin/v1/keys`, 'GET', authorization)).status).toBe(401);
    }
    expect((await ask(`${second.url}/admin/v1/keys`, 'GET', `Bearer ${ADMIN_KEY}`)).status).toBe(404);
  });

  it.each([
    ['no name', { name: undefined }, 'name'],
    ['a scope that does not exist', { scopes: ['jobs:admin'] }, 'scopes'],
    ['no scope', { scopes: [] }, 'scopes'],
    ['a limit of nothing', { requests_per_minute: 0 }, 'requests_per_minute'],
    ['a limit that is no number', { queued_jobs: 'many' }, 'queued_jobs'],
    ['a field nobody knows', { admin: true }, 'admin'],
  ])('is refused with %s', async (_, command, field) => {
    const { status, body } = await admin('POST', 'keys', { name: 'test', ...command });
    expect({ status, field: body.error.fields[0].path }).toEqual({ status: 422, field });
  });

  it('ends at every replica when it is revoked, before look-ups are forgotten', async () => {
    const { key, id } = await newKey();
    const replicas = [rig.api.url, second.url];
    const statuses = () =>
      Promise.all(replicas.map(async (url) => (await ask(`${url}/v1/jobs`, 'GET', `Key ${key}`)).status));
    expect(await statuses()).toEqual([200, 200]);
    const revoked = performance.now();
    expect((await admin('DELETE', `keys/${id}`)).body.revoked_at).not.toBeNull();
    while (String(await statuses()) !== '401,401') expect(performance.now() - revoked).toBeLessThan(0.8 * BELIEVED_MS);
    expect((await admin('DELETE', `keys/${randomUUID()}`)).status).toBe(404);
    expect((await admin('PATCH', `keys/${id}`, { queued_jobs: 5 })).status).toBe(404);
  });

  it('has a history that nobody can change', async () => {
    const { id, client_id } = await newKey({ scopes: ['jobs:read'], queued_jobs: 3 });
    await admin('PATCH', `keys/${id}`, { queued_jobs: null, requests_per_minute: 60 }, { 'x-operator': 'ada' });
    await admin('DELETE', `keys/${id}`, undefined, { 'x-operator': 'ben' });
    await admin('DELETE', `keys/${id}`);
    const history = await events(id);
    expect(
      history.map(({ action, who, detail }) => [action, who, detail.requests_per_minute, detail.queued_jobs]),
    ).toEqual([
      ['revoked', 'ben', 60, null],
      ['limited', 'ada', 60, null],
      ['created', 'operator', 3_000, 3],
    ]);
    expect(history[0]).toMatchObject({ key_id: id, client_id, origin: expect.stringMatching(/127\.0\.0\.1|::1/) });
    for (const change of ['DELETE FROM', 'UPDATE'].map(
      (verb) => `${verb} studio.client_key_events${verb === 'UPDATE' ? " SET who = ''" : ''}`,
    )) {
      await expect(rig.db.query(change)).rejects.toThrow(/permission denied/);
    }
  });

  it('is made, listed, limited and revoked from a shell as well', async () => {
    const said: string[] = [];
    const output = { print: (text: string) => void said.push(text), tell: (text: string) => void said.push(text) };
    const run = (...argv: string[]) => keysCommand(argv, (work) => work(new ClientKeyStore(rig.db)), output);
    expect([await run('create', '--name', 'shell', '--scopes', 'jobs:read', '--queued', 'none'), said]).toEqual([
      0,
      [expect.stringMatching(/^studio_/)],
    ]);
    const key = said.pop()!;
    const id = (await rig.db.query('SELECT id FROM studio.client_keys WHERE name = $1', ['shell']))[0].id as string;
    expect(await run('limit', id, '--per-minute', '7')).toBe(0);
    expect(await run('revoke', id)).toBe(0);
    expect(await run('list')).toBe(0);
    expect(said.at(-1)).toMatch(
      new RegExp(`${id}.*jobs:read  7 requests a minute, any number of queued jobs.*revoked`),
    );
    expect(said.join()).not.toContain(key);
    expect((await events(id)).map(({ action }) => action)).toEqual(['revoked', 'limited', 'created']);
    expect(await run('create', '--name', 'x', '--scopes', 'root')).toBe(1);
    expect(await run('create', '--name', 'x', '--per-minute', '0')).toBe(1);
    expect(await run('revoke', randomUUID())).toBe(1);
  });
});

/** A request to every route that needs a key: of nothing that exists, so that it changes nothing. */
const guarded = Object.entries(ROUTE_SCOPES).flatMap(([route, scope]) => {
  const [method, path] = route.split(' ') as [string, string];
  const named: Record<string, string> = { ':owner': 'studio', ':alias': 'lora', ':id': randomUUID(), '*': 'sub' };
  const at = path.replace(/:\w+|\*/g, (name) => named[name] ?? name);
  return scope === 'public' ? [] : [{ route, method, at, scope }];
});
const bodyOf = (method: string): object | undefined => (method === 'GET' ? undefined : {});

describe('a scope', () => {
  it.each(SCOPES)('%s opens its routes, and no others', async (scope: Scope) => {
    const { key } = await newKey({ scopes: [scope] });
    for (const { route, method, at, scope: needed } of guarded) {
      const { status, body } = await ask(second.url + at, method, `Key ${key}`, bodyOf(method));
      expect({ route, refused: [401, 403, 429].includes(status) }).toEqual({ route, refused: needed !== scope });
      if (needed !== scope)
        expect({ status, text: JSON.stringify(body) }).toEqual({ status: 403, text: expect.stringContaining(needed) });
    }
  });

  it('does not stand in for a key', async () => {
    for (const { route, method, at } of guarded) {
      const { status } = await ask(second.url + at, method, '', bodyOf(method));
      expect({ route, status }).toEqual({ route, status: 401 });
    }
  });
});

it('shows nothing of another client’s, on any route', async () => {
  const [owner, other] = [await newKey(), await newKey()];
  const submitted = await ask(`${second.url}/v1/jobs`, 'POST', `Key ${owner.key}`, training());
  const id = submitted.body.id as string;
  const paths = guarded.filter(({ at, route }) => route.includes(':id') && at !== route);
  expect(paths.length).toBeGreaterThan(7);
  for (const { route, method } of paths) {
    // The app of the job, so that fal's routes would find it.
    const path = route
      .split(' ')[1]!
      .replace(':owner', 'studio')
      .replace(':alias', 'lora-fast-training')
      .replace(':id', id);
    const stranger = await ask(second.url + path, method, `Key ${other.key}`, bodyOf(method));
    expect({ route, status: stranger.status }).toEqual({ route, status: 404 });
    expect(JSON.stringify(stranger.body)).not.toContain('lora-training');
  }
  const lists = await Promise.all([owner, other].map(({ key }) => ask(`${second.url}/v1/jobs`, 'GET', `Key ${key}`)));
  expect(lists.map(({ body }) => body.jobs.length)).toEqual([1, 0]);
});

describe('a limit', () => {
  it('of requests is shared by the replicas, and fills again', async () => {
    const { key } = await newKey({ requests_per_minute: 60 });
    const ways = Array.from({ length: 100 }, (_, index) => (index % 2 ? rig.api.url : second.url));
    const begunMs = performance.now();
    const replies = await Promise.all(ways.map((url) => ask(`${url}/v1/jobs?limit=1`, 'GET', `Key ${key}`)));
    const secondsTaken = (performance.now() - begunMs) / 1_000;
    const passed = replies.filter(({ status }) => status === 200).length;
    // One a second comes back while they are answered.
    expect(passed).toBeGreaterThanOrEqual(60);
    expect(passed).toBeLessThanOrEqual(Math.min(61 + secondsTaken, 99));
    const refused = replies.find(({ status }) => status === 429)!;
    expect(refused.body.error).toMatchObject({
      code: 'TOO_MANY_REQUESTS',
      message: expect.stringContaining('60 requests a minute'),
    });
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    let again = 429;
    while (again === 429) again = (await ask(`${second.url}/v1/jobs`, 'GET', `Key ${key}`)).status;
    expect(again).toBe(200);
  });

  it('answers fal’s clients in their form', async () => {
    const { key } = await newKey({ requests_per_minute: 1 });
    const status = `${second.url}/queue/studio/lora/requests/${randomUUID()}/status`;
    await ask(status, 'GET', `Key ${key}`);
    const refused = await ask(status, 'GET', `Key ${key}`);
    expect(refused).toMatchObject({ status: 429, body: { detail: expect.stringContaining('wait') } });
    expect(refused.headers.get('x-fal-retryable')).toBe('true');
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(50);
  });

  it('of queued jobs is kept to the job, whatever the replicas take in at once', async () => {
    const { key, id, client_id } = await newKey({ queued_jobs: 7 });
    const ways = Array.from({ length: 40 }, (_, index) => (index % 2 ? rig.api.url : second.url));
    const replies = await Promise.all(ways.map((url) => ask(`${url}/v1/jobs`, 'POST', `Key ${key}`, training())));
    expect(replies.filter(({ status }) => status === 202)).toHaveLength(7);
    const refused = replies.filter(({ status }) => status === 429);
    expect(refused).toHaveLength(33);
    expect(refused[0]!.body.error.message).toMatch(/^7 of your jobs wait/);
    expect(refused[0]!.headers.get('retry-after')).toBe('5');
    const count = 'SELECT count(*)::int AS jobs FROM studio.jobs WHERE client_id = $1';
    expect((await rig.db.query(count, [client_id]))[0].jobs).toBe(7);

    const first = replies.find(({ status }) => status === 202)!;
    await ask(`${second.url}/v1/jobs/${first.body.id}/cancel`, 'POST', `Key ${key}`);
    const submit = async () => (await ask(`${rig.api.url}/v1/jobs`, 'POST', `Key ${key}`, training())).status;
    expect([await submit(), await submit()]).toEqual([202, 429]);
    await admin('PATCH', `keys/${id}`, { queued_jobs: 8 });
    expect([await submit(), await submit()]).toEqual([202, 429]);
  });

  it('of queued jobs is counted anew by an insert that waited for another', async () => {
    const replicas = [1, 2, 3].map((name) =>
      createDataSource({ url: rig.env.POSTGRES_URL, name: `${name}`, poolSize: 2 }),
    );
    await Promise.all(replicas.map((replica) => replica.initialize()));
    const stores = replicas.map((replica) => new JobStore(replica, () => undefined));
    const job = {
      idempotencyKey: null,
      requestHash: '00',
      kind: 'lora-inference',
      engine: 'ref-sep-v1',
      routing: {},
      private: false,
      deadlineS: null,
      startDeadlineS: null,
      presentation: null,
      webhook: null,
    } as const;
    for (let round = 0; round < 5; round += 1) {
      const { client_id: clientId } = await newKey({ queued_jobs: 7 });
      const submits = Array.from({ length: 90 }, (_, index) =>
        stores[index % 3]!.submit({ ...job, id: uuidv7(), clientId, input: {} as JobInput, timeoutMs: 60_000 }).then(
          () => true,
          () => false,
        ),
      );
      expect((await Promise.all(submits)).filter(Boolean)).toHaveLength(7);
    }
    await Promise.all(replicas.map((replica) => replica.destroy()));
  });

  it('of queued jobs does not keep a repeated request from its job, and the strictest key counts', async () => {
    const { client_id } = await newKey();
    const strict = await newKey({ client_id, queued_jobs: 1 });
    const { key } = await newKey({ client_id, queued_jobs: null });
    const repeated = { 'idempotency-key': randomUUID() };
    const submit = (headers = {}) => ask(`${second.url}/v1/jobs`, 'POST', `Key ${key}`, training(), headers);
    const stored = await submit(repeated);
    expect((await submit()).status).toBe(429);
    expect((await submit(repeated)).body.id).toBe(stored.body.id);
    await admin('DELETE', `keys/${strict.id}`);
    expect((await submit()).status).toBe(202);
  });

  it('of requests is kept by each replica alone while Redis is away', async () => {
    const away = connectRedis('redis://127.0.0.1:1', 'away', log);
    const replicas = [new RequestRates(away, log), new RequestRates(away, log)];
    const took = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        replicas[index % 2]!.take('key', 4).then(
          () => true,
          () => false,
        ),
      ),
    );
    expect(took.filter(Boolean)).toHaveLength(8);
    away.disconnect();
  });
});
