import { createHash, randomUUID } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { MinerReceipt } from '@studio/shared/contract/receipt';
import { StudioError } from '@studio/shared/domain/errors';
import { createEgress, type Egress } from '@studio/shared/platform/egress';
import { hotkeyFromSeed, signText, verifyText, type Signer, type Verifier } from '@studio/shared/protocol/hotkey';
import { signRequest, verifyRequest } from '@studio/shared/protocol/signatures';
import {
  resultForm,
  signedCallback,
  startStubMiner,
  type Forgery,
  type StubMiner,
} from '@studio/shared/testing/stub-miner';
import { ArtifactUrls } from '../artifact-urls';
import { callbackSecret } from '../callback-secret';
import type { ClaimedJob } from '../dispatch.store';
import { ResultRefused } from '../miner-result';
import type { CallbackTarget } from '../result.store';
import type { Dispatch, MinerAnswer } from './dialect';
import { NativeDialect } from './native';

const orchestrator = hotkeyFromSeed('33'.repeat(32));
const stranger = hotkeyFromSeed('44'.repeat(32));
const signer: Signer = { address: orchestrator.address, sign: async (text) => signText(orchestrator, text) };
const verifier: Verifier = { verify: async (...claim) => verifyText(...claim) };
const publicUrl = 'http://studio.test/behind/a/proxy';
const urlSecret = 's'.repeat(64);
const image = Buffer.from(Array.from({ length: 30_000 }, (_, at) => (at * 31) % 256));

let miner: StubMiner;
let egress: Egress;
beforeEach(async () => {
  miner = await startStubMiner(randomUUID());
  egress = createEgress({ allowPrivate: true, maxConnectionsPerOrigin: 8 });
});
afterEach(async () => {
  await egress.close();
  await miner.close();
});

function dialect(more: { signer?: Signer; verifier?: Verifier } = {}): NativeDialect {
  const urls = new ArtifactUrls({ publicUrl, secret: urlSecret, ttlSeconds: 60 });
  return new NativeDialect({ egress, urls, signer, verifier, publicUrl, urlSecret, ...more });
}

function job(): ClaimedJob {
  const lora = { sha256: 'a'.repeat(64), bytes: 1, contentType: 'x', rank: 4, tensorHash: 'b'.repeat(64) };
  return {
    id: randomUUID(),
    kind: 'lora-inference',
    engine: 'ref-sep-v1',
    input: { lora, prompt: 'a cat', width: 64, height: 64, seed: 1, loraScale: 1, warp: 0, numImages: 1 },
    routing: {},
    timeoutMs: 10_000,
    leaseNo: 1,
    attemptNo: 1,
    remainingMs: 30_000,
    attempts: [],
  };
}

function dispatch(more: Partial<Dispatch> = {}): Dispatch {
  const signal = new AbortController().signal;
  return { job: job(), attemptNo: 1, miner: miner.routable, deadlineMs: 10_000, signal, ...more };
}

const works = (forge?: Forgery): StubMiner['answer'] => {
  return (request) => ({ status: 200, form: resultForm(request, { image_0: image }), ...(forge && { forge }) });
};

/** Independent of the product's own readers: the text is put together here. */
function isGenuine(receipt: MinerReceipt): boolean {
  const { body_sha256, nonce, recipient, hotkey, signature } = receipt;
  const head = receipt.form === 'reply' ? [receipt.status] : [receipt.method, receipt.path];
  const time = receipt.form === 'reply' ? [] : [receipt.timestamp];
  const text = [...head, body_sha256, ...time, nonce, recipient].join('|');
  return verifyText(hotkey, text, signature);
}

