import { hotkeyFromSeed, signText, verifyText } from './hotkey';
import { sha256Hex } from './canonical';
import {
  checkClaim,
  HEADERS,
  MAX_CLOCK_SKEW_MS,
  readSignedReply,
  readSignedRequest,
  signReply,
  signRequest,
  signWith,
  unsignedReply,
  unsignedRequest,
  verifyReply,
  verifyRequest,
} from './signatures';

const orchestrator = hotkeyFromSeed('01'.repeat(32));
const miner = hotkeyFromSeed('02'.repeat(32));
const stranger = hotkeyFromSeed('03'.repeat(32));
const nowMs = 1_760_000_000_000;
const request = {
  method: 'POST',
  path: '/v1/jobs?wait=1',
  body: '{"job_id":"a"}',
  nowMs,
  nonce: '0f8fad5b-d9cb-469f-a165-70867728950e',
  recipient: miner.address,
};
const headers = signRequest(request, orchestrator);

describe('a signed request', () => {
  it('is accepted by its recipient, who learns the signer and the nonce', () => {
    expect(verifyRequest({ ...request, headers })).toEqual({
      ok: true,
      hotkey: orchestrator.address,
      nonce: request.nonce,
    });
  });

  it('signs exactly method|path|sha256hex(body)|timestamp|nonce|recipient', () => {
    const message = `POST|/v1/jobs?wait=1|${sha256Hex(request.body)}|${nowMs}|${request.nonce}|${miner.address}`;
    const byHand = { ...headers, [HEADERS.signature]: signText(orchestrator, message) };
    expect(verifyRequest({ ...request, headers: byHand })).toMatchObject({ ok: true });
  });

  it('takes the body as text, as bytes or as a hash', () => {
    const bytes = Buffer.from(request.body);
    expect(verifyRequest({ ...request, body: bytes, headers })).toMatchObject({ ok: true });
    expect(verifyRequest({ ...request, body: { sha256: sha256Hex(bytes) }, headers })).toMatchObject({ ok: true });
  });

  it.each([
    ['method', { method: 'PUT' }],
    ['path', { path: '/v1/jobs?wait=2' }],
    ['body', { body: '{"job_id":"b"}' }],
  ])('is refused when its %s was changed', (_, change) => {
    expect(verifyRequest({ ...request, ...change, headers })).toMatchObject({ ok: false, reason: 'bad-signature' });
  });

  it.each([
    ['timestamp', String(nowMs + 1)],
    ['nonce', '0f8fad5b-d9cb-469f-a165-70867728950f'],
    ['hotkey', stranger.address],
  ] as const)('is refused when the header of its %s was changed', (part, value) => {
    const changed = { ...headers, [HEADERS[part]]: value };
    expect(verifyRequest({ ...request, headers: changed })).toMatchObject({ ok: false, reason: 'bad-signature' });
  });

  it.each(Object.keys(HEADERS) as (keyof typeof HEADERS)[])('is refused without its %s', (part) => {
    const verdict = verifyRequest({ ...request, headers: { ...headers, [HEADERS[part]]: undefined } });
    expect(verdict).toMatchObject({ ok: false, reason: 'missing', message: expect.stringContaining(HEADERS[part]) });
  });

  it.each([
    ['hotkey', '5Nonsense'],
    ['timestamp', '01760000000000'],
    ['timestamp', '1e12'],
    ['nonce', 'a|b'],
    ['nonce', request.nonce.toUpperCase()],
    ['recipient', 'anyone'],
    ['signature', '0x12'],
    ['signature', headers[HEADERS.signature]!.toUpperCase()],
  ] as const)('is refused when its %s is %s', (part, value) => {
    const verdict = verifyRequest({ ...request, headers: { ...headers, [HEADERS[part]]: value } });
    expect(verdict).toMatchObject({ ok: false, reason: 'malformed' });
  });

  it('is refused when a header comes twice', () => {
    const twice = { ...headers, [HEADERS.nonce]: [request.nonce, request.nonce] };
    expect(verifyRequest({ ...request, headers: twice })).toMatchObject({ ok: false, reason: 'malformed' });
  });

  it('is refused by anyone it is not meant for', () => {
    const verdict = verifyRequest({ ...request, recipient: stranger.address, headers });
    expect(verdict).toMatchObject({ ok: false, reason: 'wrong-recipient' });
  });

  it.each([
    [MAX_CLOCK_SKEW_MS, true],
    [-MAX_CLOCK_SKEW_MS, true],
    [MAX_CLOCK_SKEW_MS + 1, false],
    [-MAX_CLOCK_SKEW_MS - 1, false],
  ])('read %d ms after it was signed gives ok = %p', (lateMs, ok) => {
    const verdict = verifyRequest({ ...request, nowMs: nowMs + lateMs, headers });
    expect(verdict).toMatchObject(ok ? { ok } : { ok, reason: 'stale' });
  });
});

