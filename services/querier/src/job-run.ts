/**
 * One claimed job in one worker: take up the open attempt or make one, send it, and do what its end asks for, until the
 * job is finished, waits for a callback, or goes back to the queue.
 */
import { afterAttempt, chooseMiner, isEligible, type Exclusions } from '@studio/shared/domain/dispatch-policy';
import type { InferenceInput, JobFailure } from '@studio/shared/domain/job';
import { callbackHash, callbackSecret } from './callback-secret';
import type { AttemptRecord, ClaimedJob, DispatchStore, NextMove } from './dispatch.store';
import type { Dialect, MinerAnswer } from './dialects/dialect';
import type { MinerDirectory } from './routing/miner-directory';
import type { MinerCandidate, MinerLoad } from './routing/miner-load';
import type { ResultIntake } from './result-intake';

export interface JobRunParts {
  store: DispatchStore;
  directory: MinerDirectory;
  load: MinerLoad;
  client: Dialect;
  intake: ResultIntake;
  /** Whether our own event loop stood still in this interval of `performance.now()`. */
  stalled: (fromMs: number, toMs: number) => boolean;
  urlSecret: string;
  maxAttempts: () => number;
  random?: () => number;
}

/** An attempt that ended without a result; `busy` is not charged. */
interface Ended {
  state: 'failed' | 'invalid' | 'busy' | 'timeout';
  blame: AttemptRecord['blame'];
  reason: string;
}

/** All miners are busy: long enough for a slot to free up, spread so that the jobs do not return together. */
const BUSY_WAIT_MS = [100, 400] as const;

/** A job that only one miner may do is asked of it again after these. */
const SAME_MINER_WAIT_MS = [500, 1_000, 2_000] as const;

export class JobRun {
  /** Miners that were busy in this run; in the next they may be asked again. */
  private readonly busy = new Set<string>();
  private readonly random: () => number;
  /** `remainingMs` counts from here. */
  private readonly claimedAtMs = performance.now();

  constructor(
    private readonly parts: JobRunParts,
    private job: ClaimedJob,
    private readonly signal: AbortSignal,
  ) {
    this.random = parts.random ?? Math.random;
  }

  /** Resolves when this worker has nothing more to do for the job. */
  async run(): Promise<void> {
    const open = this.job.attempts.find(({ state }) => state === 'open');
    let attempt = open ?? (await this.openNext());
    let resumed = open !== undefined;
    while (attempt) {
      const next = await this.attempt(attempt, resumed);
      attempt = next ? await this.openNext() : undefined;
      resumed = false;
    }
  }

  /** @returns whether another attempt is due in this run. */
  private async attempt(attempt: AttemptRecord, resumed: boolean): Promise<boolean> {
    const answer = await this.send(attempt);
    switch (answer.type) {
      case 'abandoned':
        return false;
      case 'accepted':
        return this.park(attempt);
      case 'ended':
        return this.conclude(attempt, { ...answer, blame: answer.fault === 'connection' ? 'miner' : answer.fault });
      case 'result':
        return this.takeResult(attempt, answer, resumed);
    }
  }

  private async send(attempt: AttemptRecord): Promise<MinerAnswer> {
    const miner = this.parts.directory.find(attempt.hotkey);
    // Not the job's deadline, which is no fault of this miner: when it comes, the lease is gone and the signal fires.
    const deadlineMs = this.job.timeoutMs - attempt.elapsedMs;
    if (deadlineMs <= 0) {
      return { type: 'ended', state: 'timeout', fault: 'miner', reason: 'no result within the time the task allows' };
    }
    if (!miner) return { type: 'ended', state: 'failed', fault: 'miner', reason: 'the miner has withdrawn' };
    const { job, signal } = this;
    return this.parts.client.dispatch({
      job,
      attemptNo: attempt.attemptNo,
      miner,
      deadlineMs,
      signal,
    });
  }

  private async takeResult(
    attempt: AttemptRecord,
    { result, span, freshConnection }: Extract<MinerAnswer, { type: 'result' }>,
    resumed: boolean,
  ): Promise<boolean> {
    const { id: jobId, kind, engine, input, timeoutMs } = this.job;
    const { hotkey, attemptNo } = attempt;
    const { startMs, endMs } = span;
    const outcome = await this.parts.intake.take({ jobId, attemptNo, hotkey, kind, engine, input, timeoutMs }, result, {
      rawUs: (endMs - startMs) * 1_000,
      freshTls: freshConnection && this.parts.directory.find(hotkey)?.endpoint.startsWith('https:') === true,
      // A resumed attempt began under another worker: when, only that one's clock knew.
      void: resumed || this.parts.stalled(startMs, startMs) || this.parts.stalled(endMs, endMs),
    });
    if (outcome.type === 'refused') return this.conclude(attempt, { ...outcome, blame: 'miner' });
    this.parts.load.ended(hotkey, kind, engine);
    if (kind === 'lora-inference') this.parts.load.holds(hotkey, (input as InferenceInput).lora.sha256);
    return false;
  }

  /** The miner answered 202: the job waits in the database and holds nothing of this worker. */
  private async park({ attemptNo }: AttemptRecord): Promise<boolean> {
    const { id, leaseNo } = this.job;
    if (await this.parts.store.awaitCallback(id, leaseNo, attemptNo)) return false;
    // The callback overtook the 202. It finished the job, or it closed the attempt and the next is due.
    const now = await this.parts.store.reload(id, leaseNo);
    if (now) this.job = now;
    return now !== undefined;
  }

