/**
 * How miners are spoken to. A miner says with its registration which dialect it speaks; everything behind this interface
 * is the same for all of them: one job, one attempt, one answer. Callers: JobRun sends and cancels, Callbacks reads.
 */
import type { MinerDialect, RoutableMiner } from '@studio/shared/contract/miners';
import type { MinerReceipt } from '@studio/shared/contract/receipt';
import type { Fault } from '@studio/shared/domain/blame';
import type { JobKind, JobInput } from '@studio/shared/domain/job';
import type { ClaimedJob } from '../dispatch.store';
import type { MinerResult } from '../miner-result';
import type { CallbackTarget } from '../result.store';

/** Times of `performance.now()`: from the send, when everything is signed, to the last byte of the reply. */
export interface Span {
  startMs: number;
  endMs: number;
}

export type MinerAnswer =
  | { type: 'result'; result: MinerResult; receipt: MinerReceipt | null; span: Span; freshConnection: boolean }
  /** The result will come by callback. */
  | { type: 'accepted' }
  | { type: 'ended'; state: 'failed' | 'invalid' | 'busy' | 'timeout'; fault: Fault; reason: string }
  /** We gave up: our shutdown, or the job is no longer ours. Nothing is known about the miner. */
  | { type: 'abandoned' };

export interface Dispatch {
  job: ClaimedJob;
  attemptNo: number;
  miner: RoutableMiner;
  /** What is left of T_max. */
  deadlineMs: number;
  signal: AbortSignal;
}

/** A callback whose secret has been compared: whoever sends it, it belongs to this attempt. */
export interface CallbackMessage {
  target: CallbackTarget;
  headers: Readonly<Record<string, string | string[] | undefined>>;
  body: AsyncIterable<Uint8Array>;
}

export interface CallbackContent {
  result: MinerResult;
  receipt: MinerReceipt | null;
  /** `performance.now()` of the body's last byte. */
  endMs: number;
}

export interface Dialect {
  readonly name: MinerDialect;
  /** Asked for nothing in particular; any answer shows that the miner can be reached. */
  readonly probePath: string;
  /** Whether this dialect has words for such a job. */
  canExpress(kind: JobKind, input: JobInput): boolean;
  /**
   * Sends one attempt, or the same again: the miner joins the running one or returns what it stored. Throws nothing that
   * a miner, the network or our own load could cause.
   */
  dispatch(dispatch: Dispatch): Promise<MinerAnswer>;
  /** Best effort. Never throws. */
  cancel(miner: RoutableMiner, jobId: string, attemptNo: number): Promise<void>;
  /**
   * @throws ResultRefused for what the miner sent, which ends the attempt; StudioError SIGNATURE_REFUSED or BODY_TOO_LARGE
   * for what may be somebody else's, which changes nothing; the stream's own error when it breaks off.
   */
  readCallback(message: CallbackMessage): Promise<CallbackContent>;
}