describe('a signed reply', () => {
  const reply = { status: 200, body: 'result', nonce: request.nonce, recipient: orchestrator.address };
  const signed = signReply(reply, miner);
  const asked = { ...reply, headers: signed, expectedHotkey: miner.address };

  it('is accepted and yields the signature for the receipt', () => {
    expect(verifyReply(asked)).toEqual({ ok: true, hotkey: miner.address, signature: signed[HEADERS.signature] });
  });

  it('signs exactly status|sha256hex(body)|request nonce|recipient', () => {
    const message = `200|${sha256Hex('result')}|${request.nonce}|${orchestrator.address}`;
    const byHand = { ...signed, [HEADERS.signature]: signText(miner, message) };
    expect(verifyReply({ ...asked, headers: byHand })).toMatchObject({ ok: true });
  });

  it.each([
    ['status', { status: 202 }],
    ['body', { body: 'other' }],
    ['nonce of another request', { nonce: '1f8fad5b-d9cb-469f-a165-70867728950e' }],
    ['recipient', { recipient: stranger.address }],
  ])('is refused with another %s', (_, change) => {
    expect(verifyReply({ ...asked, ...change })).toMatchObject({ ok: false, reason: 'bad-signature' });
  });

  it('is refused from another hotkey than the one asked, even if well signed', () => {
    const verdict = verifyReply({ ...asked, headers: signReply(reply, stranger) });
    expect(verdict).toMatchObject({ ok: false, reason: 'wrong-signer' });
  });

  it('is refused without a signature', () => {
    expect(verifyReply({ ...asked, headers: {} })).toMatchObject({ ok: false, reason: 'missing' });
  });

  it('cannot be passed off as a request', () => {
    const asRequest = { ...headers, ...signed };
    expect(verifyRequest({ ...request, headers: asRequest })).toMatchObject({ ok: false, reason: 'bad-signature' });
  });
});

describe('signing and checking elsewhere', () => {
  const signer = { address: miner.address, sign: async (message: string) => signText(miner, message) };
  const verifier = { verify: async (...claim: [string, string, string]) => verifyText(...claim) };
  const reply = { status: 200, body: 'result', nonce: request.nonce, recipient: orchestrator.address };

  it('gives what signing at once gives', async () => {
    const sent = { ...request, recipient: orchestrator.address };
    const signedRequest = await signWith(unsignedRequest(sent, signer.address), signer);
    expect(Object.keys(signedRequest)).toEqual(Object.keys(signRequest(sent, miner)));
    expect(verifyRequest({ ...sent, headers: signedRequest })).toMatchObject({ ok: true, hotkey: miner.address });
    const signedReply = await signWith(unsignedReply(reply, signer.address), signer);
    expect(verifyReply({ ...reply, headers: signedReply, expectedHotkey: miner.address })).toMatchObject({ ok: true });
  });

  it('reads a request into a claim that says all a caller records', () => {
    expect(readSignedRequest({ ...request, headers })).toMatchObject({
      ok: true,
      hotkey: orchestrator.address,
      nonce: request.nonce,
      recipient: miner.address,
      timestamp: String(nowMs),
      signature: headers[HEADERS.signature],
      message: unsignedRequest(request, orchestrator.address).message,
    });
  });

  it('asks the verifier about a claim, and not about a refusal', async () => {
    const claim = readSignedRequest({ ...request, headers });
    expect(await checkClaim(claim, verifier)).toBe(claim);
    const other = readSignedRequest({ ...request, body: 'other', headers });
    expect(await checkClaim(other, verifier)).toMatchObject({ ok: false, reason: 'bad-signature' });
    const stale = readSignedRequest({ ...request, nowMs: 0, headers });
    const unasked = { verify: () => Promise.reject(new Error('nobody is to be asked')) };
    expect(await checkClaim(stale, unasked)).toBe(stale);
    await expect(checkClaim(claim, unasked)).rejects.toThrow('nobody');
  });

  it('leaves of a reply what the curve has yet to prove', async () => {
    const read = readSignedReply({ ...reply, headers: signReply(reply, miner), expectedHotkey: miner.address });
    expect(await checkClaim(read, verifier)).toMatchObject({ ok: true, hotkey: miner.address });
    const changed = readSignedReply({
      ...{ ...reply, body: 'other' },
      ...{ headers: signReply(reply, miner), expectedHotkey: miner.address },
    });
    expect(changed).toMatchObject({ ok: true });
    expect(await checkClaim(changed, verifier)).toMatchObject({ ok: false, reason: 'bad-signature' });
  });

  it('is refused when our own clock is not known', () => {
    expect(readSignedRequest({ ...request, nowMs: Number.NaN, headers })).toMatchObject({ ok: false, reason: 'stale' });
  });
});
