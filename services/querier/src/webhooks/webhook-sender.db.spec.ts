import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo, LookupFunction } from 'node:net';
import { createDataSource } from '@studio/shared/database/data-source';
import { createEgress, type Egress, type EgressOptions } from '@studio/shared/platform/egress';
import { createDatabase, type TestDatabase } from '@studio/shared/testing/postgres';
import { until } from '@studio/shared/testing/registry-ground';
import type { DataSource } from 'typeorm';
import { JobStore } from '../job.store';
import { StudioError } from '@studio/shared/domain/errors';
import { falFailure } from './webhook-message';
import { doubtOf, WebhookReceiver } from './webhook-receiver.rig';
import { WAITS_S, WebhookSender, type WebhookParts } from './webhook-sender';
import { WebhookSigner } from './webhook-signer';
import { LEASE_S, WebhookStore, type StoredWebhook } from './webhook.store';

const START_S = 1_900_000_000;
const CLIENT = randomUUID();
const signer = new WebhookSigner({ secret: '11'.repeat(32) });
/** What happens to a job is the api's matter (webhooks.db.spec.ts): all of these were taken back. */
const routeOf = (output: () => never) => ({ output, failure: falFailure });
const cancelled = routeOf(() => {
  throw new StudioError('JOB_CANCELLED', 'the job was cancelled');
});

let database: TestDatabase;
let owner: DataSource;
let db: DataSource;
let jobs: JobStore;
let store: WebhookStore;
let receiver: WebhookReceiver;
let senders: WebhookSender[] = [];
let egresses: Egress[] = [];
let nowS = START_S;
let counted: string[] = [];
let warned: object[] = [];

beforeAll(async () => {
  database = await createDatabase();
  owner = await createDataSource({ url: database.urls.owner, name: 'owner', poolSize: 1 }).initialize();
  db = await createDataSource({ url: database.urls.querier, name: 'test', poolSize: 4 }).initialize();
  [jobs, store] = [new JobStore(db, () => undefined), new WebhookStore(db)];
});
afterAll(async () => {
  await Promise.all([owner?.destroy(), db?.destroy()]);
  await database?.drop();
});
beforeEach(async () => {
  [counted, warned] = [[], []];
  receiver = await WebhookReceiver.open();
  await setClock(START_S);
});
afterEach(async () => {
  await receiver.close();
  await Promise.all(senders.map((sender) => sender.stop()));
  await Promise.all(egresses.map((egress) => egress.close()));
  [senders, egresses] = [[], []];
  await owner.query('TRUNCATE studio.webhooks');
});

/** Stands still between two calls. */
async function setClock(seconds: number): Promise<void> {
  nowS = seconds;
  await owner.query(
    `CREATE OR REPLACE FUNCTION studio.now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE
       AS 'SELECT to_timestamp(${seconds})'`,
  );
}

function start(parts: Partial<WebhookParts> = {}, options: Partial<EgressOptions> = {}): WebhookSender {
  const egress = createEgress({ allowPrivate: true, maxConnectionsPerOrigin: 64, ...options });
  const log = { warn: (record: object) => void warned.push(record), error: fail } as unknown as WebhookParts['log'];
  const count = (outcome: string): void => void counted.push(outcome);
  const sender = new WebhookSender({
    store,
    jobs,
    routes: { fal: cancelled, v1: cancelled },
    signer,
    egress,
    count,
    log,
    nowMs,
    ...parts,
  });
  sender.start();
  senders.push(sender);
  egresses.push(egress);
  return sender;
}

const nowMs = (): number => nowS * 1_000;
const fail = (problem: unknown): void => {
  throw new Error(JSON.stringify(problem));
};

/** A job that wants its end told, in the queue. */
async function addJob({ url = receiver.url, clientId = CLIENT } = {}): Promise<string> {
  const lora = { sha256: 'a'.repeat(64), bytes: 1, contentType: 'x', rank: 4, tensorHash: 'b'.repeat(64) };
  const input = { lora, prompt: 'a cat', width: 64, height: 64, seed: 1, loraScale: 1, warp: 0, numImages: 1 };
  const { id } = await jobs.submit({
    ...{
      id: randomUUID(),
      clientId,
      idempotencyKey: null,
      requestHash: '',
      kind: 'lora-inference',
      presentation: null,
      deadlineS: null,
      startDeadlineS: null,
    },
    ...{ engine: 'ref-sep-v1', input, routing: {}, private: false, timeoutMs: 1_000, webhook: { url, form: 'fal' } },
  });
  return id;
}

