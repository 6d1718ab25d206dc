/**
 * The gate of a Dippy Studio miner: Epistula in the order of its checks and in its own words. On purpose not our
 * protocol/epistula.ts: it is the other side, and what theirs lets pass (a replay, a clock that is ahead) passes here.
 */
import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { verifyText } from '../protocol/hotkey';
import { decodeSs58 } from '../protocol/ss58';

export interface DippyRefusal {
  status: 401 | 403;
  detail: string;
}

export interface DippyGate {
  /** SS58 of the miner. */
  hotkey: string;
  /** Everybody when empty. */
  allowedSenders: readonly string[];
}

/** Their default; only the past counts. */
const ALLOWED_DELTA_MS = 8_000;
const REQUIRED = ['epistula-timestamp', 'epistula-uuid', 'epistula-signed-by', 'epistula-signed-for'] as const;

/** What their gate says to this request, or undefined where it lets it pass. `body`: the bytes as they came. */
export function dippyRefusal(
  headers: IncomingHttpHeaders,
  body: Uint8Array,
  gate: DippyGate,
  nowMs: number,
): DippyRefusal | undefined {
  const given = signatureOf(headers);
  if ('detail' in given) return given;
  const values = REQUIRED.map((name) => text(headers[name]));
  const [timestamp, uuid, signedBy, signedFor] = values;
  if (!timestamp || !uuid || !signedBy || !signedFor) return unauthorized('Missing Epistula authentication headers');
  if (signedFor !== gate.hotkey) return unauthorized('Invalid signed_for address');
  if (!/^\d+$/.test(timestamp)) return unauthorized('Invalid Timestamp');
  if (Number(timestamp) + ALLOWED_DELTA_MS < nowMs) return unauthorized('Request is too stale');
  if (!decodeSs58(signedBy)) return unauthorized('Invalid Keypair');
  if (!/^0x([0-9a-f]{2})*$/i.test(given.signature)) return unauthorized('Invalid Signature Format');
  const message = `${createHash('sha256').update(body).digest('hex')}.${uuid}.${timestamp}.${signedFor}`;
  if (!verifyText(signedBy, message, given.signature)) return unauthorized('Signature Mismatch');
  const allowed = gate.allowedSenders.length === 0 || gate.allowedSenders.includes(signedBy);
  return allowed ? undefined : { status: 403, detail: 'Sender not allowed' };
}

function signatureOf(headers: IncomingHttpHeaders): { signature: string } | DippyRefusal {
  const { authorization } = headers;
  if (!authorization) return unauthorized('Authorization header required');
  const space = authorization.indexOf(' ');
  if (space < 0) return unauthorized('Invalid authorization header format');
  if (authorization.slice(0, space) !== 'Epistula') return unauthorized('Invalid authorization scheme');
  const signature = authorization.slice(space + 1).trim();
  const repeated = text(headers['epistula-signature']);
  if (repeated && repeated !== signature) return unauthorized('Authorization signature mismatch');
  if (!signature) return unauthorized('Missing Epistula authentication signature');
  return { signature: signature.startsWith('0x') ? signature : `0x${signature}` };
}

function text(value: string | string[] | undefined): string {
  return (Array.isArray(value) ? value.join(',') : (value ?? '')).trim();
}

function unauthorized(detail: string): DippyRefusal {
  return { status: 401, detail };
}
