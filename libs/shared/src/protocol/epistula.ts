/**
 * Epistula, the signed form that Bittensor programs know, in the two ways that miners write it:
 *
 * - `epistula-2`: Epistula's version 2, the signature in `Epistula-Request-Signature`, `Epistula-Signed-For` optional;
 * - `epistula-dippy`: the existing Dippy Studio miners', `Authorization: Epistula 0x…`, repeated in `Epistula-Signature`
 *   if the sender likes, and `Epistula-Signed-For` never blank.
 *
 * Both sign `sha256hex(body).uuid.timestamp.signedFor`: no part may contain a dot, so no two requests share a message.
 *
 * What Epistula does not cover is the method and the path: whoever sees a request can send the same headers and body
 * somewhere else, GET and DELETE without a body being alike. So a reader records every uuid, unique per hotkey, across
 * all its routes, before it acts; and it demands itself as the recipient wherever the request changes something, or the
 * uuid would be fresh to it after another receiver has had it. Callers: services through `readAnySignedRequest`.
 */
import { isSignature, signText, type Hotkey } from './hotkey';
import {
  bodyHash,
  HEADERS,
  isAddress,
  isUnixMs,
  readSignedRequest,
  refuse,
  refuseForm,
  refuseRecipient,
  refuseStale,
  SIGNATURE_FORM,
  type IncomingHeaders,
  type Refusal,
  type RequestToVerify,
  type SignedBody,
  type SignedClaim,
  type Unsigned,
} from './signatures';

export const EPISTULA = {
  version: 'epistula-version',
  timestamp: 'epistula-timestamp',
  uuid: 'epistula-uuid',
  signedBy: 'epistula-signed-by',
  signedFor: 'epistula-signed-for',
  /** Version 2. */
  requestSignature: 'epistula-request-signature',
  /** The dialect: the signature, and optionally the same again. */
  authorization: 'authorization',
  signature: 'epistula-signature',
} as const;

export type EpistulaForm = 'epistula-2' | 'epistula-dippy';
export type SignedForm = 'native' | EpistulaForm;

export interface EpistulaToSign {
  /** Exactly the bytes sent; empty for GET. */
  body: SignedBody;
  nowMs: number;
  /** A fresh UUID. */
  nonce: string;
  /** SS58 of the receiver; '' only in version 2. */
  recipient: string;
}

export interface AnyRequestToVerify extends RequestToVerify {
  /** Accept version 2 without `Epistula-Signed-For`, as recipient ''. Only for what a repetition elsewhere cannot harm. */
  recipientMayBeAbsent?: boolean;
}

export type AnySignedClaim = SignedClaim & { form: SignedForm };

const SIGNS = 'sha256hex(body).uuid.timestamp.signedFor';
const VERSION = '2';
const SCHEME = /^epistula(\s|$)/i;

export function signEpistula(form: EpistulaForm, request: EpistulaToSign, signer: Hotkey): Record<string, string> {
  const { message, withSignature } = unsignedEpistula(form, request, signer.address);
  return withSignature(signText(signer, message));
}

/** @param address of the signer. @throws RangeError for the dialect without a recipient: its miners refuse that. */
export function unsignedEpistula(form: EpistulaForm, request: EpistulaToSign, address: string): Unsigned {
  const { nonce, recipient } = request;
  if (form === 'epistula-dippy' && !recipient) throw new RangeError('this dialect has to name its recipient');
  const timestamp = String(request.nowMs);
  const headers = {
    [EPISTULA.timestamp]: timestamp,
    [EPISTULA.uuid]: nonce,
    [EPISTULA.signedBy]: address,
    ...(recipient && { [EPISTULA.signedFor]: recipient }),
  };
  return {
    message: [bodyHash(request.body), nonce, timestamp, recipient].join('.'),
    withSignature: (signature) => ({ ...headers, ...SIGNATURE_HEADERS[form](signature) }),
  };
}

const SIGNATURE_HEADERS: Record<EpistulaForm, (signature: string) => Record<string, string>> = {
  'epistula-2': (signature) => ({ [EPISTULA.version]: VERSION, [EPISTULA.requestSignature]: signature }),
  'epistula-dippy': (signature) => ({
    [EPISTULA.authorization]: `Epistula ${signature}`,
    [EPISTULA.signature]: signature,
  }),
};

/** Recognises the form by its headers, refuses a mixture, and makes every cheap check; the curve is left to the caller. */
export function readAnySignedRequest(request: AnyRequestToVerify): AnySignedClaim | Refusal {
  const form = formOf(request.headers);
  if (typeof form !== 'string') return form;
  const claim = form === 'native' ? readSignedRequest(request) : readEpistula(form, request);
  return claim.ok ? { ...claim, form } : claim;
}

