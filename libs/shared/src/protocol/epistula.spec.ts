import fc from 'fast-check';
import { createHash } from 'node:crypto';
import {
  EPISTULA,
  readAnySignedRequest,
  readEpistula,
  signEpistula,
  unsignedEpistula,
  type EpistulaForm,
} from './epistula';
import { hotkeyFromSeed, signText } from './hotkey';
import { checkClaimNow, HEADERS, MAX_CLOCK_SKEW_MS, signRequest, type IncomingHeaders } from './signatures';

const orchestrator = hotkeyFromSeed('01'.repeat(32));
const miner = hotkeyFromSeed('02'.repeat(32));
const stranger = hotkeyFromSeed('03'.repeat(32));
const nowMs = 1_760_000_000_000;
const nonce = '0f8fad5b-d9cb-469f-a165-70867728950e';
const request = { method: 'PUT', path: '/v1/miners', body: '{"a":1}', nowMs, nonce, recipient: orchestrator.address };
const FORMS = ['epistula-2', 'epistula-dippy'] as const;

const verdict = (headers: IncomingHeaders, change: object = {}) =>
  checkClaimNow(readAnySignedRequest({ ...request, ...change, headers }));

/** Written from the published description alone, as a miner's author would. */
function byHand(form: EpistulaForm, signedFor: string, body = request.body): Record<string, string> {
  const digest = createHash('sha256').update(body, 'utf8').digest('hex');
  const signature = signText(miner, `${digest}.${nonce}.${nowMs}.${signedFor}`);
  return {
    'epistula-timestamp': `${nowMs}`,
    'epistula-uuid': nonce,
    'epistula-signed-by': miner.address,
    ...(signedFor && { 'epistula-signed-for': signedFor }),
    ...(form === 'epistula-2'
      ? { 'epistula-version': '2', 'epistula-request-signature': signature }
      : { authorization: `Epistula ${signature}` }),
  };
}

