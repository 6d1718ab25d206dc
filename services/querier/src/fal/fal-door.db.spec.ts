/** fal's client, unmodified, against a real api with workers that the tests start, and miners that do as they are told. */
import { createFalClient, ValidationError, type FalClient } from '@fal-ai/client';
import { MAX_DEADLINE_S } from '@studio/shared/contract/submit-job';
import { someAdapter } from '@studio/shared/testing/some-adapter';
import { writeSafetensors } from '@studio/shared/protocol/safetensors';
import { until } from '@studio/shared/testing/registry-ground';
import { createServer, connect, type AddressInfo, type Server } from 'node:net';
import { PassThrough } from 'node:stream';
import sharp from 'sharp';
import { WorkerRig, type Json } from '../worker.rig';

jest.setTimeout(300_000);

const APP = 'studio/lora';
const HOSTS: Record<string, string> = { 'queue.fal.run': '/queue', 'fal.run': '/run', 'rest.fal.ai': '/rest', 'studio.test': '' }; // prettier-ignore

let rig: WorkerRig;
let lora: string;

beforeAll(async () => {
  rig = await WorkerRig.open();
  const headers = { ...rig.headers, 'content-type': 'application/octet-stream' };
  const body = new Uint8Array(someAdapter(4, 64));
  lora = ((await (await fetch(`${rig.api.url}/v1/artifacts`, { method: 'POST', body, headers })).json()) as Json).url;
});
afterAll(() => rig?.close());
afterEach(() => rig.clear());

/** @param sent hears of every request that the client sends, its repetitions included. */
function client(base = (): string => rig.api.url, sent: (url: string) => void = () => undefined): FalClient {
  const redirected: typeof fetch = (input, init) => {
    sent(input instanceof Request ? input.url : String(input));
    const { host, pathname, search } = new URL(input instanceof Request ? input.url : String(input));
    return fetch(`${base()}${HOSTS[host] ?? ''}${pathname}${search}`, init);
  };
  return createFalClient({ credentials: rig.client.key, fetch: redirected });
}

const input = (more: object = {}): never =>
  ({ prompt: 'ein schöner Kaffee ☕', loras: [{ path: lora }], image_size: { width: 64, height: 64 }, seed: 1, ...more }) as never; // prettier-ignore

/** Makes miners known to the api. */
async function known(count: number, answer = rig.works): Promise<void> {
  await rig.useMiners(count, answer);
  // Whether anybody can do it is asked before its files are looked at.
  const body = JSON.stringify({ prompt: 'x', loras: [{ path: 'nowhere' }] });
  await until(async () => {
    const reply = await fetch(`${rig.api.url}/queue/${APP}`, { method: 'POST', headers: rig.headers, body });
    return reply.status === 422;
  });
}

const countOf = async (where: string): Promise<number> =>
  (await rig.db.query<{ jobs: number }[]>(`SELECT count(*)::int AS jobs FROM studio.jobs WHERE ${where}`))[0]!.jobs;