/** One of the two ways alone, for a reader that speaks no other. */
export function readEpistula(form: EpistulaForm, request: AnyRequestToVerify): SignedClaim | Refusal {
  const signature = form === 'epistula-2' ? readVersion2(request.headers) : readDialect(request.headers);
  if (typeof signature !== 'string') return signature;
  const parts = readParts(request.headers);
  if ('ok' in parts) return parts;
  const { timestamp, uuid, signedBy, signedFor } = parts;
  const outdated = refuseStale(timestamp, request.nowMs);
  if (outdated) return outdated;
  if (!signedFor && !(form === 'epistula-2' && request.recipientMayBeAbsent)) {
    return refuse('missing', `the header ${EPISTULA.signedFor} is missing: sign for ${request.recipient}`);
  }
  if (signedFor && signedFor !== request.recipient) return refuseRecipient(request.recipient);
  const message = [bodyHash(request.body), uuid, timestamp, signedFor].join('.');
  // Upper and lower case write one UUID: it has to count as used in both.
  const nonce = uuid.toLowerCase();
  return { ok: true, hotkey: signedBy, nonce, recipient: signedFor, timestamp, message, signature, signs: SIGNS };
}

/** @returns the one form that the headers carry. A mixture is refused: its parts could be read in two ways. */
function formOf(headers: IncomingHeaders): SignedForm | Refusal {
  const has = (name: string): boolean => headers[name] !== undefined;
  const native = Object.values(HEADERS).some(has);
  const version2 = has(EPISTULA.version) || has(EPISTULA.requestSignature);
  const dialect = has(EPISTULA.signature) || usesScheme(headers[EPISTULA.authorization]);
  const shared = [EPISTULA.timestamp, EPISTULA.uuid, EPISTULA.signedBy, EPISTULA.signedFor].some(has);
  if ([native, version2, dialect].filter(Boolean).length > 1 || (native && shared)) {
    return refuse('malformed', 'the request carries the headers of several signed forms: sign it in one of them');
  }
  if (native) return 'native';
  if (version2) return 'epistula-2';
  if (dialect) return 'epistula-dippy';
  return refuse(
    'missing',
    shared
      ? `the signature is missing: send ${EPISTULA.requestSignature} with ${EPISTULA.version} ${VERSION}, or ${EPISTULA.authorization}: Epistula 0x…`
      : `the request is not signed: send the headers ${Object.values(HEADERS).join(', ')}, or those of Epistula`,
  );
}

function usesScheme(authorization: string | string[] | undefined): boolean {
  return typeof authorization === 'string' && SCHEME.test(authorization);
}

/** @returns the signature. */
function readVersion2(headers: IncomingHeaders): string | Refusal {
  const version = headers[EPISTULA.version];
  if (!version) return refuse('missing', `the header ${EPISTULA.version} is missing: send ${VERSION}`);
  if (version !== VERSION) return refuseForm(EPISTULA.version, VERSION);
  const signature = headers[EPISTULA.requestSignature];
  if (!signature) return refuse('missing', `the header ${EPISTULA.requestSignature} is missing`);
  if (Array.isArray(signature) || !isSignature(signature)) return refuseForm(EPISTULA.requestSignature, SIGNATURE_FORM);
  return signature;
}

/** @returns the signature of `Authorization`; the other header may repeat it and say nothing else. */
function readDialect(headers: IncomingHeaders): string | Refusal {
  const authorization = headers[EPISTULA.authorization];
  if (!authorization) {
    return refuse('missing', `the header ${EPISTULA.authorization} is missing: send Epistula 0x…`);
  }
  const signature = typeof authorization === 'string' ? authorization.replace(SCHEME, '') : '';
  if (!isSignature(signature)) return refuseForm(EPISTULA.authorization, `Epistula, a space, and ${SIGNATURE_FORM}`);
  const repeated = headers[EPISTULA.signature];
  if (repeated !== undefined && repeated !== signature) {
    return refuse(
      'malformed',
      `the header ${EPISTULA.signature} differs from ${EPISTULA.authorization}: send the same or leave it out`,
    );
  }
  return signature;
}

const FORMS = {
  timestamp: { test: isUnixMs, form: 'Unix time in milliseconds' },
  uuid: { test: (value: string) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value), form: 'a UUID' },
  signedBy: { test: isAddress, form: 'the SS58 address of the signer, with prefix 42' },
  signedFor: { test: (value: string) => value === '' || isAddress(value), form: 'the SS58 address of the receiver' },
};

type Parts = Record<keyof typeof FORMS, string>;

/** What both ways share. An absent recipient reads as ''. */
function readParts(headers: IncomingHeaders): Parts | Refusal {
  const parts: Partial<Parts> = {};
  for (const part of Object.keys(FORMS) as (keyof typeof FORMS)[]) {
    const value = headers[EPISTULA[part]] ?? '';
    if (value === '' && part !== 'signedFor') return refuse('missing', `the header ${EPISTULA[part]} is missing`);
    if (Array.isArray(value) || !FORMS[part].test(value)) return refuseForm(EPISTULA[part], FORMS[part].form);
    parts[part] = value;
  }
  return parts as Parts;
}
