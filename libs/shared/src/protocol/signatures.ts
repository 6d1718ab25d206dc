/**
 * Our native signed form (miner-facing protocol v1). A request signs
 *
 *     method|path|sha256hex(body)|timestamp|nonce|recipient
 *
 * and its reply `status|sha256hex(body)|request nonce|recipient`, where the recipient is the hotkey meant to read it.
 * Only the path may contain `|`; every other part is checked not to, so no two requests share a message.
 *
 * Reading is apart from the curve. `read…` makes every cheap check and leaves a claim: who says to have signed which text.
 * `verify…` also checks the signature, at once (clients); `checkClaim` lets a `Verifier` check it (services: in a thread).
 * In the same way `sign…` signs at once, and `unsigned…` with `signWith` lets a `Signer` do it.
 */
import { sha256Hex } from './canonical';
import { isSignature, signText, verifyText, type Hotkey, type Signer, type Verifier } from './hotkey';
import { decodeSs58 } from './ss58';

export const HEADERS = {
  hotkey: 'x-studio-hotkey',
  timestamp: 'x-studio-timestamp',
  nonce: 'x-studio-nonce',
  recipient: 'x-studio-recipient',
  signature: 'x-studio-signature',
} as const;

/** Allowed difference of the two clocks, both ways: a future timestamp would stretch the life of a replay. */
export const MAX_CLOCK_SKEW_MS = 10_000;

/** Bytes as sent (text: UTF-8), or their hash when they were streamed. */
export type SignedBody = Uint8Array | string | { sha256: string };

/** As Node delivers them: lower-case names. A repeated header (array) counts as malformed. */
export type IncomingHeaders = Readonly<Record<string, string | string[] | undefined>>;

export interface RequestToSign {
  method: string;
  /** As sent: with the query, without scheme and host. */
  path: string;
  body: SignedBody;
  nowMs: number;
  /** A fresh UUID: the receiver refuses it a second time. */
  nonce: string;
  /** SS58 of the receiver. */
  recipient: string;
}

export interface RequestToVerify extends Omit<RequestToSign, 'nonce'> {
  headers: IncomingHeaders;
}

export type RefusalReason = 'missing' | 'malformed' | 'stale' | 'wrong-recipient' | 'bad-signature' | 'wrong-signer';

export interface Refusal {
  ok: false;
  reason: RefusalReason;
  /** What is wrong and the remedy; safe to send back. */
  message: string;
}

/** Well-formed and not yet believed: `hotkey` says that `signature` is its own over `message`. */
export interface Claim {
  ok: true;
  hotkey: string;
  /** The exact text, to be signed as UTF-8. */
  message: string;
  signature: string;
  /** What that text is made of, for the signer of a wrong one. */
  signs: string;
}

/** A request's claim. `nonce` is not yet known to be fresh: the caller records it, unique per hotkey, before it acts. */
export interface SignedClaim extends Claim {
  nonce: string;
  /** SS58, as the signer wrote it. */
  recipient: string;
  /** Unix time in milliseconds, as the signer wrote it. */
  timestamp: string;
}

/** `nonce` is not yet known to be fresh: the caller records it, unique per hotkey, before it acts. */
export type RequestVerdict = { ok: true; hotkey: string; nonce: string } | Refusal;

/** Ready but for the signature over `message`. */
export interface Unsigned {
  message: string;
  /** The headers to send. */
  withSignature: (signature: string) => Record<string, string>;
}

const REQUEST_SIGNS = 'method|path|sha256hex(body)|timestamp|nonce|recipient';
const REPLY_SIGNS = 'status|sha256hex(body)|request nonce|recipient';

export async function signWith({ message, withSignature }: Unsigned, signer: Signer): Promise<Record<string, string>> {
  return withSignature(await signer.sign(message));
}

/** Hands a refusal on, so that it can be wrapped around any `read…`. @throws only what the verifier's own faults throw. */
export async function checkClaim<C extends Claim>(claim: C | Refusal, verifier: Verifier): Promise<C | Refusal> {
  if (!claim.ok) return claim;
  return settled(claim, await verifier.verify(claim.hotkey, claim.message, claim.signature));
}

/** The same at once, for 2 ms of the event loop (more on slow cores). */
export function checkClaimNow<C extends Claim>(claim: C | Refusal): C | Refusal {
  return claim.ok ? settled(claim, verifyText(claim.hotkey, claim.message, claim.signature)) : claim;
}

function settled<C extends Claim>(claim: C, isGenuine: boolean): C | Refusal {
  return isGenuine ? claim : refuse('bad-signature', `the signature does not match: sign ${claim.signs}`);
}

export function signRequest(request: RequestToSign, signer: Hotkey): Record<string, string> {
  const { message, withSignature } = unsignedRequest(request, signer.address);
  return withSignature(signText(signer, message));
}

/** @param address of the signer. */
export function unsignedRequest(request: RequestToSign, address: string): Unsigned {
  const timestamp = String(request.nowMs);
  return {
    message: requestMessage({ ...request, timestamp }),
    withSignature: (signature) => ({
      [HEADERS.hotkey]: address,
      [HEADERS.timestamp]: timestamp,
      [HEADERS.nonce]: request.nonce,
      [HEADERS.recipient]: request.recipient,
      [HEADERS.signature]: signature,
    }),
  };
}

/** `recipient` is the verifier's own hotkey. */
export function verifyRequest(request: RequestToVerify): RequestVerdict {
  const verdict = checkClaimNow(readSignedRequest(request));
  return verdict.ok ? { ok: true, hotkey: verdict.hotkey, nonce: verdict.nonce } : verdict;
}

