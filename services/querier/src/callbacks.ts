/** A miner that answered 202 brings its result. The caller is a stranger until the secret has been compared. */
import { StudioError } from '@studio/shared/domain/errors';
import { isCallbackSecret } from './callback-secret';
import { expectedFiles, maxResultBytes, readMinerResult, ResultRefused } from './miner-result';
import type { ResultIntake } from './result-intake';
import type { CallbackTarget, ResultStore } from './result.store';
import { storable } from './sql';

export interface CallbackRequest {
  jobId: string;
  attemptNo: number;
  secret: unknown;
  contentType: string | undefined;
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
    /** Hears that a job was queued again. */
    private readonly onRefused: (target: CallbackTarget) => void,
    private readonly stalled: (fromMs: number, toMs: number) => boolean,
  ) {}

  /** @throws StudioError CALLBACK_REFUSED, CALLBACK_LATE; an error of the stream leaves everything as it was. */
  async receive(request: CallbackRequest): Promise<CallbackReply> {
    const arrivedMs = performance.now();
    const target = await this.results.callbackTarget(request.jobId, request.attemptNo);
    // The same answer for a wrong secret and for no such attempt: ids are not for guessing.
    if (!target || !isCallbackSecret(request.secret, target.callbackHash)) {
      throw new StudioError('CALLBACK_REFUSED', 'the callback secret does not belong to this attempt');
    }
    if (target.state === 'accepted') return { accepted: true };
    if (target.state !== 'open') throw late();
    return this.take(target, request, arrivedMs);
  }

  private async take(target: CallbackTarget, request: CallbackRequest, arrivedMs: number): Promise<CallbackReply> {
    const expected = expectedFiles(target.kind, target.engine, target.input);
    try {
      const body = capped(request.body, maxResultBytes(expected));
      const sent = await readMinerResult(body, request.contentType, expected);
      const endMs = performance.now();
      const rawUs = target.sinceSentUs + (endMs - arrivedMs) * 1_000;
      // The attempt itself ends at T_max; the worker that finds it closes it.
      if (rawUs > target.timeoutMs * 1_000) throw late();
      const outcome = await this.intake.take(target, sent, {
        rawUs,
        freshTls: false,
        void: this.stalled(endMs, endMs),
      });
      if (outcome.type === 'late') throw late();
      if (outcome.type === 'accepted') return { accepted: true };
      return await this.refuse(target, outcome.state, outcome.reason);
    } catch (error) {
      if (error instanceof ResultRefused) return this.refuse(target, 'invalid', storable(error.message));
      throw error;
    }
  }

  private async refuse(target: CallbackTarget, state: 'invalid' | 'failed', reason: string): Promise<CallbackReply> {
    if (!(await this.results.refuse(target, state, reason))) throw late();
    this.onRefused(target);
    return { accepted: false, reason };
  }
}

function late(): StudioError {
  return new StudioError('CALLBACK_LATE', 'the attempt is closed: its time is over, or the job has ended');
}

async function* capped(body: AsyncIterable<Uint8Array>, maxBytes: number): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    if (bytes > maxBytes) throw new ResultRefused(`the result is larger than ${maxBytes} bytes`);
    yield chunk;
  }
}