describe('a request that', () => {
  it('every miner refuses is completed, and its result is the ValidationError that the client knows', async () => {
    await known(3, () => ({ status: 422 }));
    await rig.startWorker();
    const fal = client();
    const { request_id: requestId } = await fal.queue.submit(APP, { input: input() });
    const status = await fal.queue.subscribeToStatus(APP, { requestId, pollInterval: 50, logs: true });
    expect(status).toMatchObject({ status: 'COMPLETED', error: expect.stringMatching(/refused the input/) as string });
    const error: unknown = await fal.queue.result(APP, { requestId }).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(ValidationError);
    expect((error as ValidationError).status).toBe(422);
    expect((error as ValidationError).fieldErrors[0]).toMatchObject({ loc: ['body'], msg: expect.stringMatching(/422/) as string }); // prettier-ignore
  });

  it('no miner takes in the time that its client gives for that ends so, without a retry of the client', async () => {
    await known(1);
    const sent: string[] = [];
    const fal = client(undefined, (url) => void sent.push(url));
    const { request_id: requestId } = await fal.queue.submit(APP, { input: input(), startTimeout: 2 } as never);
    // Nobody works yet: the sweeper of a worker that has no room for it ends it.
    await rig.startWorker({ WORKER_CONCURRENCY: 0 });
    await until(async () => (await fal.queue.status(APP, { requestId })).status === 'COMPLETED');
    expect(await fal.queue.status(APP, { requestId })).toMatchObject({ error_type: 'startup_timeout' });
    sent.length = 0;
    await expect(fal.queue.result(APP, { requestId })).rejects.toMatchObject({ status: 504 });
    expect(sent).toHaveLength(1);
  });

  it('takes longer than its client allows in all ends as expired, held against nobody', async () => {
    await known(1, () => 'hang');
    await rig.startWorker();
    const fal = client();
    // Long enough for the miner to be asked on a slow machine: otherwise there is no attempt to look at.
    const headers = { 'X-Studio-Deadline': '4' };
    const { request_id: requestId } = await fal.queue.submit(APP, { input: input(), headers } as never);
    await until(async () => (await fal.queue.status(APP, { requestId })).status === 'COMPLETED');
    await expect(fal.queue.result(APP, { requestId })).rejects.toMatchObject({ status: 500, body: { error_type: 'request_timeout' } }); // prettier-ignore
    const [attempt] = await rig.db.query('SELECT state, blame FROM studio.attempts WHERE job_id = $1', [requestId]);
    expect(attempt).toEqual({ state: 'timeout', blame: 'none' });
  });

  it('is taken back while a miner works at it is cancelled there as well, and held against nobody', async () => {
    await known(1, () => 'hang');
    await rig.startWorker();
    const fal = client();
    const { request_id: requestId } = await fal.queue.submit(APP, { input: input() });
    await rig.miners[0]!.askedTimes(1);
    await fal.queue.cancel(APP, { requestId });
    expect(await fal.queue.status(APP, { requestId })).toMatchObject({ error_type: 'client_cancelled' });
    await until(() => Promise.resolve(rig.miners[0]!.cancelled.includes(requestId)));
    const [attempt] = await rig.db.query('SELECT state, blame FROM studio.attempts WHERE job_id = $1', [requestId]);
    expect(attempt).toEqual({ state: 'cancelled', blame: 'none' });
  });

  it('the client itself gives up waiting for is taken back', async () => {
    await known(1, () => 'hang');
    await rig.startWorker();
    const waited = client().subscribe(APP, {
      input: input({ prompt: 'no longer' }),
      timeout: 600,
      pollInterval: 100,
    } as never);
    await expect(waited).rejects.toThrow(/timed out waiting/);
    await until(async () => (await countOf(`input->>'prompt' = 'no longer' AND state = 'cancelled'`)) === 1);
  });

  it('nobody can do is refused at once, and not tried again by the client', async () => {
    const sent: string[] = [];
    const training = { images_data_url: 'data:image/png;base64,AAAA' };
    await known(1);
    const flux = client(undefined, (url) => void sent.push(url)).queue.submit('fal-ai/flux-lora-fast-training', {
      input: training,
    });
    await expect(flux).rejects.toMatchObject({ status: 500, body: { error_type: 'runner_scheduling_failure' } });
    expect(sent).toHaveLength(1);
  });

  it('asks for whole seconds, and for a number where one belongs, or is told', async () => {
    await known(1);
    const headers = { 'X-Studio-Deadline': 'soon' };
    const error: unknown = await client().queue.submit(APP, { input: input(), headers } as never).catch((caught: unknown) => caught); // prettier-ignore
    expect((error as ValidationError).fieldErrors[0]).toMatchObject({ loc: ['body', 'x-studio-deadline'] });
  });
});