describe.each(FORMS)('a request signed in the form %s', (form) => {
  const headers = byHand(form, orchestrator.address);

  it('is accepted by its recipient, who learns the form, the signer, the uuid, the recipient and the time', () => {
    expect(verdict(headers)).toMatchObject({
      ok: true,
      form,
      hotkey: miner.address,
      nonce,
      recipient: orchestrator.address,
      timestamp: `${nowMs}`,
    });
  });

  it('has the headers that the description gives it', () => {
    const signed = signEpistula(form, request, miner);
    const signatures = [EPISTULA.requestSignature, EPISTULA.authorization, EPISTULA.signature] as const;
    const rest = (all: Record<string, string>) =>
      Object.entries(all).filter(([name]) => !signatures.some((one) => one === name));
    expect(rest(signed)).toEqual(expect.arrayContaining(rest(headers)));
    expect(rest(signed)).toHaveLength(rest(headers).length);
    expect(verdict(signed)).toMatchObject({ ok: true });
  });

  it('takes every body, empty ones too, and refuses every other one', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.uint8Array(), (body, other) => {
        const signed = unsignedEpistula(form, { ...request, body }, miner.address);
        const read = (sent: Uint8Array) =>
          readAnySignedRequest({ ...request, body: sent, headers: signed.withSignature(`0x${'00'.repeat(64)}`) });
        const isSame = Buffer.compare(body, other) === 0;
        expect(read(body)).toMatchObject({ ok: true, message: signed.message });
        expect((read(other) as { message: string }).message === signed.message).toBe(isSame);
      }),
    );
    expect(verdict(byHand(form, orchestrator.address, ''), { method: 'GET', body: '' })).toMatchObject({ ok: true });
  });

  it('is refused when one byte of its body, its uuid, its time or its signer was changed', () => {
    const refused = { ok: false, reason: 'bad-signature', message: expect.stringContaining('sha256hex(body).uuid') };
    expect(verdict(headers, { body: '{"a":2}' })).toMatchObject(refused);
    expect(verdict({ ...headers, [EPISTULA.uuid]: nonce.replace('0f', '1f') })).toMatchObject(refused);
    expect(verdict({ ...headers, [EPISTULA.timestamp]: `${nowMs + 1}` })).toMatchObject(refused);
    expect(verdict({ ...headers, [EPISTULA.signedBy]: stranger.address })).toMatchObject(refused);
  });

  it('is refused by anyone it is not meant for', () => {
    expect(verdict(headers, { recipient: stranger.address })).toMatchObject({ ok: false, reason: 'wrong-recipient' });
    const passedOn = { ...headers, [EPISTULA.signedFor]: stranger.address };
    expect(verdict(passedOn, { recipient: stranger.address })).toMatchObject({ ok: false, reason: 'bad-signature' });
  });

  it.each([
    [MAX_CLOCK_SKEW_MS, true],
    [-MAX_CLOCK_SKEW_MS, true],
    [MAX_CLOCK_SKEW_MS + 1, false],
    [-MAX_CLOCK_SKEW_MS - 1, false],
    [Number.NaN, false],
  ])('read %d ms after it was signed gives ok = %p', (lateMs, ok) => {
    expect(verdict(headers, { nowMs: nowMs + lateMs })).toMatchObject(ok ? { ok } : { ok, reason: 'stale' });
  });

  it.each([EPISTULA.timestamp, EPISTULA.uuid, EPISTULA.signedBy, EPISTULA.signedFor])(
    'is refused without %s, by its name',
    (name) => {
      for (const absent of [undefined, '']) {
        const without = verdict({ ...headers, [name]: absent });
        expect(without).toMatchObject({ ok: false, reason: 'missing', message: expect.stringContaining(name) });
      }
    },
  );

  it.each([
    [EPISTULA.timestamp, '1e12'],
    [EPISTULA.timestamp, '1760000000000.0'],
    [EPISTULA.uuid, 'a.b'],
    [EPISTULA.uuid, `${nonce}, ${nonce}`],
    [EPISTULA.uuid, [nonce, nonce]],
    [EPISTULA.signedBy, '5Nonsense'],
    [EPISTULA.signedFor, 'anyone'],
    [EPISTULA.signedFor, `${orchestrator.address}.`],
  ])('is refused when %s is %p, by its name', (name, value) => {
    const malformed = verdict({ ...headers, [name]: value });
    expect(malformed).toMatchObject({ ok: false, reason: 'malformed', message: expect.stringContaining(name) });
  });

  it('is refused without its signature, with the ways to send one', () => {
    const { [EPISTULA.requestSignature]: _2, [EPISTULA.version]: _v, authorization: _a, ...unsigned } = headers;
    const missing = verdict(unsigned);
    expect(missing).toMatchObject({ ok: false, reason: 'missing' });
    expect(missing).toMatchObject({ message: expect.stringMatching(/epistula-request-signature.*authorization/) });
  });

  it('counts one uuid in two cases as one', () => {
    const upper = { ...request, nonce: nonce.toUpperCase() };
    expect(verdict(signEpistula(form, upper, miner))).toMatchObject({ ok: true, nonce });
  });

  it('is refused when it carries the headers of another form as well', () => {
    const native = signRequest(request, miner);
    const other = byHand(form === 'epistula-2' ? 'epistula-dippy' : 'epistula-2', orchestrator.address);
    for (const more of [native, other, { [HEADERS.hotkey]: miner.address }]) {
      expect(verdict({ ...headers, ...more })).toMatchObject({ ok: false, reason: 'malformed' });
    }
  });
});

describe("Epistula's version 2", () => {
  const headers = byHand('epistula-2', '');

  it('may leave its recipient out where the reader allows it', () => {
    expect(verdict(headers, { recipientMayBeAbsent: true })).toMatchObject({ ok: true, recipient: '' });
    expect(verdict(headers)).toMatchObject({ ok: false, reason: 'missing' });
  });

  it('with a recipient is for that one alone, whatever the reader allows', () => {
    const named = byHand('epistula-2', stranger.address);
    expect(verdict(named, { recipientMayBeAbsent: true })).toMatchObject({ ok: false, reason: 'wrong-recipient' });
  });

  it.each([
    [EPISTULA.version, undefined, 'missing'],
    [EPISTULA.version, '1', 'malformed'],
    [EPISTULA.version, '2.0', 'malformed'],
    [EPISTULA.requestSignature, undefined, 'missing'],
    [EPISTULA.requestSignature, '0x12', 'malformed'],
    [EPISTULA.requestSignature, 'ab'.repeat(64), 'malformed'],
  ])('is refused when %s is %p', (name, value, reason) => {
    const refused = verdict({ ...byHand('epistula-2', orchestrator.address), [name]: value });
    expect(refused).toMatchObject({ ok: false, reason, message: expect.stringContaining(name) });
  });
});

