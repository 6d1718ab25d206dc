import { randomUUID } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { InferenceInput } from '@studio/shared/domain/job';
import { createEgress, type Egress } from '@studio/shared/platform/egress';
import { hotkeyFromSeed, signText, type Signer } from '@studio/shared/protocol/hotkey';
import { startDippyMiner, type DippyMiner, type DippyQuirks } from '@studio/shared/testing/dippy-miner';
import { dippyPicture } from '@studio/shared/testing/dippy-miner-model';
import fc from 'fast-check';
import { validate as isUuid } from 'uuid';
import { ArtifactUrls } from '../artifact-urls';
import { callbackSecret } from '../callback-secret';
import type { ClaimedJob } from '../dispatch.store';
import type { CallbackTarget } from '../result.store';
import type { Dispatch, MinerAnswer } from './dialect';
import { DippyDialect } from './dippy';
import { canBeDippy, dippyJobId, dippySeed } from './dippy-job';

const orchestrator = hotkeyFromSeed('55'.repeat(32));
const signer: Signer = { address: orchestrator.address, sign: async (text) => signText(orchestrator, text) };
const publicUrl = 'http://studio.test';
const urlSecret = 's'.repeat(64);

interface Came {
  path: string;
  headers: Record<string, string | string[] | undefined>;
  body: Buffer;
}

let miner: DippyMiner;
let egress: Egress;
let door: Server;
/** What callbacks brought, in place of the api. */
let came: Came[];

beforeEach(async () => {
  came = [];
  door = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      came.push({ path: request.url ?? '', headers: request.headers, body: Buffer.concat(chunks) });
      response.end();
    });
  });
  await new Promise<void>((resolve) => door.listen(0, '127.0.0.1', resolve));
  const doorUrl = `http://127.0.0.1:${(door.address() as AddressInfo).port}`;
  miner = await startDippyMiner({ name: randomUUID(), reach: (url) => url.replace(publicUrl, doorUrl) });
  egress = createEgress({ allowPrivate: true, maxConnectionsPerOrigin: 8 });
});
afterEach(async () => {
  await egress.close();
  await miner.close();
  door.closeAllConnections();
  door.close();
});

function dialect(more: { answerMs?: number } = {}): DippyDialect {
  const urls = new ArtifactUrls({ publicUrl, secret: urlSecret, ttlSeconds: 60 });
  return new DippyDialect({ egress, urls, signer, publicUrl, urlSecret, ...more });
}

function inference(more: Partial<InferenceInput> = {}): InferenceInput {
  const lora = { sha256: 'a'.repeat(64), bytes: 1, contentType: 'x', rank: 16, tensorHash: 'b'.repeat(64) };
  return { lora, prompt: 'a cat', width: 64, height: 64, seed: 7, loraScale: 1, warp: 0.25, numImages: 1, ...more };
}

function dispatch(more: Partial<InferenceInput> = {}, deadlineMs = 60_000): Dispatch {
  const job: ClaimedJob = {
    id: randomUUID(),
    kind: 'lora-inference',
    engine: 'flux',
    input: inference(more),
    routing: {},
    timeoutMs: 60_000,
    leaseNo: 1,
    attemptNo: 1,
    remainingMs: 180_000,
    attempts: [],
  };
  return { job, attemptNo: 1, miner: miner.routable, deadlineMs, signal: new AbortController().signal };
}

function targetOf({ job }: Dispatch, more: Partial<CallbackTarget> = {}): CallbackTarget {
  const { id: jobId, kind, engine, input, timeoutMs } = job;
  const attempt = { attemptNo: 1, hotkey: miner.hotkey, state: 'open', dialect: 'dippy' } as const;
  return { jobId, kind, engine, input, timeoutMs, ...attempt, callbackHash: Buffer.alloc(0), sinceSentUs: 0, ...more };
}

async function* pieces(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 5_000) yield bytes.subarray(at, at + 5_000);
}

const read = (target: CallbackTarget, { headers, body }: Came) =>
  dialect().readCallback({ target, headers, body: pieces(body) });

