import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent, type IncomingMessage, type Server, type ServerResponse, createServer, request as ask } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hotkeyFromSeed } from '@studio/shared/protocol/hotkey';
import { readSafetensors } from '@studio/shared/protocol/safetensors';
import { type RequestVerdict, signRequest, verifyReply, verifyRequest } from '@studio/shared/protocol/signatures';
import pino from 'pino';
import sharp from 'sharp';
import { type FormData, Response, request } from 'undici';
import { EnvError, minerEnv } from './env';
import { loadHotkey } from './key-file';
import { type Miner, startMiner } from './miner';
import { encodePng } from './ref-sep-craft';

// Real threads that compile TypeScript as they start, on machines that may be doing much else.
jest.setTimeout(60_000);

const SEED = '11'.repeat(32);
const threads = {
  filename: join(__dirname, 'engine-worker.ts'),
  execArgv: [
    '--conditions=studio-src',
    '--require',
    join(__dirname, '../../../libs/shared/src/testing/typescript-threads.cjs'),
  ],
};

/** The orchestrator's side, named so: serves inputs, takes callbacks and registrations. */
class StubOrchestrator {
  readonly callbacks: {
    url: string;
    secret?: string;
    headers: IncomingMessage['headers'];
    verdict: RequestVerdict;
    form: Promise<FormData>;
  }[] = [];
  readonly registrations: unknown[] = [];
  readonly files = new Map<string, Buffer>();
  readonly hotkey = hotkeyFromSeed('22'.repeat(32));
  readonly progress: { step: number; total: number }[] = [];
  /** Status of the next callbacks; 200 when used up. */
  answers: number[] = [];
  fetched = 0;
  private readonly server: Server = createServer((req, res) => void this.handle(req, res));
  private waiting: (() => void)[] = [];

  async listen(): Promise<void> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** Serves the bytes; returns what a request says about them. */
  file(bytes: Buffer): { url: string; sha256: string; bytes: number } {
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    this.files.set(`/${sha256}`, bytes);
    return { url: `${this.url}/${sha256}`, sha256, bytes: bytes.length };
  }

  /** Resolves when something new has arrived. */
  news(): Promise<void> {
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }

  private async handle(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const url = req.url ?? '';
    const chunks: Buffer[] = [];
    for await (const chunk of req as AsyncIterable<Buffer>) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const file = this.files.get(url);
    if (file) this.fetched++;
    if (file) res.end(file);
    else if (url === '/v1/identity') res.end(JSON.stringify({ hotkey: this.hotkey.address }));
    else if (url.startsWith('/v1/miners/')) this.register(req, body, res);
    else if (url === '/callback/progress') this.note(req, body, res);
    else this.callback(req, body, res);
    for (const wake of this.waiting.splice(0)) wake();
  }

  private register(req: IncomingMessage, body: Buffer, res: ServerResponse): void {
    const { method, url, headers } = req;
    const call = { method: method!, path: url!, body, headers, nowMs: Date.now(), recipient: this.hotkey.address };
    const verdict = verifyRequest(call);
    this.registrations.push({ verdict, url, body: JSON.parse(body.toString()) as unknown });
    res.end('{}');
  }

  private note({ headers }: IncomingMessage, body: Buffer, res: ServerResponse): void {
    if (headers['x-callback-secret'] === 's3cret')
      this.progress.push(JSON.parse(body.toString()) as (typeof this.progress)[0]);
    res.writeHead(204).end();
  }

  private callback({ url, headers }: IncomingMessage, body: Buffer, res: ServerResponse): void {
    const secret = headers['x-callback-secret'] as string;
    const form = new Response(body, { headers: { 'content-type': headers['content-type']! } }).formData();
    const call = { method: 'POST', path: url!, body, headers, nowMs: Date.now(), recipient: this.hotkey.address };
    this.callbacks.push({ url: url!, secret, headers, verdict: verifyRequest(call), form });
    res.statusCode = this.answers.shift() ?? 200;
    res.end();
  }
}

let stub: StubOrchestrator;
let folder: string;
let photo: Buffer;
const miners: Miner[] = [];

beforeEach(async () => {
  stub = new StubOrchestrator();
  await stub.listen();
  folder = await mkdtemp(join(tmpdir(), 'miner-'));
  const rgb = Uint8Array.from({ length: 16 * 16 * 3 }, (_, i) => (i * 7) % 256);
  photo = Buffer.from(await encodePng({ rgb, width: 16, height: 16 }));
});

afterEach(async () => {
  await Promise.all(miners.splice(0).map((miner) => miner.close()));
  await stub.close();
  await rm(folder, { recursive: true });
});