describe("the Dippy Studio miners' dialect", () => {
  const headers = byHand('epistula-dippy', orchestrator.address);
  const signature = headers.authorization!.slice('Epistula '.length);

  it('may repeat its signature, and say nothing else there', () => {
    expect(verdict({ ...headers, [EPISTULA.signature]: signature })).toMatchObject({ ok: true });
    const another = `${signature.slice(0, -1)}${signature.endsWith('0') ? '1' : '0'}`;
    for (const different of [another, '', [signature, signature]]) {
      const refused = verdict({ ...headers, [EPISTULA.signature]: different });
      expect(refused).toMatchObject({ ok: false, reason: 'malformed' });
    }
  });

  it('is refused when only the repetition is sent', () => {
    const { authorization: _, ...rest } = headers;
    const refused = verdict({ ...rest, [EPISTULA.signature]: signature });
    expect(refused).toMatchObject({ ok: false, reason: 'missing', message: expect.stringContaining('authorization') });
  });

  it.each([
    ['the scheme alone', 'Epistula'],
    ['a short signature', 'Epistula 0x12'],
    ['two spaces', `Epistula  ${signature}`],
    ['something after the signature', `Epistula ${signature} more`],
  ])('is refused when Authorization has %s', (_, authorization) => {
    expect(verdict({ ...headers, authorization })).toMatchObject({ ok: false, reason: 'malformed' });
  });

  it('needs a recipient even where the reader would do without', () => {
    const without = byHand('epistula-dippy', '');
    expect(verdict(without, { recipientMayBeAbsent: true })).toMatchObject({ ok: false, reason: 'missing' });
    expect(() => signEpistula('epistula-dippy', { ...request, recipient: '' }, miner)).toThrow(RangeError);
  });

  it('is not taken for version 2 by a reader that speaks only one', () => {
    expect(readEpistula('epistula-2', { ...request, headers })).toMatchObject({ ok: false, reason: 'missing' });
    expect(readEpistula('epistula-dippy', { ...request, headers })).toMatchObject({ ok: true });
  });
});

describe('a request in any form', () => {
  it('is read in our native form too', () => {
    const headers = signRequest(request, miner);
    expect(verdict(headers)).toMatchObject({ ok: true, form: 'native', hotkey: miner.address, nonce });
    expect(verdict({ ...headers, authorization: 'Bearer key' })).toMatchObject({ ok: true, form: 'native' });
    expect(verdict({ ...headers, [EPISTULA.uuid]: nonce })).toMatchObject({ ok: false, reason: 'malformed' });
    expect(verdict(headers, { path: '/v1/other' })).toMatchObject({ ok: false, reason: 'bad-signature' });
  });

  it('is refused without any signature, with the headers to send', () => {
    for (const headers of [{}, { authorization: 'Bearer key' }]) {
      const refused = verdict(headers);
      expect(refused).toMatchObject({
        ok: false,
        reason: 'missing',
        message: expect.stringContaining(HEADERS.signature),
      });
    }
  });

  it('never throws, whatever headers strangers send', () => {
    const names = [...Object.values(HEADERS), ...Object.values(EPISTULA)];
    const values = fc.oneof(
      fc.string(),
      fc.constantFrom('2', nonce, String(nowMs), miner.address, orchestrator.address, `Epistula 0x${'00'.repeat(64)}`),
      fc.constant(`0x${'00'.repeat(64)}`),
      fc.array(fc.string()),
    );
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...names), values), (headers) => {
        const read = readAnySignedRequest({ ...request, headers });
        if (read.ok) expect(read.signature).toBe(`0x${'00'.repeat(64)}`);
        else expect(read.message).not.toBe('');
      }),
      { numRuns: 500 },
    );
  });
});