describe('the queue', () => {
  it('numbers those that wait for the same, and not what only one miner may do or another engine does', async () => {
    await known(1);
    await rig.addJob({ engine: 'flux' });
    await rig.addJob({ routing: { onlyHotkey: 'reference' } });
    const fal = client();
    const positions: (number | undefined)[] = [];
    for (let n = 0; n < 3; n += 1) {
      const { queue_position } = await fal.queue.submit(APP, { input: input({ seed: n }) });
      positions.push(queue_position);
    }
    expect(positions).toEqual([0, 1, 2]);
    const full = fetch(`${rig.api.url}/queue/${APP}?fal_max_queue_length=2`, { method: 'POST', headers: rig.headers, body: JSON.stringify(input()) }); // prettier-ignore
    expect(await (await full).json()).toMatchObject({ detail: expect.stringMatching(/^3 requests wait/) as string });
    expect((await full).status).toBe(429);
  });

  it('streams what a request asked for beyond ASCII, in pieces of any size', async () => {
    await known(1);
    await rig.startWorker();
    const fal = client();
    const { request_id: requestId } = await fal.queue.submit(APP, { input: input() });
    const messages: string[] = [];
    await fal.queue.subscribeToStatus(APP, {
      requestId,
      logs: true,
      mode: 'streaming',
      onQueueUpdate: (status) => void messages.push(...('logs' in status ? status.logs.map(({ message }) => message) : [])),
    }); // prettier-ignore
    expect(messages[0]).toMatch(/^queued: 1 × 64×64, seed 1: ein schöner Kaffee ☕$/);
    expect(messages.at(-1)).toBe('attempt 1: accepted');
  });
});

describe('how long it will take', () => {
  const samples = async (): Promise<number> => {
    const [row] = await rig.db.query<{ samples: number }[]>(
      `SELECT count(*)::int AS samples FROM studio.attempts WHERE state = 'accepted' AND NOT void AND kind = 'lora-inference'`,
    );
    return row!.samples;
  };

  it('is told once enough is known, of a request that waits and of one that is only thought of', async () => {
    await known(1);
    await rig.startWorker();
    const fal = client();
    // As many as the policy wants to know; a result that came while this process stood still does not count.
    for (let n = 0; (await samples()) < 20; n += 1) await fal.run(APP, { input: input({ seed: n }) });
    await rig.clear();
    await rig.useMiners(1, () => 'hang', 2);
    // Nobody works: it waits until the api has read who offers and how long jobs took, however long that is on this machine.
    const headers = { 'X-Studio-Deadline': String(MAX_DEADLINE_S) };
    const { request_id: requestId } = await fal.queue.submit(APP, { input: input(), headers } as never);
    const etaOf = async (): Promise<Json> => ((await fal.queue.status(APP, { requestId })) as Json).eta;
    await until(async () => (await etaOf()) !== undefined);
    const eta = await etaOf();
    expect(eta.median_seconds).toBeGreaterThan(0);
    expect(eta.p95_seconds).toBeGreaterThanOrEqual(eta.median_seconds);
    const job = {
      kind: 'lora-inference',
      engine: 'ref-sep-v1',
      input: { lora_url: lora, prompt: 'x', width: 64, height: 64 },
    };
    const before = await countOf('true');
    const reply = await fetch(`${rig.api.url}/v1/jobs?dry_run=true`, {
      method: 'POST',
      headers: rig.headers,
      body: JSON.stringify(job),
    });
    expect(await reply.json()).toMatchObject({
      slots: 2,
      queued: 1,
      eta: { median_seconds: expect.any(Number) as number },
    });
    expect(await countOf('true')).toBe(before);
  });
});