describe('a native job', () => {
  it('is asked for signed, and its signed result becomes the receipt', async () => {
    miner.answer = works();
    const answer = await dialect().dispatch(dispatch());
    if (answer.type !== 'result') throw new Error(JSON.stringify(answer));
    expect(miner.refused).toEqual([]);
    expect(answer.result.files.get('image_0')?.equals(image)).toBe(true);
    expect(answer.receipt).toMatchObject({ form: 'reply', status: 200, hotkey: miner.hotkey });
    expect(answer.receipt).toMatchObject({ recipient: orchestrator.address });
    expect(isGenuine(answer.receipt!)).toBe(true);
    expect(isGenuine({ ...answer.receipt!, nonce: randomUUID() })).toBe(false);
  });

  it('is signed with a fresh nonce each time it is sent, so that a strict miner takes the repetition', async () => {
    miner.answer = works();
    const same = dispatch();
    const answers = [await dialect().dispatch(same), await dialect().dispatch(same)];
    expect(answers.map(({ type }) => type)).toEqual(['result', 'result']);
    expect(miner.refused).toEqual([]);
  });

  it.each<[string, () => Forgery, RegExp]>([
    ['no signature', () => 'unsigned', /lacks x-studio-hotkey.*sign status\|sha256hex\(body\)/],
    ['the signature of another key', () => ({ signer: stranger }), /another hotkey/],
    ['a signature over another body', () => ({ body: Buffer.from('x') }), /does not match/],
    ['a signature for another question', () => ({ nonce: randomUUID() }), /does not match/],
  ])('with %s on its result is invalid, and the miner is told what to sign', async (_, forge, reason) => {
    miner.answer = works(forge());
    expect(await dialect().dispatch(dispatch())).toEqual({
      type: 'ended',
      state: 'invalid',
      fault: 'miner',
      reason: expect.stringMatching(reason),
    });
  });

  it('does not take the signed answer to an earlier question for the same job', async () => {
    const nonces: string[] = [];
    const remembering: Signer = {
      ...signer,
      sign: async (text) => (nonces.push(text.split('|')[4]!), signText(orchestrator, text)),
    };
    const same = dispatch();
    miner.answer = works();
    await dialect({ signer: remembering }).dispatch(same);
    miner.answer = works({ nonce: nonces[0]! });
    expect(await dialect({ signer: remembering }).dispatch(same)).toMatchObject({ state: 'invalid' });
  });

  it.each<[number, MinerAnswer]>([
    [202, { type: 'accepted' }],
    [429, { type: 'ended', state: 'busy', fault: 'none', reason: 'the miner was busy' }],
    [422, { type: 'ended', state: 'failed', fault: 'miner', reason: 'the miner refused the input (HTTP 422)' }],
    [500, { type: 'ended', state: 'failed', fault: 'miner', reason: 'the miner answered HTTP 500' }],
  ])('needs no signature on a %i', async (status, answer) => {
    miner.answer = () => ({ status });
    expect(await dialect().dispatch(dispatch())).toEqual(answer);
  });

  it('is timed from after our signature to the last byte, before our verification', async () => {
    miner.answer = works();
    let [signedMs, verifyMs] = [0, 0];
    const timed = dialect({
      signer: { ...signer, sign: async (text) => ((signedMs = performance.now()), signText(orchestrator, text)) },
      verifier: { verify: async (...claim) => ((verifyMs = performance.now()), verifyText(...claim)) },
    });
    const answer = await timed.dispatch(dispatch());
    if (answer.type !== 'result') throw new Error(JSON.stringify(answer));
    expect(answer.span.startMs).toBeGreaterThanOrEqual(signedMs);
    expect(answer.span.endMs).toBeLessThanOrEqual(verifyMs);
    expect(answer.span.endMs).toBeGreaterThan(answer.span.startMs);
  });

  it('that we could not sign or verify is held against nobody', async () => {
    miner.answer = works();
    const overrun = async (): Promise<never> => {
      throw new StudioError('DEPENDENCY_DOWN', 'too many');
    };
    for (const parts of [{ signer: { ...signer, sign: overrun } }, { verifier: { verify: overrun } }]) {
      expect(await dialect(parts).dispatch(dispatch())).toMatchObject({ state: 'failed', fault: 'ours' });
    }
  });

  it('that we gave up says nothing about the miner', async () => {
    const abort = new AbortController();
    miner.answer = () => (abort.abort(), 'hang');
    expect(await dialect().dispatch(dispatch({ signal: abort.signal }))).toEqual({ type: 'abandoned' });
  });

  it('is cancelled by a signed DELETE', async () => {
    const id = randomUUID();
    await dialect().cancel(miner.routable, id);
    expect([miner.cancelled, miner.refused]).toEqual([[id], []]);
  });

  it('is signed over the path that the miner sees, also behind a path of its own', async () => {
    const heard: { url: string; body: Buffer; headers: Record<string, string | string[] | undefined> }[] = [];
    const server: Server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        heard.push({ url: request.url ?? '', body: Buffer.concat(chunks), headers: request.headers });
        response.writeHead(202).end();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}/my/miner/`;
    await dialect().dispatch(dispatch({ miner: { ...miner.routable, endpoint } }));
    server.close();
    server.closeAllConnections();
    const { url, body, headers } = heard[0]!;
    expect(url).toBe('/my/miner/v1/jobs');
    const request = { method: 'POST', path: url, body, nowMs: Date.now(), recipient: miner.hotkey, headers };
    expect(verifyRequest(request)).toMatchObject({ ok: true, hotkey: orchestrator.address });
  });
});

describe('a native callback', () => {
  /** An accepted attempt, as its miner was asked and as the database remembers it. */
  async function accepted() {
    miner.answer = () => ({ status: 202 });
    const sent = dispatch();
    expect(await dialect().dispatch(sent)).toEqual({ type: 'accepted' });
    const { id: jobId, kind, engine, input, timeoutMs } = sent.job;
    const target: CallbackTarget = {
      jobId,
      attemptNo: 1,
      hotkey: miner.hotkey,
      kind,
      engine,
      input,
      timeoutMs,
      state: 'open',
      dialect: 'native',
      callbackHash: Buffer.alloc(0),
      sinceSentUs: 0,
    };
    return { asked: miner.asked[0]!, target };
  }

  async function* pieces(bytes: Buffer): AsyncGenerator<Buffer> {
    for (let at = 0; at < bytes.length; at += 1_000) yield bytes.subarray(at, at + 1_000);
  }

  type Sent = { headers: Record<string, string>; body: Buffer };
  const read = (target: CallbackTarget, { headers, body }: Sent) =>
    dialect().readCallback({ target, headers, body: pieces(body) });

  it('is read with its signature, which becomes the receipt', async () => {
    const { asked, target } = await accepted();
    expect(asked.callback.secret).toBe(callbackSecret(urlSecret, target.jobId, 1));
    const beforeMs = performance.now();
    const sent = await signedCallback(asked, resultForm(asked, { image_0: image }));
    const { result, receipt, endMs } = await read(target, sent);
    expect(result.files.get('image_0')?.equals(image)).toBe(true);
    expect(receipt).toMatchObject({ form: 'request', method: 'POST', hotkey: miner.hotkey });
    expect(receipt).toMatchObject({ path: `/behind/a/proxy/miners/callback/${target.jobId}/1` });
    expect(receipt).toMatchObject({ body_sha256: createHash('sha256').update(sent.body).digest('hex') });
    expect(isGenuine(receipt!)).toBe(true);
    expect(endMs).toBeGreaterThan(beforeMs);
  });

  const changes: [string, (sent: Sent) => Sent, RegExp][] = [
    ['without a signature', ({ headers, body }) => ({ headers: pick(headers), body }), /x-studio-hotkey is missing/],
    ['with other bytes', ({ headers, body }) => ({ headers, body: flipped(body) }), /does not match/],
    ['cut short', ({ headers, body }) => ({ headers, body: body.subarray(0, -20) }), /does not match/],
    ['with other bytes that are no form', ({ headers }) => ({ headers, body: Buffer.from('x') }), /does not match/],
    ['an hour old', (sent) => resigned(sent, { nowMs: Date.now() - 3_600_000 }), /away from our clock/],
    ['from the future', (sent) => resigned(sent, { nowMs: Date.now() + 60_000 }), /away from our clock/],
    ['signed for another', (sent) => resigned(sent, { recipient: stranger.address }), /sign for/],
    ['signed for another path', (sent) => resigned(sent, { path: '/elsewhere' }), /does not match/],
  ];
  it.each(changes)('%s is refused, and nothing is said about the attempt', async (_, change, message) => {
    const { asked, target } = await accepted();
    path = new URL(asked.callback.url).pathname;
    const sent = change(await signedCallback(asked, resultForm(asked, { image_0: image })));
    const refused = await read(target, sent).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(StudioError);
    expect(refused).toMatchObject({ code: 'SIGNATURE_REFUSED', message: expect.stringMatching(message) });
  });

  it('of another hotkey is refused, whatever it brings', async () => {
    const { asked, target } = await accepted();
    const sent = await signedCallback(asked, resultForm(asked, { image_0: image }), stranger);
    await expect(read(target, sent)).rejects.toMatchObject({ code: 'SIGNATURE_REFUSED' });
  });

  it('that is rightly signed and no result ends the attempt', async () => {
    const { asked, target } = await accepted();
    const sent = await signedCallback(asked, resultForm(asked, { other: image }));
    await expect(read(target, sent)).rejects.toThrow(ResultRefused);
    path = new URL(asked.callback.url).pathname;
    // Given up before its first byte was read: the signature is over the others as well.
    const unbounded = resigned({ ...sent, headers: { 'content-type': 'multipart/form-data' } }, {});
    await expect(read(target, unbounded)).rejects.toThrow(/no boundary/);
  });

  it('that is too large is nobody’s: it is not read to its end', async () => {
    const { asked, target } = await accepted();
    const sent = await signedCallback(asked, resultForm(asked, { image_0: image }));
    async function* endless(): AsyncGenerator<Buffer> {
      for (;;) yield Buffer.alloc(1_048_576, 1);
    }
    const reading = dialect().readCallback({ target, headers: sent.headers, body: endless() });
    await expect(reading).rejects.toMatchObject({ code: 'BODY_TOO_LARGE' });
  });

  it('whose stream breaks is as if it had not come', async () => {
    const { asked, target } = await accepted();
    const { headers, body } = await signedCallback(asked, resultForm(asked, { image_0: image }));
    const broken = new Error('the connection broke');
    async function* breaking(): AsyncGenerator<Buffer> {
      yield body.subarray(0, 500);
      throw broken;
    }
    await expect(dialect().readCallback({ target, headers, body: breaking() })).rejects.toBe(broken);
  });

  let path = '';
  const pick = (headers: Record<string, string>): Record<string, string> => ({
    'content-type': headers['content-type']!,
  });
  const flipped = (body: Buffer): Buffer => {
    const copy = Buffer.from(body);
    copy[copy.length >> 1]! ^= 1;
    return copy;
  };
  const resigned = ({ headers, body }: Sent, more: object): Sent => {
    const request = { method: 'POST', path, body, nowMs: Date.now(), nonce: randomUUID() };
    const signature = signRequest({ ...request, recipient: orchestrator.address, ...more }, miner.key);
    return { headers: { ...pick(headers), ...signature }, body };
  };
});
