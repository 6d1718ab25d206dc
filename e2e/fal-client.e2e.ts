/** Programs written with fal's own client, unmodified, against the live system: only the host differs, in each of three ways. */
import { ApiError, createFalClient, ValidationError, type FalClient, type QueueStatus } from '@fal-ai/client';
import { zipSync } from 'fflate';
import { execFile, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import sharp from 'sharp';
import { DEMO_POLICY } from '@studio/shared/domain/policy';
import { until } from '@studio/shared/testing/registry-ground';
import { freePort } from '@studio/launcher/servers/free-port';
import { doubtOf, WebhookReceiver } from '@studio/querier/webhooks/webhook-receiver.rig';
import type { Jwks } from '@studio/querier/webhooks/webhook-signer';
import { LiveSystem } from './live-system';

jest.setTimeout(120_000);

const TRAINING = 'studio/lora-fast-training';
const INFERENCE = 'studio/lora';
const ROOT = join(__dirname, '..');
const PHOTO = readFileSync(join(ROOT, 'photos/coffee.png'));
const HOSTS: Record<string, string> = { 'queue.fal.run': '/queue', 'fal.run': '/run', 'rest.fal.ai': '/rest' };

interface LoraFile {
  diffusers_lora_file: { url: string; file_size: number; content_type: string };
  config_file: { url: string };
}
interface Pictures {
  images: { url: string; width: number; height: number; content_type: string }[];
  seed: number;
  prompt: string;
  has_nsfw_concepts: boolean[];
  timings: { inference: number };
}

let system: LiveSystem;
let photograph: Blob;
let lora: string;

beforeAll(async () => {
  system = await LiveSystem.open(DEMO_POLICY, [
    // Two: what is taken back may go on for a while where it was begun.
    { name: 'ada', profile: 'honest', slots: { training: 2, inference: 2 } },
    { name: 'ben', profile: 'honest', slots: { training: 2, inference: 2 } },
    { name: 'reference', profile: 'honest', trusted: true, slots: { training: 1, inference: 1 } },
  ]);
  photograph = new Blob([await sharp(PHOTO).resize(64, 64).png().toBuffer()], { type: 'image/png' });
});
afterAll(() => system?.close());

const redirected: typeof fetch = (input, init) =>
  fetch(ours(input instanceof Request ? input.url : String(input)), init);

const ours = (url: string): string => {
  const { host, pathname, search } = new URL(url);
  return HOSTS[host] === undefined ? url : `${system.api.baseUrl}${HOSTS[host]}${pathname}${search}`;
};

/** Jobs whose webhooks were taken. */
const delivered = async (): Promise<string[]> => {
  const headers = { authorization: `Key ${system.api.key}` };
  const reply = await fetch(`${system.api.baseUrl}/v1/webhooks?state=delivered`, { headers });
  return ((await reply.json()) as { webhooks: { id: string }[] }).webhooks.map(({ id }) => id);
};

/** The three ways to point the client at another host. */
const REDIRECTIONS: Record<string, () => FalClient> = {
  'a proxy URL': () =>
    createFalClient({
      credentials: system.api.key,
      proxyUrl: { url: `${system.api.baseUrl}/fal/proxy`, when: 'always' },
    }),
  'a request middleware': () =>
    createFalClient({
      credentials: system.api.key,
      requestMiddleware: (request) => Promise.resolve({ ...request, url: ours(request.url) }),
    }),
  'its own fetch': () => createFalClient({ credentials: system.api.key, fetch: redirected }),
};
const [viaProxy, viaMiddleware, viaFetch] = Object.values(REDIRECTIONS) as [() => FalClient, () => FalClient, () => FalClient]; // prettier-ignore

describe("fal's client", () => {
  it.each(Object.entries(REDIRECTIONS))(
    'uploads a photograph, trains, and renders what it got, redirected by %s',
    async (_, client) => {
      const fal = client();
      const images_data_url = await fal.storage.upload(photograph);
      const trained = await fal.subscribe(TRAINING, { input: { images_data_url, steps: 20, seed: 7 } as never });
      const { diffusers_lora_file, config_file } = trained.data as unknown as LoraFile;
      lora = diffusers_lora_file.url;
      expect(trained.requestId).toMatch(/^[0-9a-f-]{36}$/);
      expect((await (await fetch(lora)).arrayBuffer()).byteLength).toBe(diffusers_lora_file.file_size);
      expect(await (await fetch(config_file.url)).json()).toMatchObject({ steps: 20, seed: 7 });
      const input = { prompt: 'a cup', loras: [{ path: lora }], image_size: { width: 48, height: 32 }, num_images: 2 };
      const { data } = await fal.subscribe(INFERENCE, { input: input as never });
      const pictures = data as unknown as Pictures;
      expect(pictures).toMatchObject({ prompt: 'a cup', has_nsfw_concepts: [false, false] });
      expect(pictures.timings.inference).toBeGreaterThan(0);
      for (const { url, width, height, content_type } of pictures.images) {
        const found = await sharp(Buffer.from(await (await fetch(url)).arrayBuffer())).metadata();
        expect([found.width, found.height, content_type]).toEqual([width, height, `image/${found.format}`]);
      }
    },
  );

  it('trains on the one photograph, however it is handed in', async () => {
    const fal = viaFetch();
    const bytes = Buffer.from(await photograph.arrayBuffer());
    const zip = zipSync({ 'images/cup.png': bytes, 'images/cup.txt': Buffer.from('a cup') });
    const elsewhere = createServer((_, reply) => void reply.setHeader('content-type', 'image/png').end(bytes));
    const port = await new Promise<number>((resolve) =>
      elsewhere.listen(0, '127.0.0.1', () => resolve((elsewhere.address() as AddressInfo).port)),
    );
    const forms = {
      'an uploaded zip': await fal.storage.upload(new Blob([Buffer.from(zip)], { type: 'application/zip' })),
      'a zip inside the request': `data:application/zip;base64,${Buffer.from(zip).toString('base64')}`,
      'a picture inside the request': `data:image/png;base64,${bytes.toString('base64')}`,
      'a URL elsewhere': `http://127.0.0.1:${port}/cup.png`,
      // As the client itself replaces a blob in the input.
      'a blob': photograph,
    };
    const loras = new Set<string>();
    for (const images_data_url of Object.values(forms)) {
      const { data } = await fal.subscribe(TRAINING, { input: { images_data_url, steps: 5, seed: 1 } as never });
      loras.add(new URL((data as unknown as LoraFile).diffusers_lora_file.url).pathname);
    }
    // The same photograph, the same LoRA.
    expect(loras.size).toBe(1);
    const gone = { images_data_url: `http://127.0.0.1:${port}/`, steps: 5 };
    elsewhere.close();
    elsewhere.closeAllConnections();
    const error: unknown = await fal.run(TRAINING, { input: gone as never }).catch((caught: unknown) => caught);
    expect((error as ValidationError).fieldErrors[0]).toMatchObject({
      loc: ['body', 'images_data_url'],
      msg: expect.stringMatching(/cannot be fetched .* upload it/) as string,
    });
  });

  it.each(['polling', 'streaming'] as const)('follows a request by %s, with its logs in full', async (mode) => {
    const fal = viaFetch();
    const seen: QueueStatus[] = [];
    const input = { prompt: 'ein schöner Kaffee ☕', loras: [{ path: lora, scale: 0.5 }], image_size: 'square' };
    const { requestId, data } = await fal.subscribe(INFERENCE, {
      input: input as never,
      logs: true,
      mode,
      pollInterval: 50,
      onQueueUpdate: (status: QueueStatus) => void seen.push(structuredClone(status)),
    } as never);
    const last = seen.at(-1) as QueueStatus & { logs: { message: string }[] };
    expect(last).toMatchObject({ status: 'COMPLETED', request_id: requestId });
    const messages = last.logs.map(({ message }) => message);
    expect(messages[0]).toMatch(/^queued: 1 × 512×512, seed \d+: ein schöner Kaffee ☕$/);
    expect(messages[1]).toMatch(/^attempt 1: sent to miner 5/);
    expect(new Set(messages).size).toBe(messages.length);
    expect((data as unknown as Pictures).prompt).toBe('ein schöner Kaffee ☕');
  });

  it('sees how far a training is, in its status and in its logs', async () => {
    const fal = viaFetch();
    const images_data_url = await fal.storage.upload(photograph);
    const seen: { progress?: { step: number; total: number } }[] = [];
    const { requestId } = await fal.subscribe(TRAINING, {
      input: { images_data_url, steps: 1_500 } as never,
      logs: true,
      pollInterval: 100,
      onQueueUpdate: (status: QueueStatus) => void seen.push(status as never),
    } as never);
    const steps = seen.flatMap(({ progress }) => (progress ? [progress.step] : []));
    expect(steps.length).toBeGreaterThan(1);
    expect(steps).toEqual([...steps].sort((a, b) => a - b));
    const { logs } = (await fal.queue.status(TRAINING, { requestId, logs: true })) as QueueStatus & { logs: { message: string }[] }; // prettier-ignore
    expect(logs.map(({ message }) => message)).toContainEqual(expect.stringMatching(/^attempt 1: step \d+ of 1500$/));
  });

  it('submits, asks for the status, and gets the result, each by itself', async () => {
    const fal = viaMiddleware();
    const input = { prompt: 'a cup', loras: [{ path: lora }], image_size: { width: 32, height: 32 } };
    const queued = await fal.queue.submit(INFERENCE, { input: input as never });
    expect(queued).toMatchObject({ status: 'IN_QUEUE', queue_position: expect.any(Number) as number });
    for (const url of [queued.response_url, queued.status_url, queued.cancel_url])
      expect(url).toContain(`${system.api.baseUrl}/queue/${INFERENCE}/requests/${queued.request_id}`);
    await fal.queue.subscribeToStatus(INFERENCE, { requestId: queued.request_id, pollInterval: 50 });
    const { data, requestId } = await fal.queue.result(INFERENCE, { requestId: queued.request_id });
    expect(requestId).toBe(queued.request_id);
    expect((data as unknown as Pictures).images).toHaveLength(1);
  });

  it('runs and streams without the queue', async () => {
    const fal = viaProxy();
    const input = { prompt: 'a cup', loras: [{ path: lora }], image_size: { width: 32, height: 32 } };
    const { data } = await fal.run(INFERENCE, { input: input as never });
    expect((data as unknown as Pictures).images).toHaveLength(1);
    const stream = await viaFetch().stream(INFERENCE, { input: input as never });
    const events: Pictures[] = [];
    for await (const event of stream) events.push(event);
    expect(events.map(({ images }) => images.length)).toEqual([1]);
    expect(((await stream.done()) as unknown as Pictures).prompt).toBe('a cup');
  });

  it('takes a request back, and is told so as long as it asks', async () => {
    const fal = viaMiddleware();
    const images_data_url = `data:image/png;base64,${Buffer.from(await photograph.arrayBuffer()).toString('base64')}`;
    const { request_id: requestId } = await fal.queue.submit(TRAINING, {
      input: { images_data_url, steps: 400 } as never,
    });
    await fal.queue.cancel(TRAINING, { requestId });
    expect(await fal.queue.status(TRAINING, { requestId })).toMatchObject({
      status: 'COMPLETED',
      error_type: 'client_cancelled',
    });
    await expect(fal.queue.result(TRAINING, { requestId })).rejects.toMatchObject({ status: 499 });
    await expect(fal.queue.cancel(TRAINING, { requestId })).rejects.toMatchObject({ status: 400 });
  });

  it('gives one request for one Idempotency-Key, and none to another body', async () => {
    const fal = viaFetch();
    const images_data_url = await fal.storage.upload(photograph);
    const submit = async (steps: number): Promise<string> => {
      const headers = { 'Idempotency-Key': 'the same' };
      return (await fal.queue.submit(TRAINING, { input: { images_data_url, steps } as never, headers })).request_id;
    };
    const first = await submit(3);
    // Links are signed by the second: a repetition later is not the same to the letter inside.
    await pause(1_100);
    expect(await submit(3)).toBe(first);
    await expect(submit(4)).rejects.toMatchObject({ status: 422 });
  });

  it('takes a run back when the client hangs up', async () => {
    const images_data_url = `data:image/png;base64,${Buffer.from(await photograph.arrayBuffer()).toString('base64')}`;
    const hanging = new AbortController();
    const input = { images_data_url, steps: 1_999 };
    const run = viaFetch().run(TRAINING, { input: input as never, abortSignal: hanging.signal });
    const state = async (): Promise<string | undefined> =>
      (await system.owner.query<{ state: string }>(`SELECT state FROM studio.jobs WHERE input->>'steps' = '1999'`))
        .rows[0]?.state;
    await until(async () => (await state()) !== undefined);
    hanging.abort();
    await expect(run).rejects.toThrow();
    await until(async () => (await state()) === 'cancelled');
  });

  it('works as docs/clients.md says it does', async () => {
    const page = readFileSync(join(ROOT, 'docs/clients.md'), 'utf8');
    const program = /```js\n([\s\S]*?)```/.exec(page)![1]!;
    mkdirSync(join(ROOT, '.cache'), { recursive: true });
    const folder = mkdtempSync(join(ROOT, '.cache/clients-page-'));
    try {
      writeFileSync(join(folder, 'page.mjs'), program);
      writeFileSync(join(folder, 'photo.png'), Buffer.from(await photograph.arrayBuffer()));
      const env = {
        ...process.env,
        STUDIO_URL: system.api.baseUrl,
        FAL_KEY: system.api.key,
        PHOTO: join(folder, 'photo.png'),
      };
      const { stdout, stderr } = await promisify(execFile)(process.execPath, [join(folder, 'page.mjs')], { env });
      expect(stderr.trim().split('\n').at(-1)).toBe('COMPLETED');
      const image = await sharp(Buffer.from(await (await fetch(stdout.trim())).arrayBuffer())).metadata();
      expect([image.width, image.height]).toEqual([64, 64]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it.each(Object.entries(REDIRECTIONS))('has its webhook called, redirected by %s', async (_, client) => {
    const receiver = await WebhookReceiver.open();
    const keys = (await (await fetch(`${system.api.baseUrl}/.well-known/jwks.json`)).json()) as Jwks;
    const fal = client();
    const input = { prompt: 'ein Kaffee ☕', loras: [{ path: lora }], image_size: { width: 32, height: 32 } };
    const { request_id: requestId } = await fal.queue.submit(INFERENCE, {
      input: input as never,
      webhookUrl: receiver.url,
    });
    const [received] = await receiver.until(1);
    expect(received!.body).toMatchObject({ request_id: requestId, status: 'OK', payload: { prompt: 'ein Kaffee ☕' } });
    expect(doubtOf(received!, keys, Date.now() / 1_000)).toBeUndefined();
    const { data } = await fal.queue.result(INFERENCE, { requestId });
    const paths = (output: unknown): string[] => (output as Pictures).images.map(({ url }) => new URL(url).pathname);
    expect(paths(received!.body.payload)).toEqual(paths(data));
    await receiver.close();
  });

  it('is received, and a forgery is not, as docs/clients.md says', async () => {
    const program = /```js\n((?:(?!```)[\s\S])*createServer[\s\S]*?)```/.exec(
      readFileSync(join(ROOT, 'docs/clients.md'), 'utf8'),
    )![1]!;
    const port = await freePort();
    const env = { ...process.env, STUDIO_URL: system.api.baseUrl, PORT: String(port) };
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], { env });
    try {
      const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
      expect((await lines.next()).value).toBe('listening');
      const webhookUrl = `http://127.0.0.1:${port}/`;
      const headers = {
        'x-fal-webhook-timestamp': String(Math.floor(Date.now() / 1_000)),
        'x-fal-webhook-signature': '00'.repeat(64),
      };
      const forged = { method: 'POST', body: '{"request_id":"x","status":"OK"}', headers };
      expect((await fetch(webhookUrl, forged)).status).toBe(401);
      const input = { prompt: 'a cup', loras: [{ path: lora }], image_size: { width: 32, height: 32 } };
      const { request_id: id } = await viaFetch().queue.submit(INFERENCE, { input: input as never, webhookUrl });
      expect((await lines.next()).value).toMatch(new RegExp(`^${id} OK .*"prompt":"a cup"`));
      await until(async () => (await delivered()).includes(id));
    } finally {
      child.kill();
    }
  });

  it('is told which field is wrong by the name that it knows', async () => {
    const fal = viaFetch();
    const wrong = { loras: [], num_images: 9 };
    const error: unknown = await fal.queue
      .submit(INFERENCE, { input: wrong as never })
      .catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(ValidationError);
    expect((error as ValidationError).fieldErrors.map(({ loc, type }) => `${loc.join('.')} ${type}`).sort()).toEqual([
      'body.loras value_error',
      'body.num_images value_error',
      'body.prompt missing',
    ]);
    const foreign = { prompt: 'x', loras: [{ path: 'https://example.com/lora.safetensors' }] };
    const refused: unknown = await fal.run(INFERENCE, { input: foreign as never }).catch((caught: unknown) => caught);
    expect((refused as ValidationError).fieldErrors[0]?.loc).toEqual(['body', 'loras', 0, 'path']);
  });

  it("cannot see another client's requests and files, and is refused without a key", async () => {
    const fal = viaFetch();
    const own = await fal.storage.upload(photograph);
    const { request_id: requestId } = await fal.queue.submit(TRAINING, {
      input: { images_data_url: own, steps: 1 } as never,
    });
    const { key } = await system.newClient('another');
    const other = createFalClient({ credentials: key, fetch: redirected });
    for (const asked of [
      other.queue.status(TRAINING, { requestId }),
      other.queue.result(TRAINING, { requestId }),
      other.queue.cancel(TRAINING, { requestId }),
      fal.queue.status(INFERENCE, { requestId }),
    ])
      await expect(asked).rejects.toMatchObject({ status: 404 });
    await expect(other.queue.submit(TRAINING, { input: { images_data_url: own } as never })).rejects.toBeInstanceOf(
      ApiError,
    );
    const nobody = createFalClient({
      credentials: 'studio_wrong',
      fetch: redirected,
    });
    await expect(nobody.queue.status(TRAINING, { requestId })).rejects.toMatchObject({ status: 401 });
  });
});