async function start(variables: Record<string, string> = {}): Promise<Miner> {
  const env = minerEnv({
    MINER_SEED: SEED,
    MINER_PORT: '0',
    MINER_DATA_DIR: folder,
    LOG_LEVEL: 'silent',
    ...variables,
  });
  const miner = await startMiner({ env, hotkey: await loadHotkey(env), threads, log: pino({ level: 'silent' }) });
  miners.push(miner);
  return miner;
}

function training(over: object = {}, input: object = {}): Record<string, unknown> & { job_id: string } {
  return {
    job_id: randomUUID(),
    attempt: 1,
    kind: 'lora-training',
    engine: 'ref-sep-v1',
    input: { image: stub.file(photo), resolution: 16, steps: 5, rank: 2, seed: 1, ...input },
    timeout_ms: 50_000,
    callback: { url: `${stub.url}/callback`, secret: 's3cret' },
    ...over,
  };
}

function inference(lora: Buffer, input: object = {}): Record<string, unknown> & { job_id: string } {
  const asked = { prompt: 'a cat', width: 24, height: 16, seed: 2 ** 32 - 1, lora_scale: 1, warp: 0.5, num_images: 2 };
  return { ...training(), kind: 'lora-inference', input: { lora: stub.file(lora), ...asked, ...input } };
}