/** … and that has ended. */
async function addEnded(options: Parameters<typeof addJob>[0] = {}): Promise<string> {
  const id = await addJob(options);
  await jobs.cancel(options.clientId ?? CLIENT, id);
  return id;
}

const find = async (id: string): Promise<StoredWebhook> => (await store.find(CLIENT, id))!;
const untilTried = (id: string, attempts: number): Promise<unknown> =>
  until(async () => (await find(id)).attempts === attempts);

describe('a webhook', () => {
  it('is due from the transaction on that ends its job, and not before', async () => {
    const id = await addJob();
    expect(await find(id)).toMatchObject({ state: 'waiting', nextAt: null, attempts: 0 });
    const runner = db.createQueryRunner();
    const end = `UPDATE studio.jobs SET state = 'cancelled', finished_at = studio.now() WHERE id = $1`;
    await runner.startTransaction();
    await runner.query(end, [id]);
    expect(await find(id)).toMatchObject({ state: 'waiting' });
    await runner.rollbackTransaction();
    expect(await find(id)).toMatchObject({ state: 'waiting' });
    await runner.query(end, [id]);
    await runner.release();
    expect(await find(id)).toMatchObject({ state: 'pending', nextAt: new Date(START_S * 1_000) });
    expect(await store.due([])).toEqual([{ jobId: id, clientId: CLIENT, target: `http://127.0.0.1:${receiver.port}` }]);
  });

  it('is sent once, signed, and with the id of its job', async () => {
    const id = await addEnded();
    start();
    const [received] = await receiver.until(1);
    await untilTried(id, 1);
    expect(received).toMatchObject({
      path: '/told?secret=1',
      headers: {
        'content-type': 'application/json',
        'x-studio-delivery-id': id,
        'x-fal-webhook-request-id': id,
        'x-fal-webhook-user-id': CLIENT,
        'x-fal-webhook-timestamp': String(START_S),
      },
      body: {
        request_id: id,
        gateway_request_id: id,
        status: 'ERROR',
        error: 'the job was cancelled',
        payload: { detail: 'the job was cancelled', error_type: 'client_cancelled' },
      },
    });
    expect(doubtOf(received!, signer.jwks, nowS)).toBeUndefined();
    expect(await find(id)).toMatchObject({ state: 'delivered', lastStatus: 200, lastError: null, nextAt: null });
    expect(await store.due([])).toEqual([]);
    expect(counted).toEqual(['ok']);
  });

  it('is tried by the whole schedule, then a dead letter, and again from the beginning when it is replayed', async () => {
    const id = await addEnded();
    receiver.answer = () => 503;
    const sender = start();
    await receiver.until(1);
    for (const [failed, waitS] of [5, 300, 1_800, 7_200, 18_000, 36_000].entries()) {
      await untilTried(id, failed + 1);
      expect(await find(id)).toMatchObject({
        state: 'pending',
        lastStatus: 503,
        lastError: 'the receiver answers 503',
      });
      const triedAt = nowS;
      await setClock(triedAt + waitS - 1);
      expect(await store.due([])).toEqual([]);
      await setClock(triedAt + waitS);
      sender.hint();
      await receiver.until(failed + 2);
    }
    await untilTried(id, WAITS_S.length + 1);
    expect(await find(id)).toMatchObject({ state: 'dead', nextAt: null, endedAt: new Date(nowMs()) });
    expect(warned).toEqual([{ job: id, problem: 'the receiver answers 503' }]);
    expect(counted).toEqual([...WAITS_S.map(() => 'failed'), 'dead']);
    // The same id all along; the time and with it the signature are each try's own.
    const { received } = receiver;
    expect(new Set(received.map(({ headers }) => headers['x-studio-delivery-id']))).toEqual(new Set([id]));
    expect(new Set(received.map(({ headers }) => headers['x-fal-webhook-signature'])).size).toBe(7);
    receiver.answer = (_, nth) => (nth === 8 ? 500 : 204);
    await store.replay(CLIENT, id);
    sender.hint();
    await untilTried(id, 8);
    expect(await find(id)).toMatchObject({ state: 'pending', nextAt: new Date(nowMs() + 5_000) });
    await setClock(nowS + 5);
    sender.hint();
    await untilTried(id, 9);
    expect(await find(id)).toMatchObject({ state: 'delivered', lastStatus: 204, lastError: null });
  });

  it('is not taken to where a receiver redirects', async () => {
    const id = await addEnded();
    receiver.answer = () => ({ status: 307, location: receiver.url });
    start();
    await untilTried(id, 1);
    expect(receiver.received).toHaveLength(1);
    expect(await find(id)).toMatchObject({
      state: 'pending',
      lastStatus: 307,
      lastError: 'the receiver answers 307, and redirects are not followed',
    });
  });

  it('tells the end of a job whose output cannot be put into it', async () => {
    const id = await addEnded();
    const broken = routeOf(() => JSON.parse('not JSON') as never);
    start({ routes: { fal: broken, v1: broken } });
    const [received] = await receiver.until(1);
    expect(received!.body).toEqual({
      request_id: id,
      gateway_request_id: id,
      status: 'OK',
      payload: null,
      payload_error: expect.stringMatching(/ask for the result/) as string,
    });
    await untilTried(id, 1);
  });
});

