import { randomUUID } from 'node:crypto';
import { someAdapter } from '@studio/shared/testing/some-adapter';
import { until } from '@studio/shared/testing/registry-ground';
import type { StubMiner } from '@studio/shared/testing/stub-miner';
import { ClientKeyStore } from '../client-key.store';
import { WorkerRig, type Json } from '../worker.rig';
import { doubtOf, WebhookReceiver, type Received } from './webhook-receiver.rig';
import type { Jwks } from './webhook-signer';

jest.setTimeout(60_000);

const APP = '/queue/studio/lora';

let rig: WorkerRig;
let receiver: WebhookReceiver;
let loraUrl: string;

beforeAll(async () => {
  rig = await WorkerRig.open();
  const { body } = await call('POST', '/v1/artifacts', someAdapter(4, 64));
  loraUrl = body.url;
});
afterAll(() => rig?.close());
beforeEach(async () => void (receiver = await WebhookReceiver.open()));
afterEach(async () => {
  await rig.clear();
  await receiver.close();
});

async function call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
  const isFile = Buffer.isBuffer(body);
  const reply = await fetch(path.replace('http://studio.test', '').replace(/^\//, `${rig.api.url}/`), {
    method,
    headers: {
      ...rig.headers,
      'content-type': isFile ? 'application/octet-stream' : 'application/json',
      ...headers,
    },
    body: isFile ? new Uint8Array(body) : (JSON.stringify(body) ?? null),
  });
  return { status: reply.status, headers: reply.headers, body: JSON.parse((await reply.text()) || 'null') };
}

const falInput = () => ({ prompt: 'a cup ☕', loras: [{ path: loraUrl }], image_size: { width: 64, height: 64 } });
const v1Body = (webhook_url?: unknown) => ({
  ...{ kind: 'lora-inference', engine: 'ref-sep-v1', input: { lora_url: loraUrl, prompt: 'a cup' } },
  ...(webhook_url === undefined ? {} : { webhook_url }),
});
const told = (url: unknown): string => `${APP}?fal_webhook=${encodeURIComponent(String(url))}`;

/** Through fal's door. */
async function submit(): Promise<{ id: string; resultUrl: string }> {
  const { status, body } = await call('POST', told(receiver.url), falInput());
  expect(status).toBe(200);
  return { id: body.request_id, resultUrl: body.response_url };
}

const jwks = async (): Promise<Jwks> => (await (await fetch(`${rig.api.url}/.well-known/jwks.json`)).json()) as Jwks;

