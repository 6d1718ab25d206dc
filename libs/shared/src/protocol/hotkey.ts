import { bytesToHex, hexToBytes, utf8ToBytes } from '@noble/hashes/utils.js';
import * as sr25519 from '@scure/sr25519';
import { decodeSs58, encodeSs58 } from './ss58';

/** An sr25519 key pair of a miner, a validator or the orchestrator. The secret never leaves its process. */
export interface Hotkey {
  /** SS58, prefix 42: the public name. */
  readonly address: string;
  /** 64 bytes, expanded from the seed. */
  readonly secretKey: Uint8Array;
}

/** @param seed 32 bytes as 64 hex digits, with or without `0x`. @throws RangeError that does not repeat the seed. */
export function hotkeyFromSeed(seed: string): Hotkey {
  const hex = seed.replace(/^0x/, '');
  if (!/^[0-9a-fA-F]{64}$/.test(hex))
    throw new RangeError('a hotkey seed is 64 hex digits, for example from `openssl rand -hex 32`');
  const secretKey = sr25519.secretFromSeed(hexToBytes(hex));
  return { address: encodeSs58(sr25519.getPublicKey(secretKey)), secretKey };
}

/** Signature over the UTF-8 bytes, 64 bytes as `0x` and 128 hex digits. 1.3 ms in performance.md, more on slow cores. */
export function signText(hotkey: Hotkey, message: string): string {
  return `0x${bytesToHex(sr25519.sign(hotkey.secretKey, utf8ToBytes(message)))}`;
}

/** False for any malformed input. Accepts the message itself only, not Substrate's `<Bytes>` wrapping. 2 ms in performance.md, more on slow cores. */
export function verifyText(address: string, message: string, signature: string): boolean {
  const publicKey = decodeSs58(address);
  if (!publicKey || !isSignature(signature)) return false;
  try {
    return sr25519.verify(utf8ToBytes(message), hexToBytes(signature.slice(2)), publicKey);
  } catch {
    // Bytes that are no point on the curve.
    return false;
  }
}

export function isSignature(text: string): boolean {
  return /^0x[0-9a-f]{128}$/.test(text);
}