describe('three hundred clients at once', () => {
  it('each follow their own request to its end, by polling and by streaming, while nothing moves and when all of it does', async () => {
    await known(4);
    // However long the loud phase takes on this machine: a job that reaches its own 30 s is no matter of following it.
    const headers = { 'X-Studio-Deadline': String(MAX_DEADLINE_S) };
    const begunMs = performance.now();
    const seen = new Map<number, string[]>();
    const results = Array.from({ length: 300 }, async (_, n) => {
      const fal = client();
      const statuses: string[] = [];
      seen.set(n, statuses);
      const { data, requestId } = await fal.subscribe(APP, {
        input: input({ prompt: `client ${n}`, seed: n }),
        headers,
        mode: n % 2 === 0 ? 'polling' : 'streaming',
        onQueueUpdate: ({ status }: { status: string }) => void (statuses.at(-1) === status || statuses.push(status)),
      } as never);
      return { n, requestId, data: data };
    });
    await until(() => Promise.resolve([...seen.values()].every((statuses) => statuses.length > 0)));
    const allFollowMs = performance.now() - begunMs;
    // Until now nobody worked: none had an attempt that could time out meanwhile.
    await rig.startWorker();
    const done = await Promise.all(results);
    expect(new Set(done.map(({ requestId }) => requestId)).size).toBe(300);
    for (const { n, data } of done) expect([data.prompt, data.seed]).toEqual([`client ${n}`, n]);
    for (const statuses of seen.values()) expect(statuses.at(-1)).toBe('COMPLETED');
    const allMs = performance.now() - begunMs;
    process.stdout.write(`300 subscribers: all follow after ${allFollowMs.toFixed(0)} ms, all done ${(allMs - allFollowMs).toFixed(0)} ms later\n`); // prettier-ignore
  });
});

/** Hands requests on; a submit's connections are reset, the client's too, as soon as the api has it. */
async function resettingProxy(resets: number): Promise<{ url: string; server: Server; seen: () => number }> {
  const { hostname, port } = new URL(rig.api.url);
  let seen = 0;
  const server = createServer((socket) => {
    const upstream = connect(Number(port), hostname);
    const watched = new PassThrough();
    let [text, isSubmit] = ['', false];
    watched.on('data', (chunk: Buffer) => {
      text = (text + chunk.toString('latin1')).slice(-4_096);
      if (isSubmit || !/^POST \/queue\/[\s\S]*\}$/m.test(text)) return;
      [isSubmit, seen] = [true, seen + 1];
      if (seen > resets) return;
      // The whole request is there before its connection goes.
      setImmediate(() => [upstream, socket].forEach((end) => end.resetAndDestroy()));
    });
    for (const end of [socket, upstream]) end.on('error', () => undefined);
    socket.pipe(upstream).pipe(socket);
    socket.pipe(watched);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server, seen: () => seen };
}

describe('a connection that is reset while a request is handed in', () => {
  it('leaves one request, which the client’s own repetition gets', async () => {
    await known(1);
    const proxy = await resettingProxy(1);
    const fal = client(() => proxy.url);
    const prompt = 'handed in once';
    const { request_id: requestId } = await fal.queue.submit(APP, { input: input({ prompt }) });
    expect(proxy.seen()).toBe(2);
    expect(await countOf(`input->>'prompt' = '${prompt}'`)).toBe(1);
    // Whoever asks for the same on purpose gets another.
    const { request_id: second } = await fal.queue.submit(APP, { input: input({ prompt }) });
    expect(second).not.toBe(requestId);
    proxy.server.close();
  });
});

describe('images', () => {
  it('are JPEG by link unless PNG is asked for, or stand in the result itself', async () => {
    await known(1);
    await rig.startWorker();
    const fal = client();
    const imageOf = async (more: object): Promise<{ url: string; content_type: string; file_size: number | null }> =>
      (await fal.run(APP, { input: input(more) })).data.images[0];
    const formatOf = async (url: string): Promise<string | undefined> => {
      const bytes = url.startsWith('data:')
        ? Buffer.from(url.split(',')[1]!, 'base64')
        : Buffer.from(await (await fetch(url.replace('http://studio.test', rig.api.url))).arrayBuffer());
      return (await sharp(bytes).metadata()).format;
    };
    for (const [more, format, isInline] of [
      [{}, 'jpeg', false],
      [{ output_format: 'png' }, 'png', false],
      [{ sync_mode: true }, 'jpeg', true],
      [{ output_format: 'png', sync_mode: true }, 'png', true],
    ] as const) {
      const { url, content_type } = await imageOf(more);
      expect([await formatOf(url), content_type, url.startsWith('data:')]).toEqual([
        format,
        `image/${format}`,
        isInline,
      ]);
    }
  });
});