/** Links are signed anew each time, to the second. */
const unsigned = (value: unknown): unknown => JSON.parse(JSON.stringify(value).replace(/\?expires=[^"]*/g, ''));

async function expectSame(received: Received, resultUrl: string): Promise<void> {
  expect(doubtOf(received, await jwks(), Date.now() / 1_000)).toBeUndefined();
  expect(received.headers['x-fal-webhook-user-id']).toBe(rig.client.clientId);
  const { body } = await call('GET', resultUrl);
  expect(unsigned(received.body.payload)).toEqual(unsigned(body));
}

describe("a webhook of a job from fal's door", () => {
  it('brings what the result route answers, with links that work', async () => {
    await rig.useMiners(1);
    await rig.startWorker();
    const { id, resultUrl } = await submit();
    const [received] = await receiver.until(1);
    expect(received!.body).toMatchObject({ request_id: id, gateway_request_id: id, status: 'OK' });
    expect(received!.body).not.toHaveProperty('error');
    await expectSame(received!, resultUrl);
    const { images, prompt } = received!.body.payload as Json;
    expect(prompt).toBe('a cup ☕');
    expect((await fetch(images[0].url.replace('http://studio.test', rig.api.url))).status).toBe(200);
  });

  it.each<[string, StubMiner['answer'], (id: string) => Promise<unknown>, string]>([
    ['failed', () => ({ status: 500 }), () => Promise.resolve(), 'runner_server_error'],
    ['was taken back', () => 'hang', (id) => call('PUT', `${APP}/requests/${id}/cancel`), 'client_cancelled'],
    [
      'expired',
      () => 'hang',
      (id) => rig.db.query('UPDATE studio.jobs SET deadline_at = studio.now() WHERE id = $1', [id]),
      'request_timeout',
    ],
  ])('tells of one that %s as the result route does', async (_, answer, end, type) => {
    await rig.useMiners(1, answer);
    await rig.startWorker();
    const { id, resultUrl } = await submit();
    await end(id);
    const [received] = await receiver.until(1);
    const { payload, ...rest } = received!.body;
    expect(rest).toEqual({
      request_id: id,
      gateway_request_id: id,
      status: 'ERROR',
      error: (payload as { detail: string }).detail,
    });
    expect(payload).toMatchObject({ error_type: type });
    await expectSame(received!, resultUrl);
  });
});

describe('a webhook of a job from our own door', () => {
  it('brings what our own result route answers', async () => {
    await rig.useMiners(1);
    await rig.startWorker();
    const { status, body } = await call('POST', '/v1/jobs', v1Body(receiver.url));
    expect(status).toBe(202);
    const [received] = await receiver.until(1);
    expect(received!.body).toMatchObject({ request_id: body.id, status: 'OK' });
    await expectSame(received!, body.urls.result);
    const failing = await call('POST', '/v1/jobs', v1Body(receiver.url));
    await call('POST', `/v1/jobs/${failing.body.id}/cancel`);
    const [, second] = await receiver.until(2);
    expect(second!.body).toMatchObject({ status: 'ERROR', payload: { error: { code: 'JOB_CANCELLED' } } });
    await expectSame(second!, failing.body.urls.result);
  });
});

describe('a webhook that cannot be meant', () => {
  const bad: [string, unknown, RegExp][] = [
    ['no URL', 'tell me', /absolute http or https/],
    ['nothing', '', /absolute http or https/],
    ['another scheme', 'ftp://example.com/', /absolute http or https/],
    ['credentials', 'https://me:secret@example.com/', /credentials/],
    ['a port of another service', 'http://example.com:22/', /port 22 is not allowed/],
    ['the metadata service', 'http://169.254.169.254/latest', /not a global unicast/],
    ['the metadata service, in disguise', 'http://0xa9fea9fe/', /not a global unicast/],
    ['a URL without end', `https://example.com/${'a'.repeat(2_048)}`, /2048/],
  ];

  it.each(bad)('is refused with the job at our own door: %s', async (_, url, why) => {
    await rig.useMiners(1);
    const { status, body } = await call('POST', '/v1/jobs', v1Body(url));
    expect({ status, error: body.error }).toMatchObject({ status: 422, error: { code: 'INVALID_INPUT' } });
    expect(body.error.fields).toEqual([{ path: 'webhook_url', message: expect.stringMatching(why) }]);
  });

  // The same check: that its answer is in fal's words is what counts.
  it.each(bad.slice(-3))("is refused with the job at fal's: %s", async (_, url, why) => {
    await rig.useMiners(1);
    const { status, body } = await call('POST', told(url), falInput());
    expect(status).toBe(422);
    expect(body.detail).toMatchObject([{ loc: ['query', 'fal_webhook'], msg: expect.stringMatching(why) }]);
  });

  it('is refused when there are two of them, or it is no text', async () => {
    await rig.useMiners(1);
    expect(await call('POST', `${told(receiver.url)}&fal_webhook=x`, falInput())).toMatchObject({
      status: 422,
    });
    expect(await call('POST', '/v1/jobs', v1Body(7))).toMatchObject({ status: 422 });
  });
});

describe('an Idempotency-Key', () => {
  it('belongs to a body and its webhook', async () => {
    await rig.useMiners(1);
    const headers = { 'idempotency-key': randomUUID() };
    const first = await call('POST', told(receiver.url), falInput(), headers);
    const again = await call('POST', told(receiver.url), falInput(), headers);
    expect(again.body.request_id).toBe(first.body.request_id);
    expect(await call('POST', told(`${receiver.url}&other`), falInput(), headers)).toMatchObject({ status: 422 });
    expect(await call('POST', APP, falInput(), headers)).toMatchObject({ status: 422 });
  });
});

describe('the list of webhooks', () => {
  it("shows a client its own, and lets it replay them, and nobody else's", async () => {
    await rig.useMiners(1, () => 'hang');
    receiver.answer = () => 500;
    const { id } = await submit();
    const list = async (query = '', headers = {}): Promise<Json[]> =>
      (await call('GET', `/v1/webhooks${query}`, undefined, headers)).body.webhooks;
    const replay = (which: string, headers = {}) => call('POST', `/v1/webhooks/${which}/replay`, undefined, headers);
    expect((await list('?limit=1'))[0]).toMatchObject({ id, state: 'waiting', attempts: 0, next_attempt_at: null });
    expect(await replay(id)).toMatchObject({ status: 409, body: { error: { code: 'NOT_FINISHED' } } });
    await call('PUT', `${APP}/requests/${id}/cancel`);
    const tried = await until(async () =>
      (await list('?state=pending')).find((each) => each.id === id && each.attempts === 1),
    );
    expect(tried).toMatchObject({ id, url: receiver.url, last_status: 500, last_error: 'the receiver answers 500' });
    expect(Date.parse(tried.next_attempt_at) - Date.parse(tried.last_attempt_at)).toBe(5_000);
    const { key } = await new ClientKeyStore(rig.db).create('other');
    const other = { authorization: `Key ${key}` };
    expect(await list('', other)).toEqual([]);
    for (const refused of [await replay(id, other), await replay(randomUUID()), await replay('not-an-id')])
      expect(refused).toMatchObject({ status: 404, body: { error: { code: 'NOT_FOUND' } } });
    receiver.answer = () => 200;
    expect(await replay(id)).toMatchObject({ status: 202, body: { id, state: 'pending' } });
    await receiver.until(2);
    const done = await until(async () => (await list('?state=delivered')).find((each) => each.id === id));
    expect(done).toMatchObject({ attempts: 2, last_status: 200, last_error: null, next_attempt_at: null });
    expect(done.ended_at).toBe(done.last_attempt_at);
    expect(await list(`?limit=1&before=${id}`)).not.toContainEqual(expect.objectContaining({ id }));
    expect(await call('GET', '/v1/webhooks?state=lost')).toMatchObject({ status: 422 });
  });
});

describe('around webhooks', () => {
  it('the keys are public, for receivers at any time', async () => {
    const { keys } = await jwks();
    expect(keys).toMatchObject([{ kty: 'OKP', crv: 'Ed25519' }]);
    const ours = await fetch(`${rig.api.url}/rest/.well-known/jwks.json`);
    expect([ours.status, ours.headers.get('cache-control')]).toEqual([200, 'public, max-age=3600']);
    expect(await ours.json()).toEqual({ keys });
  });

  it('the metrics tell what became of them, and what waits', async () => {
    await rig.useMiners(1);
    receiver.answer = () => 500;
    const text = async (): Promise<string> => (await fetch(`${rig.api.url}/metrics`)).text();
    const value = (metrics: string, name: string): number =>
      Number(
        metrics
          .split('\n')
          .find((line) => line.startsWith(name))
          ?.split(' ')
          .at(-1),
      );
    const failed = value(await text(), 'querier_webhook_tries_total{outcome="failed"');
    const { id } = await submit();
    await call('PUT', `${APP}/requests/${id}/cancel`);
    const after = await until(async () => {
      const metrics = await text();
      return value(metrics, 'querier_webhook_tries_total{outcome="failed"') > failed && metrics;
    });
    expect(value(after, 'querier_webhooks_pending')).toBeGreaterThan(0);
    expect(value(after, 'querier_webhooks_oldest_pending_seconds')).toBeGreaterThan(0);
    expect(value(after, 'querier_webhooks_overdue_seconds')).toBe(0);
    expect(value(after, 'querier_webhook_tries_total{outcome="dead"')).toBe(0);
  });
});