  private async conclude(attempt: AttemptRecord, { state, blame, reason }: Ended): Promise<boolean> {
    const { id: jobId, leaseNo, kind, engine } = this.job;
    this.parts.load.ended(attempt.hotkey, kind, engine);
    Object.assign(attempt, { state, blame, reason });
    if (!this.job.attempts.includes(attempt)) this.job.attempts.push(attempt);
    if (state === 'busy') {
      this.busy.add(attempt.hotkey);
      this.parts.load.refused(attempt.hotkey, kind, engine);
    }
    const next = this.nextMove(state === 'busy' ? 'busy' : 'failed');
    const { attemptNo } = attempt;
    const held = await this.parts.store.endAttempt({ jobId, leaseNo, attemptNo, state, blame, reason, next });
    return held && next.move === 'hold';
  }

  private nextMove(outcome: 'busy' | 'failed'): NextMove {
    const { routing, attempts } = this.job;
    const candidates = this.candidates();
    const isFree = ({ hotkey, freeSlots }: MinerCandidate): boolean => freeSlots > 0 && !this.busy.has(hotkey);
    // The only miner that may do the job gets a pause before it is asked again.
    const free = routing.onlyHotkey === undefined ? candidates.filter(isFree).length : 0;
    const step = afterAttempt({
      outcome,
      attemptsCharged: charged(attempts).length,
      maxAttempts: this.parts.maxAttempts(),
      nowMs: performance.now() - this.claimedAtMs,
      deadlineMs: this.job.remainingMs,
      othersFree: free,
      othersBusy: candidates.length - free,
    });
    if (step === 'retry-other') return { move: 'hold' };
    if (step === 'retry-later') return { move: 'release', wakeMs: this.waitMs() };
    return { move: 'fail', failure: failureOf(attempts) };
  }

  /** Chooses a miner and makes the attempt durable; undefined when the job has gone elsewhere instead. */
  private async openNext(): Promise<AttemptRecord | undefined> {
    const { id: jobId, leaseNo, kind, engine } = this.job;
    const candidates = this.candidates().filter(({ hotkey }) => !this.busy.has(hotkey));
    const chosen = chooseMiner(candidates, this.exclusions());
    if (!chosen) return this.giveWay();
    const { hotkey, operator } = chosen;
    this.parts.load.chosen(hotkey, kind, engine);
    const attemptNo = this.job.attemptNo + 1;
    const hash = callbackHash(callbackSecret(this.parts.urlSecret, jobId, attemptNo)).toString('hex');
    const opened = await this.parts.store.openAttempt({
      jobId,
      leaseNo,
      attemptNo,
      hotkey,
      operator,
      callbackHash: hash,
    });
    this.parts.load.opened(hotkey, kind, engine, opened);
    if (!opened) return undefined;
    this.job.attemptNo = attemptNo;
    return { attemptNo, hotkey, operator, state: 'open', blame: 'none', reason: null, elapsedMs: 0 };
  }

  /** Nobody can take it now. Later somebody may, or nobody ever will. */
  private async giveWay(): Promise<undefined> {
    const { id: jobId, leaseNo, attempts } = this.job;
    const waits = this.candidates().length > 0 || !this.parts.directory.isKnown;
    const next: NextMove = waits
      ? { move: 'release', wakeMs: this.waitMs() }
      : { move: 'fail', failure: failureOf(attempts) };
    await this.parts.store.endAttempt({
      jobId,
      leaseNo,
      attemptNo: null,
      state: null,
      blame: 'none',
      reason: null,
      next,
    });
    return undefined;
  }

  /** Everybody who may still have this job, busy or not. */
  private candidates(): MinerCandidate[] {
    const { kind, engine, routing, input } = this.job;
    const lora = kind === 'lora-inference' ? (input as InferenceInput).lora.sha256 : null;
    const offers = this.parts.directory.offers(kind, engine, routing);
    const exclusions = this.exclusions();
    return this.parts.load.candidates(offers, kind, engine, lora).filter((item) => isEligible(item, exclusions));
  }

  private exclusions(): Exclusions {
    const { routing, attempts } = this.job;
    // The only miner that may do the job is asked again.
    const tried = routing.onlyHotkey === undefined ? charged(attempts).map(({ hotkey }) => hotkey) : [];
    return { tried: new Set(tried), excludeOperators: new Set(routing.excludeOperators) };
  }

  private waitMs(): number {
    const failures = charged(this.job.attempts).length;
    if (this.job.routing.onlyHotkey !== undefined && failures > 0) {
      return SAME_MINER_WAIT_MS[Math.min(failures, SAME_MINER_WAIT_MS.length) - 1] ?? SAME_MINER_WAIT_MS[0];
    }
    const [least, most] = BUSY_WAIT_MS;
    return least + this.random() * (most - least);
  }
}

/** Attempts that count towards the maximum: not those that ended busy or by a fault of ours. */
function charged(attempts: readonly AttemptRecord[]): AttemptRecord[] {
  return attempts.filter(({ state, blame }) => ['failed', 'invalid', 'timeout'].includes(state) && blame !== 'ours');
}

function failureOf(attempts: readonly AttemptRecord[]): JobFailure {
  const reasons = charged(attempts).map(
    ({ attemptNo, hotkey, reason }) => `attempt ${attemptNo} (${hotkey}): ${reason}`,
  );
  if (reasons.length === 0) {
    return {
      code: 'NO_ELIGIBLE_MINER',
      message: 'no registered miner can do this job any more: submit it again later',
    };
  }
  return { code: 'JOB_FAILED', message: `no miner gave a valid result. ${reasons.join('; ')}` };
}
