import { createHash, randomUUID } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { hotkeyFromSeed, signText } from '../protocol/hotkey';
import { startDippyMiner, type DippyMiner } from './dippy-miner';
import { dippyPicture } from './dippy-miner-model';

const caller = hotkeyFromSeed('11'.repeat(32));
const stranger = hotkeyFromSeed('22'.repeat(32));

let miner: DippyMiner;
let listener: Server;
let callbackUrl: string;
/** Bodies of the callbacks that came, with the content type and the secret. */
let came: { type: string; secret: unknown; body: Buffer }[];

beforeEach(async () => {
  came = [];
  listener = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { 'content-type': type = '', 'x-callback-secret': secret } = request.headers;
      came.push({ type, secret, body: Buffer.concat(chunks) });
      response.end();
    });
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  callbackUrl = `http://127.0.0.1:${(listener.address() as AddressInfo).port}/callback`;
  miner = await startDippyMiner({ name: randomUUID() });
});

afterEach(async () => {
  await miner.close();
  listener.closeAllConnections();
  listener.close();
});

interface Signing {
  signer?: typeof caller;
  timestamp?: number;
  signedFor?: string;
  signedBytes?: string;
}

function signed(body: string, how: Signing = {}): Record<string, string> {
  const { signer = caller, timestamp = Date.now(), signedFor = miner.hotkey, signedBytes = body } = how;
  const uuid = randomUUID();
  const hash = createHash('sha256').update(signedBytes).digest('hex');
  return {
    'content-type': 'application/json',
    authorization: `Epistula ${signText(signer, `${hash}.${uuid}.${timestamp}.${signedFor}`)}`,
    'epistula-timestamp': String(timestamp),
    'epistula-uuid': uuid,
    'epistula-signed-by': signer.address,
    'epistula-signed-for': signedFor,
  };
}

// Whatever the route answers: the assertions look at it.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Reply = { status: number; body: any };

async function post(job: object, path = '/inference', headers?: Record<string, string>): Promise<Reply> {
  const body = JSON.stringify(job);
  const reply = await fetch(`${miner.url}${path}`, { method: 'POST', body, headers: headers ?? signed(body) });
  return { status: reply.status, body: await reply.json() };
}

const job = (more: object = {}) => ({
  prompt: 'a cat',
  width: 64,
  height: 64,
  seed: 7,
  job_id: randomUUID(),
  callback_url: callbackUrl,
  callback_secret: 'hush',
  ...more,
});

describe('the open routes of a Dippy miner', () => {
  it('say that it is there and who it is', async () => {
    const get = async (path: string): Promise<Reply> => {
      const reply = await fetch(`${miner.url}${path}`);
      return { status: reply.status, body: await reply.json() };
    };
    expect(await get('/')).toMatchObject({ status: 200, body: { status: 'healthy' } });
    expect(await get('/status')).toMatchObject({ status: 200, body: { status: 'running', epistula_ready: true } });
    expect(await get(`/check/${miner.hotkey}`)).toEqual({
      status: 200,
      body: { status: 'ok', identifier: miner.hotkey },
    });
    expect((await get('/check/another')).status).toBe(404);
    expect((await get('/capacity')).status).toBe(401);
  });
});

describe('the gate of a Dippy miner', () => {
  const cases: [string, (headers: Record<string, string>) => Record<string, string>, string][] = [
    ['no Authorization', ({ authorization: _, ...rest }) => rest, 'Authorization header required'],
    ['no scheme', (all) => ({ ...all, authorization: '0xabc' }), 'Invalid authorization header format'],
    ['another scheme', (all) => ({ ...all, authorization: 'Bearer x' }), 'Invalid authorization scheme'],
    [
      'another signature beside it',
      (all) => ({ ...all, 'epistula-signature': '0x12' }),
      'Authorization signature mismatch',
    ],
    ['no timestamp', ({ 'epistula-timestamp': _, ...rest }) => rest, 'Missing Epistula authentication headers'],
    ['a blank recipient', (all) => ({ ...all, 'epistula-signed-for': ' ' }), 'Missing Epistula authentication headers'],
    ['a timestamp in words', (all) => ({ ...all, 'epistula-timestamp': 'now' }), 'Invalid Timestamp'],
    ['no address', (all) => ({ ...all, 'epistula-signed-by': '5Nobody' }), 'Invalid Keypair'],
    ['no hex', (all) => ({ ...all, authorization: 'Epistula 0xzz' }), 'Invalid Signature Format'],
    ['another nonce', (all) => ({ ...all, 'epistula-uuid': randomUUID() }), 'Signature Mismatch'],
  ];
  it.each(cases)('refuses %s', async (_, change, detail) => {
    const body = job();
    const reply = await post(body, '/inference', change(signed(JSON.stringify(body))));
    expect(reply).toEqual({ status: 401, body: { detail } });
  });

  it.each<[string, Signing, string]>([
    ['an old request', { timestamp: Date.now() - 9_000 }, 'Request is too stale'],
    ["another miner's request", { signedFor: stranger.address }, 'Invalid signed_for address'],
    ['other bytes than were signed', { signedBytes: '{}' }, 'Signature Mismatch'],
  ])('refuses %s', async (_, how, detail) => {
    const body = job();
    expect(await post(body, '/inference', signed(JSON.stringify(body), how))).toEqual({
      status: 401,
      body: { detail },
    });
  });

  it('lets a sender pass who is not listed only while no list is kept', async () => {
    expect((await post(job())).status).toBe(200);
    miner.allowedSenders = [stranger.address];
    expect(await post(job())).toEqual({ status: 403, body: { detail: 'Sender not allowed' } });
  });

  it('answers a signed question for its capacity with booleans', async () => {
    const reply = await fetch(`${miner.url}/capacity`, { headers: signed('') });
    expect(await reply.json()).toEqual({ 'base-h100_pcie': true, 'img-h100_pcie': true });
  });
});

