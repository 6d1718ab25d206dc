/**
 * A miner that answered 202 brings its result, in the dialect that its attempt was sent in. The caller is a stranger until
 * the secret has been compared, and may still be somebody else until the dialect has checked what it signs.
 */
import { MinerProgress } from '@studio/shared/contract/miner-job';
import { refusal, validated } from '@studio/shared/contract/validated';
import { StudioError } from '@studio/shared/domain/errors';
import type { IncomingHttpHeaders } from 'node:http';
import { callbackHash, isCallbackSecret } from './callback-secret';
import type { CallbackContent } from './dialects/dialect';
import type { DialectOf } from './dialects/dialects';
import { ResultRefused } from './miner-result';
import type { ProgressStore } from './progress.store';
import type { ResultIntake } from './result-intake';
import type { CallbackTarget, ResultStore } from './result.store';
import { storable } from './sql';

export interface CallbackRequest {
  jobId: string;
  attemptNo: number;
  secret: unknown;
  headers: IncomingHttpHeaders;
  body: AsyncIterable<Uint8Array>;
}

/** `accepted: false` carries the reason: the miner's log is where its operator looks first. */
export interface CallbackReply {
  accepted: boolean;
  reason?: string;
}

export class Callbacks {
  constructor(
    private readonly results: ResultStore,
    private readonly intake: ResultIntake,
    private readonly progress: Pick<ProgressStore, 'note'>,
    private readonly dialectOf: DialectOf,
    /** Hears that a job was queued again. */
    private readonly onRefused: (target: CallbackTarget) => void,
    private readonly stalled: (fromMs: number, toMs: number) => boolean,
  ) {}

  /**
   * @throws StudioError CALLBACK_REFUSED, CALLBACK_LATE, SIGNATURE_REFUSED, BODY_TOO_LARGE. Like an error of the stream,
   * all of them leave everything as it was.
   */
  async receive(request: CallbackRequest): Promise<CallbackReply> {
    const arrivedMs = performance.now();
    const target = await this.results.callbackTarget(request.jobId, request.attemptNo);
    // The same answer for a wrong secret and for no such attempt: ids are not for guessing.
    if (!target || !isCallbackSecret(request.secret, target.callbackHash)) {
      throw refused();
    }
    if (target.state === 'accepted') return { accepted: true };
    if (target.state !== 'open') throw late();
    return this.take(target, request, arrivedMs);
  }

  /** @throws StudioError CALLBACK_REFUSED, CALLBACK_LATE, INVALID_INPUT */
  async noteProgress(
    { jobId, attemptNo, secret }: Omit<CallbackRequest, 'headers' | 'body'>,
    body: unknown,
  ): Promise<void> {
    if (typeof secret !== 'string') throw refused();
    const { step, total } = validated(MinerProgress, body);
    if (step > total)
      throw refusal([{ path: 'step', message: `is ${step} of ${total}: give the steps that are done` }]);
    const hash = callbackHash(secret).toString('hex');
    const state = await this.progress.note({ jobId, attemptNo, callbackHash: hash, step, total });
    if (state === undefined) throw refused();
    if (state !== 'open') throw late();
  }

  private async take(target: CallbackTarget, request: CallbackRequest, arrivedMs: number): Promise<CallbackReply> {
    try {
      const { headers, body } = request;
      const sent = await this.dialectOf(target.dialect).readCallback({ target, headers, body });
      return await this.settle(target, sent, target.sinceSentUs + (sent.endMs - arrivedMs) * 1_000);
    } catch (error) {
      if (error instanceof ResultRefused) return this.refuse(target, 'invalid', storable(error.message));
      throw error;
    }
  }

  private async settle(target: CallbackTarget, sent: CallbackContent, rawUs: number): Promise<CallbackReply> {
    // The attempt itself ends at T_max; the worker that finds it closes it.
    if (rawUs > target.timeoutMs * 1_000) throw late();
    const spoiled = this.stalled(sent.endMs, sent.endMs);
    const outcome = await this.intake.take(target, sent, { rawUs, freshTls: false, void: spoiled });
    if (outcome.type === 'late') throw late();
    if (outcome.type === 'accepted') return { accepted: true };
    return this.refuse(target, outcome.state, outcome.reason);
  }

  private async refuse(target: CallbackTarget, state: 'invalid' | 'failed', reason: string): Promise<CallbackReply> {
    if (!(await this.results.refuse(target, state, reason))) throw late();
    this.onRefused(target);
    return { accepted: false, reason };
  }
}

function refused(): StudioError {
  return new StudioError('CALLBACK_REFUSED', 'the callback secret does not belong to this attempt');
}

function late(): StudioError {
  return new StudioError('CALLBACK_LATE', 'the attempt is closed: its time is over, or the job has ended');
}
