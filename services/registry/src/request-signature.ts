import { StudioError } from '@studio/shared/domain/errors';
import { readAnySignedRequest, type SignedForm } from '@studio/shared/protocol/epistula';
import type { Verifier } from '@studio/shared/protocol/hotkey';
import { checkClaim, type IncomingHeaders } from '@studio/shared/protocol/signatures';
import type { SignedBy } from './miner.store';

/** A request as it came in; `rawBody` holds the bytes that were signed. */
export interface SignedRequest {
  method: string;
  originalUrl: string;
  headers: IncomingHeaders;
  rawBody?: Buffer;
}

export interface RequestSignaturesOptions {
  /** This registry's hotkey: what is signed for anybody else is refused, in every form. */
  recipient: string;
  verifier: Verifier;
  clock: { nowMs(): Promise<number> };
}

/** Our native form, and both ways to write Epistula. */
const SIGNED_HEADERS = /^(x-studio-|epistula-)/;
const EPISTULA_SCHEME = /^epistula\b/i;

/**
 * Who signed a request. Checks in the order of their cost: headers, the hotkey that may ask for this, and only then the
 * curve, in a thread. The caller records the nonce before it acts on the request.
 */
export class RequestSignatures {
  constructor(private readonly options: RequestSignaturesOptions) {}

  /**
   * @param hotkey the only one that may ask for this.
   * @throws StudioError SIGNATURE_REFUSED with what is wrong and the remedy.
   */
  async requireSigner(request: SignedRequest, hotkey: string): Promise<SignedBy & { form: SignedForm }> {
    const { recipient, verifier, clock } = this.options;
    const claim = readAnySignedRequest({
      method: request.method,
      path: request.originalUrl,
      body: request.rawBody ?? '',
      headers: request.headers,
      recipient,
      nowMs: await clock.nowMs(),
    });
    if (claim.ok && claim.hotkey !== hotkey) {
      throw new StudioError('SIGNATURE_REFUSED', `only ${hotkey} itself may do this: sign with its key`);
    }
    const verdict = await checkClaim(claim, verifier);
    if (!verdict.ok) throw new StudioError('SIGNATURE_REFUSED', verdict.message);
    return { hotkey: verdict.hotkey, nonce: verdict.nonce, form: verdict.form };
  }
}

/**
 * Epistula signs neither method nor path: a signed reading that never arrived could be sent on as a withdrawal. Signed
 * so, a withdrawal has to say in its body what it is.
 * @throws StudioError INVALID_INPUT
 */
export function requireWithdrawal(form: SignedForm, hotkey: string, body: unknown): void {
  const meant = (body as { withdraw?: unknown } | null | undefined)?.withdraw === hotkey;
  if (form === 'native' || meant) return;
  const message = `Epistula does not sign the method: send {"withdraw":"${hotkey}"} as the body`;
  throw new StudioError('INVALID_INPUT', `withdraw: ${message}`, [{ path: 'withdraw', message }]);
}

/** Whether a request claims to be signed, rightly or wrongly. */
export function isSigned({ headers }: Pick<SignedRequest, 'headers'>): boolean {
  if (Object.keys(headers).some((name) => SIGNED_HEADERS.test(name))) return true;
  const { authorization } = headers;
  return typeof authorization === 'string' && EPISTULA_SCHEME.test(authorization);
}
