import { sha256Hex } from './canonical';
import { isSignature, signText, verifyText, type Hotkey } from './hotkey';
import { decodeSs58 } from './ss58';

/**
 * Our native signed form (miner-facing protocol v1). A request signs
 *
 *     method|path|sha256hex(body)|timestamp|nonce|recipient
 *
 * and its reply `status|sha256hex(body)|request nonce|recipient`, where the recipient is the hotkey meant to read it.
 * Only the path may contain `|`; every other part is checked not to, so no two requests share a message.
 */
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

/** `nonce` is not yet known to be fresh: the caller records it, unique per hotkey, before it acts. */
export type RequestVerdict = { ok: true; hotkey: string; nonce: string } | Refusal;

export function signRequest(request: RequestToSign, signer: Hotkey): Record<string, string> {
  const { nonce, recipient } = request;
  const timestamp = String(request.nowMs);
  const message = requestMessage({ ...request, timestamp });
  return {
    [HEADERS.hotkey]: signer.address,
    [HEADERS.timestamp]: timestamp,
    [HEADERS.nonce]: nonce,
    [HEADERS.recipient]: recipient,
    [HEADERS.signature]: signText(signer, message),
  };
}

/** `recipient` is the verifier's own hotkey. The cheap checks come first: the curve costs 2 ms of the event loop. */
export function verifyRequest(request: RequestToVerify): RequestVerdict {
  const parts = readParts(request.headers);
  if ('ok' in parts) return parts;
  const skew = Math.abs(request.nowMs - Number(parts.timestamp));
  if (skew > MAX_CLOCK_SKEW_MS) {
    return refuse(
      'stale',
      `the timestamp is ${skew} ms away from our clock (${MAX_CLOCK_SKEW_MS} allowed): set your clock by NTP`,
    );
  }
  if (parts.recipient !== request.recipient) {
    return refuse('wrong-recipient', `the request is signed for another recipient: sign for ${request.recipient}`);
  }
  const message = requestMessage({ ...request, ...parts });
  if (!verifyText(parts.hotkey, message, parts.signature)) {
    return refuse(
      'bad-signature',
      'the signature does not match: sign method|path|sha256hex(body)|timestamp|nonce|recipient',
    );
  }
  return { ok: true, hotkey: parts.hotkey, nonce: parts.nonce };
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
  return { [HEADERS.hotkey]: signer.address, [HEADERS.signature]: signText(signer, replyMessage(reply)) };
}

/** The verified signature is the miner's half of a job's receipt: keep it. */
export function verifyReply(reply: ReplyToVerify): ReplyVerdict {
  const hotkey = reply.headers[HEADERS.hotkey];
  const signature = reply.headers[HEADERS.signature];
  if (!hotkey || !signature) return refuse('missing', `the reply lacks ${hotkey ? HEADERS.signature : HEADERS.hotkey}`);
  if (Array.isArray(signature) || !isSignature(signature))
    return malformed('signature', '0x and 128 lowercase hex digits');
  if (hotkey !== reply.expectedHotkey)
    return refuse('wrong-signer', 'the reply is signed by another hotkey than the one asked');
  if (!verifyText(hotkey, replyMessage(reply), signature)) {
    return refuse('bad-signature', 'the signature does not match: sign status|sha256hex(body)|request nonce|recipient');
  }
  return { ok: true, hotkey, signature };
}

type Parts = Record<keyof typeof HEADERS, string>;

const FORMS: Record<keyof typeof HEADERS, { test: (value: string) => boolean; form: string }> = {
  hotkey: { test: (value) => decodeSs58(value) !== undefined, form: 'an SS58 address with prefix 42' },
  timestamp: { test: (value) => /^[1-9]\d{0,14}$/.test(value), form: 'Unix time in milliseconds' },
  nonce: { test: (value) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value), form: 'a lowercase UUID' },
  recipient: { test: (value) => decodeSs58(value) !== undefined, form: 'the SS58 address of the receiver' },
  signature: { test: isSignature, form: '0x and 128 lowercase hex digits' },
};

function readParts(headers: IncomingHeaders): Parts | Refusal {
  const parts: Partial<Parts> = {};
  for (const part of Object.keys(HEADERS) as (keyof typeof HEADERS)[]) {
    const value = headers[HEADERS[part]];
    if (value === undefined || value === '') return refuse('missing', `the header ${HEADERS[part]} is missing`);
    if (Array.isArray(value) || !FORMS[part].test(value)) return malformed(part, FORMS[part].form);
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

function bodyHash(body: SignedBody): string {
  return typeof body === 'string' || body instanceof Uint8Array ? sha256Hex(body) : body.sha256;
}

function malformed(part: keyof typeof HEADERS, form: string): Refusal {
  return refuse('malformed', `the header ${HEADERS[part]} has to be ${form}, once`);
}

function refuse(reason: RefusalReason, message: string): Refusal {
  return { ok: false, reason, message };
}