/** Everything but the curve: presence, form, both sides of time, the recipient (the reader's own hotkey). */
export function readSignedRequest(request: RequestToVerify): SignedClaim | Refusal {
  const parts = readParts(request.headers);
  if ('ok' in parts) return parts;
  const outdated = refuseStale(parts.timestamp, request.nowMs);
  if (outdated) return outdated;
  if (parts.recipient !== request.recipient) return refuseRecipient(request.recipient);
  return { ok: true, ...parts, message: requestMessage({ ...request, ...parts }), signs: REQUEST_SIGNS };
}

export interface ReplyToSign {
  /** HTTP status. */
  status: number;
  body: SignedBody;
  /** Nonce of the request that is answered. */
  nonce: string;
  /** SS58 of the requester. */
  recipient: string;
}

export interface ReplyToVerify extends ReplyToSign {
  headers: IncomingHeaders;
  /** SS58 of the one who was asked. */
  expectedHotkey: string;
}

export type ReplyVerdict = { ok: true; hotkey: string; signature: string } | Refusal;

export function signReply(reply: ReplyToSign, signer: Hotkey): Record<string, string> {
  const { message, withSignature } = unsignedReply(reply, signer.address);
  return withSignature(signText(signer, message));
}

/** @param address of the signer. */
export function unsignedReply(reply: ReplyToSign, address: string): Unsigned {
  return {
    message: replyMessage(reply),
    withSignature: (signature) => ({ [HEADERS.hotkey]: address, [HEADERS.signature]: signature }),
  };
}

/** The verified signature is the miner's half of a job's receipt: keep it. */
export function verifyReply(reply: ReplyToVerify): ReplyVerdict {
  const verdict = checkClaimNow(readSignedReply(reply));
  return verdict.ok ? { ok: true, hotkey: verdict.hotkey, signature: verdict.signature } : verdict;
}

/** Everything but the curve. */
export function readSignedReply(reply: ReplyToVerify): Claim | Refusal {
  const hotkey = reply.headers[HEADERS.hotkey];
  const signature = reply.headers[HEADERS.signature];
  if (!hotkey || !signature) return refuse('missing', `the reply lacks ${hotkey ? HEADERS.signature : HEADERS.hotkey}`);
  if (Array.isArray(signature) || !isSignature(signature)) {
    return refuseForm(HEADERS.signature, SIGNATURE_FORM);
  }
  if (hotkey !== reply.expectedHotkey) {
    return refuse('wrong-signer', 'the reply is signed by another hotkey than the one asked');
  }
  return { ok: true, hotkey, signature, message: replyMessage(reply), signs: REPLY_SIGNS };
}

export const SIGNATURE_FORM = '0x and 128 lowercase hex digits';

type Parts = Record<keyof typeof HEADERS, string>;

const FORMS: Record<keyof typeof HEADERS, { test: (value: string) => boolean; form: string }> = {
  hotkey: { test: isAddress, form: 'an SS58 address with prefix 42' },
  timestamp: { test: isUnixMs, form: 'Unix time in milliseconds' },
  nonce: { test: (value) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value), form: 'a lowercase UUID' },
  recipient: { test: isAddress, form: 'the SS58 address of the receiver' },
  signature: { test: isSignature, form: SIGNATURE_FORM },
};

export function isAddress(text: string): boolean {
  return decodeSs58(text) !== undefined;
}

export function isUnixMs(text: string): boolean {
  return /^[1-9]\d{0,14}$/.test(text);
}

function readParts(headers: IncomingHeaders): Parts | Refusal {
  const parts: Partial<Parts> = {};
  for (const part of Object.keys(HEADERS) as (keyof typeof HEADERS)[]) {
    const value = headers[HEADERS[part]];
    if (value === undefined || value === '') return refuse('missing', `the header ${HEADERS[part]} is missing`);
    if (Array.isArray(value) || !FORMS[part].test(value)) return refuseForm(HEADERS[part], FORMS[part].form);
    parts[part] = value;
  }
  return parts as Parts;
}

function requestMessage(
  request: Pick<RequestToSign, 'method' | 'path' | 'body' | 'nonce' | 'recipient'> & { timestamp: string },
): string {
  const { method, path, body, timestamp, nonce, recipient } = request;
  return [method.toUpperCase(), path, bodyHash(body), timestamp, nonce, recipient].join('|');
}

function replyMessage({ status, body, nonce, recipient }: ReplyToSign): string {
  return [status, bodyHash(body), nonce, recipient].join('|');
}

export function bodyHash(body: SignedBody): string {
  return typeof body === 'string' || body instanceof Uint8Array ? sha256Hex(body) : body.sha256;
}

/** Undefined for a timestamp that is near enough to our clock, on either side. */
export function refuseStale(timestamp: string, nowMs: number): Refusal | undefined {
  const skew = Math.abs(nowMs - Number(timestamp));
  if (skew <= MAX_CLOCK_SKEW_MS) return undefined;
  return refuse(
    'stale',
    `the timestamp is ${skew} ms away from our clock (${MAX_CLOCK_SKEW_MS} allowed): set your clock by NTP`,
  );
}

export function refuseRecipient(own: string): Refusal {
  return refuse('wrong-recipient', `the request is signed for another recipient: sign for ${own}`);
}

export function refuseForm(header: string, form: string): Refusal {
  return refuse('malformed', `the header ${header} has to be ${form}, once`);
}

export function refuse(reason: RefusalReason, message: string): Refusal {
  return { ok: false, reason, message };
}
