import { signArtifactUrl, verifyArtifactUrl } from './signed-url';

const sha256 = 'ab'.repeat(32);
const secret = 'cd'.repeat(32);
const expiresAt = 1_760_000_000;
const url = new URL(signArtifactUrl({ baseUrl: 'https://api.example.com/v1/artifacts/', sha256, expiresAt, secret }));
const presented = {
  sha256,
  expires: url.searchParams.get('expires'),
  sig: url.searchParams.get('sig'),
  secret,
  nowMs: expiresAt * 1000,
};

describe('a signed artifact URL', () => {
  it('names the artifact below the base', () => {
    expect(url.origin + url.pathname).toBe(`https://api.example.com/v1/artifacts/${sha256}`);
  });

  it('is good until its last second', () => {
    expect(verifyArtifactUrl(presented)).toEqual({ ok: true });
    expect(verifyArtifactUrl({ ...presented, nowMs: expiresAt * 1000 + 1 })).toEqual({
      ok: false,
      reason: expect.stringContaining('expired'),
    });
  });

  it.each([
    ['another artifact', { sha256: 'ac'.repeat(32) }, 'does not belong'],
    ['a later expiry', { expires: String(expiresAt + 1) }, 'does not belong'],
    ['another secret', { secret: 'other' }, 'does not belong'],
    ['a signature of zeros', { sig: '0'.repeat(64) }, 'does not belong'],
    ['no expiry', { expires: undefined }, '`expires` is missing'],
    ['an expiry that is no number', { expires: '1e99' }, '`expires` is missing or not'],
    ['a repeated expiry', { expires: ['1', '2'] }, '`expires` is missing or not'],
    ['no signature', { sig: undefined }, '`sig` is missing'],
    ['a short signature', { sig: 'ab' }, '`sig` is missing or not'],
    [
      'an expiry with a leading zero and its own meaning',
      { expires: `0${expiresAt}`, sig: '0'.repeat(64) },
      'does not belong',
    ],
  ])('is refused with %s', (_, change, reason) => {
    expect(verifyArtifactUrl({ ...presented, ...change })).toEqual({
      ok: false,
      reason: expect.stringContaining(reason),
    });
  });
});
