import { doubtOf } from './webhook-receiver.rig';
import { WebhookSigner } from './webhook-signer';

const NOW_S = 1_800_000_000;
const RAW = '{"request_id":"r","status":"OK","payload":{"prompt":"schön ☕"}}';
const [first, second, third] = ['11', '22', '33'].map((byte) => byte.repeat(32)) as [string, string, string];
const signer = new WebhookSigner({ secret: first });
const headers = signer.headers('r', 'u', RAW, NOW_S * 1_000 + 999);

describe('a signed webhook', () => {
  it('is believed by a receiver that knows the published keys', () => {
    expect(doubtOf({ headers, raw: RAW }, signer.jwks, NOW_S)).toBeUndefined();
  });

  it.each<[string, Record<string, string>, string]>([
    ['another body', {}, RAW.replace('OK', 'ok')],
    ['another request', { 'x-fal-webhook-request-id': 's' }, RAW],
    ['another user', { 'x-fal-webhook-user-id': 'v' }, RAW],
    ['another time', { 'x-fal-webhook-timestamp': String(NOW_S + 1) }, RAW],
    ['another signature', { 'x-fal-webhook-signature': '00'.repeat(64) }, RAW],
  ])('is not believed with %s', (_, changed, raw) => {
    expect(doubtOf({ headers: { ...headers, ...changed }, raw }, signer.jwks, NOW_S)).toMatch(/signature/);
  });

  it('is not believed more than five minutes later', () => {
    expect(doubtOf({ headers, raw: RAW }, signer.jwks, NOW_S + 300)).toBeUndefined();
    expect(doubtOf({ headers, raw: RAW }, signer.jwks, NOW_S + 301)).toMatch(/time/);
  });

  it('is not believed by the key of another installation', () => {
    expect(doubtOf({ headers, raw: RAW }, new WebhookSigner({ secret: second }).jwks, NOW_S)).toMatch(/signature/);
  });
});

describe('the published keys', () => {
  it('are public, the same in every replica, and have the form of RFC 8037', () => {
    expect(new WebhookSigner({ secret: first }).jwks).toEqual(signer.jwks);
    expect(signer.jwks.keys).toEqual([
      {
        kty: 'OKP',
        crv: 'Ed25519',
        x: expect.stringMatching(/^[\w-]{43}$/) as string,
        kid: expect.stringMatching(/^[0-9a-f]{16}$/) as string,
        use: 'sig',
        alg: 'EdDSA',
      },
    ]);
    expect(JSON.stringify(signer.jwks)).not.toContain(first);
  });

  it('carry a receiver over a rotation, whichever of the replicas signs meanwhile', () => {
    const before = new WebhookSigner({ secret: first, other: second });
    const after = new WebhookSigner({ secret: second, other: first });
    for (const sender of [before, after]) {
      const signed = { headers: sender.headers('r', 'u', RAW, NOW_S * 1_000), raw: RAW };
      for (const { jwks } of [before, after]) expect(doubtOf(signed, jwks, NOW_S)).toBeUndefined();
    }
    const gone = new WebhookSigner({ secret: second, other: third });
    expect(doubtOf({ headers, raw: RAW }, gone.jwks, NOW_S)).toMatch(/signature/);
  });
});
