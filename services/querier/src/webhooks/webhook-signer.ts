/**
 * fal's signature of a webhook: Ed25519 over request id, user id, unix seconds and the SHA-256 of the body in hex, one a line.
 * Receivers find the public keys at `/.well-known/jwks.json`. Every replica derives the same keys from the secrets.
 */
import { createHash, createHmac, createPrivateKey, createPublicKey, sign, type KeyObject } from 'node:crypto';

export interface Jwk {
  kty: 'OKP';
  crv: 'Ed25519';
  /** base64url */
  x: string;
  kid: string;
  use: 'sig';
  alg: 'EdDSA';
}

export interface Jwks {
  keys: Jwk[];
}

export interface WebhookSecrets {
  /** Signs. */
  secret: string;
  /** Published beside it and signs nothing: the next one before a rotation, the last one after it. */
  other?: string | undefined;
}

/** PKCS#8 of an Ed25519 key (RFC 8410): this, then the seed of 32 bytes. */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');

export class WebhookSigner {
  readonly jwks: Jwks;
  private readonly key: KeyObject;

  constructor({ secret, other }: WebhookSecrets) {
    this.key = keyOf(secret);
    this.jwks = { keys: [this.key, ...(other === undefined ? [] : [keyOf(other)])].map(jwkOf) };
  }

  /** @param body exactly the bytes that are sent. */
  headers(requestId: string, userId: string, body: string, nowMs: number): Record<string, string> {
    const seconds = Math.floor(nowMs / 1_000).toString();
    const hash = createHash('sha256').update(body).digest('hex');
    const signature = sign(null, Buffer.from([requestId, userId, seconds, hash].join('\n')), this.key);
    return {
      'x-fal-webhook-request-id': requestId,
      'x-fal-webhook-user-id': userId,
      'x-fal-webhook-timestamp': seconds,
      'x-fal-webhook-signature': signature.toString('hex'),
    };
  }
}

/** The word keeps the key apart from whatever else the secret is used for. */
function keyOf(secret: string): KeyObject {
  const seed = createHmac('sha256', secret).update('webhook signing key').digest();
  return createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: 'der', type: 'pkcs8' });
}

function jwkOf(key: KeyObject): Jwk {
  const x = String(createPublicKey(key).export({ format: 'jwk' }).x);
  const kid = createHash('sha256').update(x).digest('hex').slice(0, 16);
  return { kty: 'OKP', crv: 'Ed25519', x, kid, use: 'sig', alg: 'EdDSA' };
}
