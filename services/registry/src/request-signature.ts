import { StudioError } from '@studio/shared/domain/errors';
import { verifyRequest, type IncomingHeaders } from '@studio/shared/protocol/signatures';
import type { SignedBy } from './miner.store';

/** A request as it came in; `rawBody` holds the bytes that were signed. */
export interface SignedRequest {
  method: string;
  originalUrl: string;
  headers: IncomingHeaders;
  rawBody?: Buffer;
}

/**
 * @param hotkey the one whose row the request wants to change.
 * @returns the signer, whose nonce the caller has yet to record.
 * @throws StudioError SIGNATURE_REFUSED with what is wrong and the remedy.
 */
export function requireSigner(request: SignedRequest, hotkey: string, recipient: string, nowMs: number): SignedBy {
  const verdict = verifyRequest({
    method: request.method,
    path: request.originalUrl,
    body: request.rawBody ?? '',
    headers: request.headers,
    recipient,
    nowMs,
  });
  if (!verdict.ok) throw new StudioError('SIGNATURE_REFUSED', verdict.message);
  if (verdict.hotkey !== hotkey) {
    throw new StudioError('SIGNATURE_REFUSED', `only ${hotkey} itself may do this: sign with its key`);
  }
  return { hotkey: verdict.hotkey, nonce: verdict.nonce };
}
