import {
  HEADERS,
  type IncomingHeaders,
  MAX_CLOCK_SKEW_MS,
  type Refusal,
  verifyRequest,
} from '@studio/shared/protocol/signatures';

export interface Call {
  method: string;
  path: string;
  body: Uint8Array;
  headers: IncomingHeaders;
  nowMs: number;
}

/** Who calls: `signed` has what a signed reply needs. */
export type CallerVerdict = { ok: true; signed?: { nonce: string; hotkey: string } } | Refusal;

/**
 * Checks that a request comes from the orchestrator. Without a configured orchestrator unsigned requests pass, but a
 * signature that is there must be right. A nonce is remembered as long as its timestamp is accepted; a restart forgets
 * them, which is harmless: a repeated job is joined by its id, never run again.
 */
export class CallerCheck {
  private readonly seen = new Map<string, number>();

  /** @param own this miner's hotkey: the recipient that callers sign for. */
  constructor(
    private readonly own: string,
    private readonly orchestrator?: string,
  ) {}

  verify(call: Call): CallerVerdict {
    if (!this.orchestrator && call.headers[HEADERS.signature] === undefined) return { ok: true };
    const verdict = verifyRequest({ ...call, recipient: this.own });
    if (!verdict.ok) return verdict;
    const { hotkey, nonce } = verdict;
    if (this.orchestrator && hotkey !== this.orchestrator) {
      return { ok: false, reason: 'wrong-signer', message: `this miner works for ${this.orchestrator} only` };
    }
    if (!this.isFresh(`${hotkey}|${nonce}`, call.nowMs)) {
      return { ok: false, reason: 'stale', message: 'the nonce was used before: send a fresh UUID' };
    }
    return { ok: true, signed: { nonce, hotkey } };
  }

  private isFresh(nonce: string, nowMs: number): boolean {
    for (const [old, since] of this.seen) {
      if (since > nowMs - 2 * MAX_CLOCK_SKEW_MS) break;
      this.seen.delete(old);
    }
    if (this.seen.has(nonce)) return false;
    this.seen.set(nonce, nowMs);
    return true;
  }
}
