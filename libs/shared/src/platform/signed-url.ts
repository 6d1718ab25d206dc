import { createHmac, timingSafeEqual } from 'node:crypto';

/**
 * Links that let a miner or a client fetch one artifact for a while without a key:
 * `{baseUrl}/{sha256}?expires={unix seconds}&sig={HMAC-SHA256 in hex}`.
 */
export interface SignArtifactUrl {
  /** Without the hash, for example `https://api.example.com/v1/artifacts`. */
  baseUrl: string;
  sha256: string;
  /** Unix time in seconds; valid up to and including it. */
  expiresAt: number;
  secret: string;
}

export interface PresentedUrl {
  sha256: string;
  /** Query values as they arrived. */
  expires: unknown;
  sig: unknown;
  secret: string;
  nowMs: number;
}

export type UrlVerdict = { ok: true } | { ok: false; reason: string };

export function signArtifactUrl({ baseUrl, sha256, expiresAt, secret }: SignArtifactUrl): string {
  return `${baseUrl.replace(/\/+$/, '')}/${sha256}?expires=${expiresAt}&sig=${mac(sha256, expiresAt, secret).toString('hex')}`;
}

export function verifyArtifactUrl({ sha256, expires, sig, secret, nowMs }: PresentedUrl): UrlVerdict {
  if (typeof expires !== 'string' || !/^\d{1,12}$/.test(expires)) {
    return refuse('the parameter `expires` is missing or not a Unix time in seconds');
  }
  if (typeof sig !== 'string' || !/^[0-9a-f]{64}$/.test(sig)) {
    return refuse('the parameter `sig` is missing or not 64 lowercase hex digits');
  }
  // The signature first: only links that were once ours are told that they have expired.
  if (!timingSafeEqual(Buffer.from(sig, 'hex'), mac(sha256, Number(expires), secret))) {
    return refuse('the signature does not belong to this artifact and expiry');
  }
  if (nowMs > Number(expires) * 1000) return refuse('the link has expired: ask for the job again to get a new one');
  return { ok: true };
}

function refuse(reason: string): UrlVerdict {
  return { ok: false, reason };
}

/** The leading word keeps this HMAC apart from any other made with the same secret. */
function mac(sha256: string, expiresAt: number, secret: string): Buffer {
  return createHmac('sha256', secret).update(`artifact|${sha256}|${expiresAt}`).digest();
}