describe('a job at a Dippy miner', () => {
  it('is accepted, rendered from prompt and seed, and called back in the order of its parts', async () => {
    const asked = job();
    const reply = await post(asked);
    expect(reply).toMatchObject({ status: 200, body: { accepted: true, job_id: asked.job_id, status: 'queued' } });
    expect(await miner.calledBack(1)).toMatchObject({ outcome: 'sent', status: 200 });
    const { type, secret, body } = came[0]!;
    expect([type.split(';')[0], secret]).toEqual(['multipart/form-data', 'hush']);
    const names = [...body.toString('latin1').matchAll(/ name="(\w+)"/g)].map(([, name]) => name);
    expect(names).toEqual(['job_id', 'status', 'completed_at', 'image', 'image_url']);
    expect(body.includes(await dippyPicture(asked))).toBe(true);
  });

  it.each([null, 0])('becomes seed 42 where the seed is %s', async (seed) => {
    const asked = job({ seed });
    await post(asked);
    const { parts } = await miner.calledBack(1);
    expect(parts.image?.equals(await dippyPicture({ ...asked, seed: 42 }))).toBe(true);
  });

  it('gets the old file when its finished id comes again with another prompt', async () => {
    const first = job();
    await post(first);
    await miner.calledBack(1);
    await post({ ...first, prompt: 'a dog' });
    expect((await miner.calledBack(2)).parts.image?.equals(await dippyPicture(first))).toBe(true);
  });

  it('is refused with 409 while its id is not finished', async () => {
    miner.quirks = { neverCalls: true };
    const asked = job();
    await post(asked);
    expect((await post(asked)).status).toBe(409);
  });

  it.each<[string, object, string]>([
    ['no prompt', { prompt: undefined }, 'prompt'],
    ['a side below 64', { width: 63 }, 'width'],
    ['a side above 2048', { height: 2_049 }, 'height'],
    ['no steps', { num_inference_steps: 0 }, 'num_inference_steps'],
    ['too much guidance', { guidance_scale: 20.5 }, 'guidance_scale'],
    ['half a seed', { seed: 0.5 }, 'seed'],
    ['a date in words', { expiry: 'soon' }, 'expiry'],
  ])('is refused with 422 for %s', async (_, more, field) => {
    const reply = await post(job(more));
    expect(reply).toMatchObject({ status: 422, body: { detail: [{ loc: ['body', field] }] } });
  });

  it('needs a seed where a picture is edited, and a picture only after it was accepted', async () => {
    const { seed: _, ...seedless } = job();
    expect((await post(seedless, '/edit')).status).toBe(422);
    expect((await post(job(), '/edit')).status).toBe(200);
    expect((await miner.calledBack(1)).parts).toMatchObject({
      status: 'failed',
      error: expect.stringMatching(/image_url/),
    });
  });

  it('is not called back after its expiry', async () => {
    await post(job({ expiry: '2020-01-01T00:00:00Z' }));
    expect(await miner.calledBack(1)).toMatchObject({ outcome: 'expired' });
    expect(came).toHaveLength(0);
  });

  it('that failed is called back without an image, as a plain form', async () => {
    miner.quirks = { fails: 'CUDA out of memory' };
    await post(job());
    await miner.calledBack(1);
    expect(came[0]!.type).toBe('application/x-www-form-urlencoded');
    expect(new URLSearchParams(came[0]!.body.toString()).get('error')).toBe('CUDA out of memory');
  });
});

describe('the quirks of a Dippy miner', () => {
  it.each([
    [{ upstream: 502 as const }, 502],
    [{ upstream: 504 as const }, 504],
    [{ upstream: 500 as const }, 500],
    [{ disabled503: true }, 503],
    [{ rejectAuth: 403 as const }, 403],
    [{ slowProxy202: true }, 202],
  ])('%j answers %i', async (quirks, status) => {
    miner.quirks = quirks;
    expect((await post(job())).status).toBe(status);
  });

  it('calls back before it answers, or twice, or without a picture', async () => {
    miner.quirks = { callbackFirst: true, callbacks: 2 };
    await post(job());
    expect(came).toHaveLength(2);
    miner.quirks = { callbackFirst: true, emptyImage: true };
    await post(job());
    expect(miner.callbacks[2]!.parts.image).toHaveLength(0);
    miner.quirks = { callbackFirst: true, missingImage: true };
    await post(job());
    expect(miner.callbacks[3]!.parts.image).toBeUndefined();
  });
});
