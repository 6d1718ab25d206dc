import { createHash } from 'node:crypto';
import canonicalize from 'canonicalize';

/** 64 lowercase hex digits. Text is hashed as UTF-8. */
export function sha256Hex(data: Uint8Array | string): string {
  return createHash('sha256').update(data).digest('hex');
}

/**
 * The one text of a JSON value (RFC 8785: sorted keys, shortest numbers, no spaces), so that two programs that agree on
 * the value agree on its hash. bigint is written as a decimal string; fields that are undefined are left out.
 * @throws TypeError on what JSON has no form for: NaN, infinities, functions, dates, maps, bytes.
 */
export function canonicalJson(value: unknown): string {
  const text = canonicalize(plain(value, '$'));
  if (text === undefined) throw new TypeError('$: undefined has no JSON form');
  return text;
}

/** SHA-256 (hex) over the UTF-8 bytes of the canonical text. */
export function canonicalHash(value: unknown): string {
  return sha256Hex(canonicalJson(value));
}

/** Refuses instead of converting: a value that silently changed its form would hash differently elsewhere. */
function plain(value: unknown, path: string): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (value === null || value === undefined || typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new TypeError(`${path}: ${value} has no JSON form`);
    return value;
  }
  if (Array.isArray(value)) return value.map((item, index) => plainItem(item, `${path}[${index}]`));
  if (Object.prototype.toString.call(value) !== '[object Object]') {
    throw new TypeError(`${path}: ${Object.prototype.toString.call(value)} has no JSON form`);
  }
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item, `${path}.${key}`)]));
}

/** An absent item would shift or become null, depending on the serialiser. */
function plainItem(item: unknown, path: string): unknown {
  if (item === undefined) throw new TypeError(`${path}: undefined has no JSON form`);
  return plain(item, path);
}