describe('a file of more than 90 MiB', () => {
  /** A LoRA such as fal's trainers write at rank 16, with some more modules. */
  function largeLora(): Blob {
    const length = 2 ** 21;
    const data = Float32Array.from({ length }, (_, i) => ((i * 7_919) % 251) / 2_510);
    const tensors = Array.from({ length: 6 }, (_, n) => {
      const module = `transformer.single_transformer_blocks.${n}.attn.to_q`;
      return [
        [`${module}.lora_A.weight`, { shape: [16, length / 16], data }] as const,
        [`${module}.lora_B.weight`, { shape: [length / 16, 16], data }] as const,
      ];
    });
    return new Blob([new Uint8Array(writeSafetensors(tensors.flat(), {}))]);
  }

  it('is put in pieces, checked as a whole, and named like any other', async () => {
    const fal = client();
    const file = largeLora();
    expect(file.size).toBeGreaterThan(90 * 1024 * 1024);
    const url = await fal.storage.upload(file);
    const reply = await fetch(url.replace('http://studio.test', rig.api.url), { redirect: 'manual' });
    const stored = await fetch(reply.headers.get('location')!.replace('http://studio.test', rig.api.url), { method: 'HEAD' }); // prettier-ignore
    expect(Number(stored.headers.get('content-length'))).toBe(file.size);
  });

  it('is refused where a piece is missing, is another, or comes too late', async () => {
    const json = async (method: string, path: string, body: unknown, own = true): Promise<Json> => {
      const headers = own ? rig.headers : { 'content-type': 'application/json' };
      const reply = await fetch(`${rig.api.url}${path}`, { method, headers, body: JSON.stringify(body) });
      return { status: reply.status, ...((await reply.json()) as object) };
    };
    const { upload_url } = await json('POST', '/rest/storage/upload/initiate-multipart', {});
    const place = (upload_url as string).replace('http://studio.test', '');
    const put = async (part: string, bytes: Uint8Array<ArrayBuffer>): Promise<Json> => {
      const reply = await fetch(`${rig.api.url}${place}/${part}`, { method: 'PUT', body: bytes });
      return { status: reply.status, ...((await reply.json()) as object) };
    };
    const file = new Uint8Array(someAdapter(4, 64));
    expect((await put('0', file)).detail[0]).toMatchObject({ loc: ['body', 'part'] });
    const one = await put('1', file.slice(0, 1_000));
    const other = await put('2', file.slice(1_000, 2_000));
    const two = await put('2', file.slice(1_000));
    const complete = (...parts: object[]): Promise<Json> => json('POST', `${place}/complete`, { parts }, false);
    expect((await complete(one, { ...two, partNumber: 3 })).detail[0].msg).toMatch(/piece 3 has not come/);
    expect((await complete(one, other)).detail[0].msg).toMatch(/piece 2 has not come, or is another/);
    expect((await complete(one, two)).status).toBe(200);
    expect((await complete(one, two)).status).toBe(403);
  });
});

describe('a page on another site', () => {
  it('may ask with its key, and reads what the client needs of the reply', async () => {
    const asked = { origin: 'https://page.example', 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization,content-type,x-fal-queue-priority' }; // prettier-ignore
    const preflight = await fetch(`${rig.api.url}/queue/${APP}`, { method: 'OPTIONS', headers: asked });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get('access-control-allow-headers')).toContain('x-fal-queue-priority');
    const refused = await fetch(`${rig.api.url}/queue/${APP}`, { method: 'POST', headers: { origin: 'https://page.example' } }); // prettier-ignore
    expect([refused.status, refused.headers.get('access-control-allow-origin')]).toEqual([401, '*']);
    expect(refused.headers.get('access-control-expose-headers')).toContain('x-fal-request-id');
  });
});
