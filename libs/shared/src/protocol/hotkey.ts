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

/** Signs for one hotkey whose secret it keeps to itself. Services sign in a thread (platform/signature-threads.ts). */
export interface Signer {
  /** SS58, prefix 42. */
  readonly address: string;
  /** Over the UTF-8 bytes; `0x` and 128 hex digits. */
  sign(message: string): Promise<string>;
}

/** Asks what `verifyText` answers, elsewhere: false for whatever a stranger may send, a rejection only for our own faults. */
export interface Verifier {
  verify(address: string, message: string, signature: string): Promise<boolean>;
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
  const publicKey = verificationKey(address);
  if (!publicKey || !isSignature(signature)) return false;
  try {
    return sr25519.verify(utf8ToBytes(message), hexToBytes(signature.slice(2)), publicKey);
  } catch {
    // Bytes that are no point on the curve.
    return false;
  }
}

/**
 * The key (32 bytes) that signatures of this address are checked with; undefined for what is no address, and for the
 * address of 32 zero bytes: they encode the neutral element, for which anybody can compute a signature that
 * wasm-crypto (schnorrkel) accepts.
 */
export function verificationKey(address: string): Uint8Array | undefined {
  const key = decodeSs58(address);
  return key?.some((byte) => byte !== 0) ? key : undefined;
}

export function isSignature(text: string): boolean {
  return /^0x[0-9a-f]{128}$/.test(text);
}