async function post(miner: Miner, body: object, headers: Record<string, string> = {}) {
  const reply = await request(`http://127.0.0.1:${miner.port}/v1/jobs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  return { status: reply.statusCode, headers: reply.headers, body: Buffer.from(await reply.body.arrayBuffer()) };
}

type Reply = Awaited<ReturnType<typeof post>>;
const json = ({ body }: Reply) => JSON.parse(body.toString()) as Record<string, unknown>;

async function partsOf(form: FormData): Promise<{ manifest: Record<string, unknown>; files: Map<string, Buffer> }> {
  const files = new Map<string, Buffer>();
  for (const [name, value] of form.entries()) {
    if (typeof value !== 'string') files.set(name, Buffer.from(await value.arrayBuffer()));
  }
  const manifest = JSON.parse(files.get('manifest')!.toString()) as Record<string, unknown>;
  files.delete('manifest');
  return { manifest, files };
}

const formOf = ({ headers, body }: Reply): Promise<FormData> =>
  new Response(body, { headers: { 'content-type': String(headers['content-type']) } }).formData();

/** Whether anybody listens there. */
async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  const [listens] = await Promise.race([
    once(socket, 'connect').then(() => [true]),
    once(socket, 'close').then(() => [false]),
  ]).catch(() => [false]);
  socket.destroy();
  return listens!;
}

/** A LoRA made by the miner itself, at once. */
async function trainNow(miner: Miner): Promise<Buffer> {
  const { files } = await partsOf(await formOf(await post(miner, training())));
  return files.get('lora')!;
}

describe('a miner', () => {
  it('says what it offers and that it lives', async () => {
    const miner = await start({ MINER_SLOTS_INFERENCE: '0' });
    const get = async (path: string) => (await request(`http://127.0.0.1:${miner.port}${path}`)).body.json();
    expect(await get('/v1/capacity')).toEqual({ kinds: { 'lora-training': { engines: ['ref-sep-v1'], slots: 1 } } });
    expect(await get('/v1/health')).toEqual({
      status: 'ok',
      hotkey: miner.hotkey,
      version: expect.stringMatching(/^\d+\.\d+\.\d+$/) as string,
      uptime_s: expect.any(Number) as number,
      engines: ['ref-sep-v1'],
      orchestrator: null,
      registered: null,
      slots: { 'lora-training': { used: 0, of: 1 } },
      undelivered: 0,
    });
  });

  it('accepts a training with 202 and calls back with the LoRA and the secret', async () => {
    const miner = await start();
    const job = training();
    const reply = await post(miner, job);
    expect([reply.status, json(reply)]).toEqual([202, { accepted: true, job_id: job.job_id, attempt: 1 }]);
    while (stub.callbacks.length === 0) await stub.news();
    const [{ url, secret, form }] = stub.callbacks as [(typeof stub.callbacks)[0]];
    const { manifest, files } = await partsOf(await form);
    expect([url, secret]).toEqual(['/callback', 's3cret']);
    expect(manifest).toEqual({ job_id: job.job_id, attempt: 1, status: 'completed', files: ['lora'] });
    expect(readSafetensors(files.get('lora')!).metadata).toEqual({ engine: 'ref-sep-v1', rank: '2', resolution: '16' });
  });

  it('answers inference at once, one image per seed, seeds wrapping at 2³²', async () => {
    const miner = await start({ MINER_REPLY: 'sync' });
    const lora = await trainNow(miner);
    const reply = await post(miner, inference(lora));
    const { manifest, files } = await partsOf(await formOf(reply));
    expect([reply.status, manifest.files]).toEqual([200, ['image_0', 'image_1']]);
    expect(await sharp(files.get('image_0')).metadata()).toMatchObject({ width: 24, height: 16, format: 'png' });
    const zero = await partsOf(await formOf(await post(miner, inference(lora, { seed: 0, num_images: 1 }))));
    expect(zero.files.get('image_0')).toEqual(files.get('image_1'));
  });

  it('renders with a LoRA of its own making without fetching it', async () => {
    const miner = await start({ MINER_REPLY: 'sync' });
    const job = inference(await trainNow(miner));
    const before = stub.fetched;
    expect((await post(miner, job)).status).toBe(200);
    expect(stub.fetched).toBe(before);
  });

  it('runs an attempt once: a repeat joins it, and later gets the stored result, also after a restart', async () => {
    const miner = await start({ MINER_REPLY: 'sync' });
    const job = training({}, { steps: 100 });
    const [one, joined] = await Promise.all([post(miner, job), post(miner, job)]);
    expect(joined.body).toEqual(one.body);
    const downloads = stub.fetched;
    expect((await post(miner, job)).body).toEqual(one.body);
    await miner.close();
    expect((await post(await start({ MINER_REPLY: 'sync' }), job)).body).toEqual(one.body);
    expect(stub.fetched).toBe(downloads);
  });

  it('finishes after a restart what it had accepted before', async () => {
    const first = await start();
    const job = training({}, { steps: 2000 });
    expect((await post(first, job)).status).toBe(202);
    await first.close();
    expect(stub.callbacks).toHaveLength(0);
    await start();
    while (stub.callbacks.length === 0) await stub.news();
    const { manifest } = await partsOf(await stub.callbacks[0]!.form);
    expect(manifest).toMatchObject({ job_id: job.job_id, status: 'completed' });
  });

  it('ends with the last reply, not with the keep-alive of its connection', async () => {
    const miner = await start();
    const agent = new Agent({ keepAlive: true });
    const headers = { 'content-type': 'application/json', expect: '100-continue', 'transfer-encoding': 'chunked' };
    const asking = ask({ port: miner.port, path: '/v1/jobs', method: 'POST', headers, agent });
    asking.flushHeaders();
    await once(asking, 'continue');
    const closed = miner.close();
    // Its idle connections are gone by then.
    while (await accepts(miner.port)) await new Promise(setImmediate);
    asking.end(JSON.stringify(training()));
    const [reply] = (await once(asking, 'response')) as [IncomingMessage];
    expect(reply.resume().statusCode).toBe(429);
    const begunMs = performance.now();
    await closed;
    expect(performance.now() - begunMs).toBeLessThan(2_000);
    agent.destroy();
  });

  it('says how far it is, and what of', async () => {
    const side = 64;
    const large = Buffer.from(await encodePng({ rgb: Buffer.alloc(side * side * 3, 90), width: side, height: side }));
    // Some ten seconds of work: on no machine over before the first report is due, a second after its start.
    const long = { image: stub.file(large), resolution: side, steps: 2_000, rank: 32 };
    await post(await start(), training({}, long));
    while (stub.progress.length === 0) await stub.news();
    const [{ step, total }] = stub.progress as [(typeof stub.progress)[0]];
    expect([step > 0 && step <= 2_000, total]).toEqual([true, 2_000]);
    expect(stub.callbacks).toHaveLength(0);
  });

  it('calls back again until the orchestrator has an answer', async () => {
    stub.answers = [503, 500];
    await post(await start(), training());
    while (stub.callbacks.length < 3) await stub.news();
  });

  it('is busy with 429 when its slots are taken, and free again after a cancel', async () => {
    const miner = await start();
    const long = training({}, { steps: 2000, resolution: 16, rank: 32 });
    expect((await post(miner, long)).status).toBe(202);
    expect((await post(miner, training())).status).toBe(429);
    const cancel = () => request(`http://127.0.0.1:${miner.port}/v1/jobs/${long.job_id}`, { method: 'DELETE' });
    const cancelled = await cancel();
    expect([cancelled.statusCode, await cancelled.body.json()]).toEqual([200, { cancelled: 1 }]);
    let status = 429;
    while (status === 429) status = (await post(miner, training())).status;
    expect(status).toBe(202);
    expect((await cancel()).statusCode).toBe(404);
  });

  it('ends an attempt when its time is over, and says nothing of it', async () => {
    const miner = await start({ MINER_REPLY: 'sync' });
    const reply = await post(miner, training({ timeout_ms: 300 }, { steps: 2000, rank: 32 }));
    expect([reply.status, json(reply)]).toMatchObject([504, { error: { message: 'the attempt ended: timeout' } }]);
  });

  it('hands in a failure with the reason when the input is not what was announced', async () => {
    const miner = await start({ MINER_REPLY: 'sync' });
    const file = { ...stub.file(photo), sha256: 'ab'.repeat(32) };
    const reply = await post(miner, training({}, { image: file }));
    const { manifest, files } = await partsOf(await formOf(reply));
    expect(manifest).toMatchObject({
      status: 'failed',
      files: [],
      error: expect.stringContaining('not abab') as string,
    });
    expect(files.size).toBe(0);
    const noLora = await partsOf(await formOf(await post(miner, inference(photo))));
    expect(noLora.manifest.error).toContain('header');
  });

  it.each([
    ['no JSON', 'x', ['']],
    ['another engine', { engine: 'flux' }, ['engine']],
    ['no callback', { callback: undefined }, ['callback']],
    ['a job id that is none', { job_id: '../../etc' }, ['job_id']],
    [
      'too many steps',
      { input: { image: {}, resolution: 16, steps: 9999, rank: 2, seed: -1 } },
      ['input.image.url', 'input.seed', 'input.steps'],
    ],
  ])('refuses %s with 422 and the fields', async (_, over, paths) => {
    const reply = await post(await start(), typeof over === 'string' ? ([over] as object) : training(over));
    expect(reply.status).toBe(422);
    const { fields } = json(reply).error as { fields: { path: string }[] };
    expect(fields.map(({ path }) => path)).toEqual(expect.arrayContaining(paths));
  });

  it('registers, signed, with its endpoint and offers', async () => {
    const miner = await start({ REGISTRY_URL: stub.url, MINER_OPERATOR: 'acme' });
    while (stub.registrations.length === 0) await stub.news();
    expect(stub.registrations[0]).toMatchObject({
      url: `/v1/miners/${miner.hotkey}`,
      verdict: { ok: true, hotkey: miner.hotkey },
      body: { endpoint: `http://127.0.0.1:${miner.port}`, dialect: 'native', operator: 'acme' },
    });
  });

  it('signs its answer to a signed job, and refuses a replayed, foreign or missing signature', async () => {
    const miner = await start({ MINER_REPLY: 'sync', MINER_ORCHESTRATOR: stub.hotkey.address });
    const job = training();
    const nonce = randomUUID();
    const sign = (signer = stub.hotkey) =>
      signRequest(
        {
          method: 'POST',
          path: '/v1/jobs',
          body: JSON.stringify(job),
          nowMs: Date.now(),
          nonce,
          recipient: miner.hotkey,
        },
        signer,
      );
    const headers = sign();
    const reply = await post(miner, job, headers);
    const { status, body } = reply;
    const answered = { status, body, nonce, recipient: stub.hotkey.address, expectedHotkey: miner.hotkey };
    expect(verifyReply({ ...answered, headers: reply.headers })).toMatchObject({ ok: true });
    expect((await post(miner, job, headers)).status).toBe(401);
    expect((await post(miner, job, sign(hotkeyFromSeed('33'.repeat(32))))).status).toBe(401);
    expect((await post(miner, job)).status).toBe(401);
  });

  it('signs its callback for the hotkey that signed the job, afresh for every try, also after a restart', async () => {
    stub.answers = Array.from({ length: 50 }, () => 503);
    const first = await start({ MINER_ORCHESTRATOR: stub.hotkey.address });
    const job = training();
    const request = { method: 'POST', path: '/v1/jobs', body: JSON.stringify(job), nowMs: Date.now() };
    const headers = signRequest({ ...request, nonce: randomUUID(), recipient: first.hotkey }, stub.hotkey);
    expect((await post(first, job, headers)).status).toBe(202);
    while (stub.callbacks.length < 2) await stub.news();
    await first.close();
    const before = stub.callbacks.length;
    await start({ MINER_ORCHESTRATOR: stub.hotkey.address });
    while (stub.callbacks.length === before) await stub.news();
    const signed = [stub.callbacks[0]!, stub.callbacks[1]!, stub.callbacks.at(-1)!];
    expect(signed.map(({ verdict }) => verdict)).toMatchObject(signed.map(() => ({ ok: true, hotkey: first.hotkey })));
    expect(new Set(signed.map(({ headers: { 'x-studio-nonce': nonce } }) => nonce)).size).toBe(3);
  });

  it('sends an unsigned callback for an unsigned job', async () => {
    await post(await start(), training());
    while (stub.callbacks.length === 0) await stub.news();
    expect(stub.callbacks[0]!.verdict).toMatchObject({ ok: false, reason: 'missing' });
  });

  it('takes jobs of nobody but itself until the registry has named the orchestrator', async () => {
    const miner = await start({ REGISTRY_URL: 'http://127.0.0.1:9', MINER_REPLY: 'sync' });
    const job = training();
    const request = { method: 'POST', path: '/v1/jobs', body: JSON.stringify(job), nowMs: Date.now() };
    const sign = (signer: typeof stub.hotkey) =>
      signRequest({ ...request, nonce: randomUUID(), recipient: miner.hotkey }, signer);
    expect((await post(miner, job)).status).toBe(401);
    const refused = await post(miner, job, sign(stub.hotkey));
    expect([refused.status, json(refused)]).toMatchObject([
      401,
      { error: { message: expect.stringContaining('not registered yet') as string } },
    ]);
    expect((await post(miner, job, sign(hotkeyFromSeed(SEED)))).status).toBe(200);
  });

  it('counts what it does, on a port of its own where one is given', async () => {
    const miner = await start({ METRICS_PORT: '0', MINER_REPLY: 'sync' });
    expect((await request(`http://127.0.0.1:${miner.port}/metrics`)).statusCode).toBe(404);
    await post(miner, training());
    await post(miner, training({ engine: 'flux' }));
    await post(miner, training({}, { image: { ...stub.file(photo), sha256: 'ab'.repeat(32) } }));
    const text = await (await request(`http://127.0.0.1:${miner.metricsPort}/metrics`)).body.text();
    for (const line of [
      'miner_jobs_total{kind="lora-training",outcome="completed"} 1',
      'miner_jobs_total{kind="lora-training",outcome="failed"} 1',
      'miner_job_seconds_count{kind="lora-training"} 2',
      'miner_refusals_total{reason="invalid"} 1',
      'miner_jobs_running{kind="lora-training"} 0',
      'miner_slots{kind="lora-inference"} 4',
      'miner_callbacks_pending 0',
    ])
      expect(text.split('\n')).toContain(line);
  });

  it('does not start with nothing to offer', async () => {
    await expect(start({ MINER_SLOTS_TRAINING: '0', MINER_SLOTS_INFERENCE: '0' })).rejects.toThrow('at least one slot');
  });

  it('says which port is taken and what to set', async () => {
    const miner = await start();
    await expect(start({ MINER_PORT: String(miner.port) })).rejects.toThrow(
      `port ${miner.port} on 127.0.0.1 is taken: set MINER_PORT`,
    );
  });
});