describe('a webhook to a private address', () => {
  const names: Record<string, string> = { 'inside.example': '127.0.0.1', 'mapped.example': '::ffff:127.0.0.1' };
  const lookup = ((name, _, found) => {
    const address = names[name] ?? '169.254.169.254';
    found(null, [{ address, family: address.includes(':') ? 6 : 4 }]);
  }) as LookupFunction;

  it.each(['127.0.0.1', 'inside.example', 'mapped.example', 'metadata.example'])(
    'is refused when it is sent: %s',
    async (host) => {
      const id = await addEnded({ url: `http://${host}:${receiver.port}/` });
      start({}, { allowPrivate: false, lookup });
      await untilTried(id, 1);
      expect(receiver.received).toEqual([]);
      expect(await find(id)).toMatchObject({ state: 'pending', lastStatus: null });
      expect((await find(id)).lastError).toMatch(/address; give a public address/);
    },
  );

  it('reaches the same receiver by the same name where private addresses are allowed', async () => {
    const id = await addEnded({ url: `http://inside.example:${receiver.port}/` });
    start({}, { lookup });
    await untilTried(id, 1);
    expect(await find(id)).toMatchObject({ state: 'delivered' });
  });
});

describe('several senders', () => {
  it('deliver each webhook once', async () => {
    const ids = await Promise.all(Array.from({ length: 60 }, () => addEnded()));
    for (let n = 0; n < 3; n += 1) start({ store: new WebhookStore(db) });
    await until(async () => (await store.list(CLIENT, { state: 'delivered', limit: 100, before: null })).length === 60);
    expect(receiver.received.map(({ body }) => body.request_id).sort()).toEqual(ids.sort());
  });

  it('leave a delivery to another when one is killed, and hear no more of it from the first', async () => {
    const id = await addEnded();
    const [abandoned] = await store.claim([id]);
    const sender = start();
    await setClock(nowS + LEASE_S - 1);
    expect(await store.due([])).toEqual([]);
    await setClock(nowS + 1);
    sender.hint();
    await untilTried(id, 1);
    expect(receiver.received).toHaveLength(1);
    await store.end(abandoned!, { status: 500, problem: 'late', waitS: 5 });
    expect(await find(id)).toMatchObject({ state: 'delivered', attempts: 1, lastStatus: 200 });
  });

  it('take over at once what one gave back when it was told to end', async () => {
    const id = await addEnded();
    receiver.answer = (_, nth) => (nth === 1 ? 'hang' : 200);
    const leaving = start();
    await receiver.until(1);
    await leaving.stop();
    expect(await find(id)).toMatchObject({ state: 'pending', attempts: 0 });
    start();
    await untilTried(id, 1);
    expect(await find(id)).toMatchObject({ state: 'delivered' });
  });
});

describe('a receiver that does not answer', () => {
  it("holds up neither its client's other receivers nor other clients", async () => {
    const slow = createServer(() => undefined);
    await new Promise<void>((listening) => slow.listen(0, '127.0.0.1', listening));
    const url = `http://127.0.0.1:${(slow.address() as AddressInfo).port}/`;
    // More than are looked at of one client, and all of them due before the others.
    await Promise.all(Array.from({ length: 150 }, () => addEnded({ url })));
    await setClock(nowS + 1);
    start();
    const [own, others] = [await addEnded(), await addEnded({ clientId: randomUUID() })];
    const told = (await receiver.until(2)).map(({ body }) => body.request_id);
    expect(told.sort()).toEqual([own, others].sort());
    slow.closeAllConnections();
    await Promise.all(senders.splice(0).map((sender) => sender.stop()));
    slow.close();
  });
});
