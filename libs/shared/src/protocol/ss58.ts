import { blake2b } from '@noble/hashes/blake2.js';
import { concatBytes, utf8ToBytes } from '@noble/hashes/utils.js';
import { base58 } from '@scure/base';

/** Substrate's generic network prefix; hotkeys of every miner and validator use it. */
const PREFIX = 42;
const PUBLIC_KEY_BYTES = 32;
const CHECKSUM_BYTES = 2;
const CONTEXT = utf8ToBytes('SS58PRE');

/** base58(prefix, public key, first two bytes of blake2b-512("SS58PRE", prefix, public key)). @throws RangeError */
export function encodeSs58(publicKey: Uint8Array): string {
  if (publicKey.length !== PUBLIC_KEY_BYTES) {
    throw new RangeError(`a public key has ${PUBLIC_KEY_BYTES} bytes, not ${publicKey.length}`);
  }
  const payload = concatBytes(Uint8Array.of(PREFIX), publicKey);
  return base58.encode(concatBytes(payload, checksum(payload)));
}

/** The public key (32 bytes), or undefined when the address is not base58, of another network, or mistyped. */
export function decodeSs58(address: string): Uint8Array | undefined {
  // Before decoding: base58 takes quadratic time. 35 bytes that start with 42 are always 48 digits (log58 42·256³⁴ = 47.4).
  if (address.length !== 48) return undefined;
  const bytes = decodeBase58(address);
  if (bytes?.length !== 1 + PUBLIC_KEY_BYTES + CHECKSUM_BYTES || bytes[0] !== PREFIX) return undefined;
  const payload = bytes.subarray(0, -CHECKSUM_BYTES);
  const [first, second] = checksum(payload);
  return bytes.at(-2) === first && bytes.at(-1) === second ? payload.slice(1) : undefined;
}

function decodeBase58(text: string): Uint8Array | undefined {
  try {
    return base58.decode(text);
  } catch {
    return undefined;
  }
}

function checksum(payload: Uint8Array): Uint8Array {
  return blake2b(concatBytes(CONTEXT, payload), { dkLen: 64 }).subarray(0, CHECKSUM_BYTES);
}
