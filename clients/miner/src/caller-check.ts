import {
  HEADERS,
  type IncomingHeaders,
  type Refusal,
  type RefusalReason,
  verifyRequest,
} from '@studio/shared/protocol/signatures';
import type { NonceMemory } from './nonce-memory';
import type { Orchestrator } from './orchestrator';

export interface Call {
  method: string;
  path: string;
  body: Uint8Array;
  headers: IncomingHeaders;
  nowMs: number;
}

export interface CallRefusal extends Omit<Refusal, 'reason'> {
  reason: RefusalReason | 'replayed';
}

/** Who calls: `signed` has what a signed reply needs. */
export type CallerVerdict = { ok: true; signed?: { nonce: string; hotkey: string } } | CallRefusal;

/**
 * Checks that a request comes from the orchestrator, or from this miner's own hotkey: its self-test. Where no
 * orchestrator is known to the miner unsigned requests pass, but a signature that is there must be right.
 */
export class CallerCheck {
  /** @param own this miner's hotkey: the recipient that callers sign for. */
  constructor(
    private readonly own: string,
    private readonly orchestrator: Orchestrator,
    private readonly nonces: NonceMemory,
  ) {}

  async verify(call: Call): Promise<CallerVerdict> {
    const { enforced, hotkey: expected } = this.orchestrator;
    if (!enforced && call.headers[HEADERS.signature] === undefined) return { ok: true };
    const verdict = verifyRequest({ ...call, recipient: this.own });
    if (!verdict.ok) return verdict;
    const { hotkey, nonce } = verdict;
    if (enforced && hotkey !== expected && hotkey !== this.own) {
      return {
        ok: false,
        reason: 'wrong-signer',
        message: expected
          ? `this miner works for ${expected} only`
          : 'this miner is not registered yet: it learns from the registry whose jobs it takes',
      };
    }
    if (!(await this.nonces.use(`${hotkey}|${nonce}`, call.nowMs))) {
      return { ok: false, reason: 'replayed', message: 'the nonce was used before: send a fresh UUID' };
    }
    return { ok: true, signed: { nonce, hotkey } };
  }
}