describe('the environment', () => {
  it('names every wrong variable at once and shows no secret', () => {
    const wrong = { MINER_SEED: 'topsecret', MINER_PORT: 'http', MINER_PROFILE: 'evil', MINER_ORCHESTRATOR: '5x' };
    const complaint = (): string => {
      try {
        minerEnv(wrong);
      } catch (error) {
        expect(error).toBeInstanceOf(EnvError);
        return String(error);
      }
      return '';
    };
    expect(complaint()).toMatch(/MINER_SEED: must be 64 hex digits/);
    expect(complaint()).toMatch(/MINER_PORT \(is "http"\)/);
    expect(complaint()).toMatch(/MINER_PROFILE \(is "evil"\): .*half-size/);
    expect(complaint()).toMatch(/MINER_ORCHESTRATOR \(is "5x"\): must be an SS58 address/);
    expect(complaint()).not.toContain('topsecret');
  });

  it('has a default for everything but the seed', () => {
    expect(minerEnv({ MINER_SEED: SEED, PATH: '/bin', MINER_OPERATOR: '' })).toMatchObject({
      MINER_ENGINE: 'ref-sep-v1',
      MINER_SEED: SEED,
      MINER_HOST: '127.0.0.1',
      MINER_PORT: 8080,
      MINER_SLOTS_TRAINING: 1,
      MINER_SLOTS_INFERENCE: 4,
      MINER_PROFILE: 'honest',
      MINER_DATA_DIR: '.data/miner',
      MINER_REPLY: 'auto',
      MINER_NAME: 'miner',
      LOG_LEVEL: 'info',
    });
  });
});
