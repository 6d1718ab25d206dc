/**
 * Both halves of the native dialect's identity: our requests carry our signature, their results carry theirs, and what
 * was verified is kept as the miner's half of the receipt (contract/receipt.ts).
 */
import { randomUUID } from 'node:crypto';
import type { CallbackReceipt, ReplyReceipt } from '@studio/shared/contract/receipt';
import { StudioError } from '@studio/shared/domain/errors';
import type { Signer, Verifier } from '@studio/shared/protocol/hotkey';
import {
  checkClaim,
  readSignedReply,
  readSignedRequest,
  signWith,
  unsignedRequest,
  type IncomingHeaders,
  type Refusal,
} from '@studio/shared/protocol/signatures';
import { ResultRefused } from '../miner-result';
import { pathOf } from './miner-urls';

export interface SignedHeaders {
  nonce: string;
  headers: Record<string, string>;
}

export interface ReplyToCheck {
  status: number;
  headers: IncomingHeaders;
  /** SHA-256 of the body as it came. */
  sha256: string;
  /** Of the request that is answered. */
  nonce: string;
  /** Who was asked. */
  hotkey: string;
}

export interface CallbackToCheck {
  headers: IncomingHeaders;
  sha256: string;
  /** The URL that the miner was given: a proxy in front of us may show us another path. */
  url: URL;
  /** Unix time in ms at which it began to arrive: a large body takes its time. */
  nowMs: number;
  /** Whose attempt it is. */
  hotkey: string;
}

const REPLY_REMEDY = 'sign status|sha256hex(body)|request nonce|recipient with the registered hotkey';

export class NativeSignatures {
  constructor(
    private readonly signer: Signer,
    private readonly verifier: Verifier,
  ) {}

  /** A fresh nonce each time: the miner refuses one that it has seen, also where the same attempt is sent again. */
  async request(method: string, url: URL, body: string, recipient: string): Promise<SignedHeaders> {
    const nonce = randomUUID();
    const request = { method, path: pathOf(url), body, nowMs: Date.now(), nonce, recipient };
    return { nonce, headers: await signWith(unsignedRequest(request, this.signer.address), this.signer) };
  }

  /** @throws ResultRefused for a signature that is missing or wrong: an answer that nobody can be held to is none. */
  async reply({ status, headers, sha256, nonce, hotkey }: ReplyToCheck): Promise<ReplyReceipt> {
    const recipient = this.signer.address;
    const reply = { status, body: { sha256 }, nonce, recipient, headers, expectedHotkey: hotkey };
    const verdict = await checkClaim(readSignedReply(reply), this.verifier);
    if (!verdict.ok) throw new ResultRefused(`${verdict.message} (${REPLY_REMEDY})`);
    return { form: 'reply', status, hotkey, body_sha256: sha256, nonce, recipient, signature: verdict.signature };
  }

  /**
   * Its nonce is not recorded: the one transition of the attempt is the unique row that a repetition meets.
   * @throws StudioError SIGNATURE_REFUSED, before anything is changed.
   */
  async callback({ headers, sha256, url, nowMs, hotkey }: CallbackToCheck): Promise<CallbackReceipt> {
    const recipient = this.signer.address;
    const [method, path] = ['POST', pathOf(url)];
    const claim = readSignedRequest({ method, path, body: { sha256 }, nowMs, recipient, headers });
    const verdict = await checkClaim(claim, this.verifier);
    if (!verdict.ok) throw refused(verdict);
    if (verdict.hotkey !== hotkey) {
      throw new StudioError('SIGNATURE_REFUSED', `the callback is signed by another hotkey: sign it with ${hotkey}`);
    }
    const { nonce, timestamp, signature } = verdict;
    return { form: 'request', hotkey, body_sha256: sha256, nonce, recipient, signature, method, path, timestamp };
  }
}

function refused({ message }: Refusal): StudioError {
  return new StudioError('SIGNATURE_REFUSED', `the callback has to be signed by the miner's hotkey: ${message}`);
}