describe('a Dippy job', () => {
  it('is asked for in their words, signed over the bytes that are sent', async () => {
    const sent = dispatch();
    expect(await dialect().dispatch(sent)).toEqual({ type: 'accepted' });
    const [asked] = miner.asked;
    expect(asked).toMatchObject({ route: '/inference', status: 200 });
    expect(asked!.raw.toString()).toBe(JSON.stringify(asked!.body));
    expect(asked!.body).toEqual({
      prompt: 'a cat',
      lora_path: expect.stringMatching(/^http:\/\/studio\.test\/v1\/artifacts\/a{64}\?expires=\d+&sig=/),
      width: 64,
      height: 64,
      num_inference_steps: 28,
      guidance_scale: 7,
      seed: 7,
      job_id: dippyJobId(urlSecret, sent.job.id, 1),
      callback_url: `http://studio.test/miners/callback/${sent.job.id}/1`,
      callback_secret: callbackSecret(urlSecret, sent.job.id, 1),
      expiry: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    });
    const leftMs = Date.parse(String(asked!.body.expiry)) - Date.now();
    expect(Math.abs(leftMs - 60_000)).toBeLessThan(10_000);
  });

  const accepted: MinerAnswer = { type: 'accepted' };
  const failed = (reason: RegExp): unknown => ({
    type: 'ended',
    state: 'failed',
    fault: 'miner',
    reason: expect.stringMatching(reason),
  });
  it.each<[string, DippyQuirks, unknown]>([
    ['200', {}, accepted],
    ['202 of the proxy', { slowProxy202: true }, accepted],
    ['200 after its own callback', { callbackFirst: true }, accepted],
    ['503', { disabled503: true }, { type: 'ended', state: 'busy', fault: 'none', reason: expect.stringMatching(/cannot take it now: Inference is/) }], // prettier-ignore
    ['401', { rejectAuth: 401 }, failed(/refused our signature \(HTTP 401\): Signature Mismatch/)],
    ['403', { rejectAuth: 403 }, failed(/allow the orchestrator as a sender \(HTTP 403\): Sender not allowed/)],
    ['500', { upstream: 500 }, failed(/model server failed \(HTTP 500\): Internal server error/)],
    ['502', { upstream: 502 }, failed(/model server failed \(HTTP 502\): Error connecting/)],
    ['504', { upstream: 504 }, failed(/model server failed \(HTTP 504\): Upstream timed out/)],
  ])('answered with %s ends as it should', async (_, quirks, answer) => {
    miner.quirks = quirks;
    expect(await dialect().dispatch(dispatch())).toEqual(answer);
  });

  it('that is refused with 422 names the field', async () => {
    expect(await dialect().dispatch(dispatch({ width: 63 }))).toEqual(failed(/HTTP 422.*"width"/));
  });

  it('that was signed for another miner is refused by this one', async () => {
    const other = { ...miner.routable, hotkey: orchestrator.address };
    expect(await dialect().dispatch({ ...dispatch(), miner: other })).toEqual(failed(/Invalid signed_for address/));
  });

  it('that is sent again while it runs is the running one (409)', async () => {
    miner.quirks = { neverCalls: true };
    const sent = dispatch();
    expect(await dialect().dispatch(sent)).toEqual(accepted);
    expect(await dialect().dispatch(sent)).toEqual(accepted);
    expect(miner.asked.map(({ status }) => status)).toEqual([200, 409]);
  });

  it('that is sent again after it has ended brings the same file once more', async () => {
    const sent = dispatch();
    for (const count of [1, 2]) {
      await dialect().dispatch(sent);
      await miner.calledBack(count);
    }
    const files = await Promise.all(
      came.map(async (one) => (await read(targetOf(sent), one)).result.files.get('image_0')),
    );
    expect(files[0]!.equals(files[1]!)).toBe(true);
  });

  it('that the miner does not accept in time is a timeout that says so', async () => {
    const silent = createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const endpoint = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    const to = { miner: { ...miner.routable, endpoint } };
    const undecided = await dialect({ answerMs: 200 }).dispatch({ ...dispatch(), ...to });
    const outOfTime = await dialect().dispatch({ ...dispatch({}, 200), ...to });
    silent.closeAllConnections();
    silent.close();
    const timeout = { type: 'ended', state: 'timeout', fault: 'miner' };
    expect(undecided).toEqual({ ...timeout, reason: 'the miner did not say within 0.2 s whether it takes the job' });
    expect(outOfTime).toEqual({ ...timeout, reason: 'no result within the time the task allows' });
  });

  it('with seed 0 keeps them from choosing another', async () => {
    await dialect().dispatch(dispatch({ seed: 0 }));
    expect(miner.asked[0]!.body.seed).toBe(4_294_967_295);
  });

  it('that we gave up says nothing about the miner', async () => {
    const abort = new AbortController();
    abort.abort();
    expect(await dialect().dispatch({ ...dispatch(), signal: abort.signal })).toEqual({ type: 'abandoned' });
  });
});

describe('a Dippy callback', () => {
  async function calledBack(quirks: DippyQuirks, sent = dispatch()): Promise<{ sent: Dispatch; brought: Came }> {
    miner.quirks = quirks;
    await dialect().dispatch(sent);
    await miner.calledBack(1);
    return { sent, brought: came[0]! };
  }

  it('brings the picture of our prompt and seed to the same result that a native miner sends', async () => {
    const { sent, brought } = await calledBack({});
    expect(brought.path).toBe(`/miners/callback/${sent.job.id}/1`);
    expect(brought.headers['x-callback-secret']).toBe(callbackSecret(urlSecret, sent.job.id, 1));
    const { result, receipt, endMs } = await read(targetOf(sent), brought);
    expect(result.manifest).toEqual({ job_id: sent.job.id, attempt: 1, status: 'completed', files: ['image_0'] });
    expect(result.files.get('image_0')?.equals(await dippyPicture(inference()))).toBe(true);
    expect(receipt).toBeNull();
    expect(endMs).toBeLessThanOrEqual(performance.now());
  });

  it('may overtake the reply that accepts the job', async () => {
    const { brought } = await calledBack({ callbackFirst: true });
    expect(brought).toBeDefined();
    expect(came).toHaveLength(1);
  });

  it('of a failed job carries the reason, in their plain form', async () => {
    const { sent, brought } = await calledBack({ fails: 'CUDA out of memory & more' });
    expect(brought.headers['content-type']).toBe('application/x-www-form-urlencoded');
    const { result } = await read(targetOf(sent), brought);
    expect(result.manifest).toMatchObject({ status: 'failed', error: 'CUDA out of memory & more' });
  });

  it.each<[DippyQuirks, RegExp]>([
    [{ emptyImage: true }, /^a completed job without an image$/],
    [{ missingImage: true }, /^a completed job without an image: its address alone is not followed/],
  ])('with %j is no result', async (quirks, reason) => {
    const { sent, brought } = await calledBack(quirks);
    await expect(read(targetOf(sent), brought)).rejects.toMatchObject({ name: 'ResultRefused', message: expect.stringMatching(reason) }); // prettier-ignore
  });

  it('of another job or attempt is no result of this one', async () => {
    const { sent, brought } = await calledBack({});
    for (const other of [{ jobId: randomUUID() }, { attemptNo: 2 }]) {
      await expect(read(targetOf(sent, other), brought)).rejects.toThrow(/another job or attempt/);
    }
  });

  it.each<[string, string, Buffer, RegExp]>([
    ['JSON', 'application/json', Buffer.from('{}'), /not multipart/],
    [
      'an unknown status',
      'application/x-www-form-urlencoded',
      Buffer.from('job_id=ID&status=done'),
      /status has to be/,
    ],
    ['a form that never ends', 'application/x-www-form-urlencoded', Buffer.alloc(100_000, 65), /at most/],
    ['a form without a boundary', 'multipart/form-data', Buffer.from('x'), /no boundary/],
  ])('that is %s is no result', async (_, type, body, reason) => {
    const sent = dispatch();
    const id = dippyJobId(urlSecret, sent.job.id, 1);
    const named = Buffer.from(body.toString().replace('ID', id));
    const brought = { path: '', headers: { 'content-type': type }, body: named };
    await expect(read(targetOf(sent), brought)).rejects.toMatchObject({ message: expect.stringMatching(reason) });
  });
});

describe('what the dialect has words for', () => {
  it.each<[string, Partial<InferenceInput>, boolean]>([
    ['one image with the LoRA as trained', {}, true],
    ['two images', { numImages: 2 }, false],
    ['half of the LoRA', { loraScale: 0.5 }, false],
    ['a side that they refuse', { height: 48 }, false],
    ['the largest size', { width: 2_048, height: 2_048 }, true],
  ])('%s: %j', (_, more, can) => expect(canBeDippy('lora-inference', inference(more))).toBe(can));

  it('is no training', () => {
    const image = { sha256: 'c'.repeat(64), bytes: 1, contentType: 'image/png', width: 64, height: 64, pixelHash: '' };
    expect(canBeDippy('lora-training', { image, resolution: 64, steps: 1, rank: 1, seed: 1 })).toBe(false);
  });

  it('is every seed but 0, which they would replace', () => {
    expect(dippySeed(0)).toBe(2 ** 32 - 1);
    fc.assert(fc.property(fc.integer({ min: 1, max: 2 ** 32 - 1 }), (seed) => dippySeed(seed) === seed));
  });

  it('is an id of each attempt: always the same, never another’s', () => {
    const attempt = fc.tuple(fc.uuid(), fc.integer({ min: 1, max: 9 }));
    fc.assert(
      fc.property(fc.uniqueArray(attempt, { selector: String, minLength: 2 }), (attempts) => {
        const ids = attempts.map(([id, no]) => dippyJobId(urlSecret, id, no));
        const again = attempts.map(([id, no]) => dippyJobId(urlSecret, id, no));
        expect(again).toEqual(ids);
        expect(new Set(ids).size).toBe(ids.length);
        expect(ids.every(isUuid)).toBe(true);
      }),
    );
    const [id] = [randomUUID()];
    expect(dippyJobId(urlSecret, id, 1)).not.toBe(dippyJobId('another secret', id, 1));
  });
});
