/**
 * One claimed job in one worker: take up the open attempts or make one, send it, hedge it when it is slow, and do what
 * each end asks for, until the job is finished, waits for callbacks, or goes back to the queue.
 */
import { blameOf, type Fault, type Witness } from '@studio/shared/domain/blame';
import { afterAttempt } from '@studio/shared/domain/dispatch-policy';
import type { JobFailure } from '@studio/shared/domain/job';
import { INPUT_REFUSED } from './dialects/answers';
import type { MinerAnswer } from './dialects/dialect';
import type { DialectOf } from './dialects/dialects';
import type { AttemptRecord, ClaimedJob, DispatchStore, NextMove } from './dispatch.store';
import type { Hedges } from './hedges';
import { charged, holdOf, NextMiner, type NextMinerParts } from './next-miner';
import type { ResultIntake } from './result-intake';
import type { HoldEnd } from './routing/turns';

export interface JobRunParts extends NextMinerParts {
  store: DispatchStore;
  intake: ResultIntake;
  hedges: Hedges;
  dialectOf: DialectOf;
  /** What was seen of other operators' miners; told of each miner that answers or cannot be reached. */
  reach: { answered(operator: string): void; failed(operator: string): void; witness(operator: string): Witness };
  /** Whether our own event loop stood still in this interval of `performance.now()`. */
  stalled: (fromMs: number, toMs: number) => boolean;
  /** Whether a timeout may be our own doing: the loop stood still for long, or callbacks found our door shut. */
  excused: (fromMs: number, toMs: number) => boolean;
  /** Hears of every attempt that ended without a result, and of every hedge. */
  count: { ended(attempt: AttemptRecord, job: ClaimedJob): void; hedged(job: ClaimedJob): void };
  /** Hears once that the job has its slot, or will not get one now. */
  placed: () => void;
  random?: () => number;
}

/** An attempt on the wire. */
interface Flight {
  abort: AbortController;
  landing: Promise<Landing>;
}

interface Landing {
  attempt: AttemptRecord;
  resumed: boolean;
  answer: MinerAnswer;
}

type Ended = Pick<Extract<MinerAnswer, { type: 'ended' }>, 'state' | 'fault' | 'reason'>;

const TIMED_OUT: MinerAnswer = {
  type: 'ended',
  state: 'timeout',
  fault: 'miner',
  reason: 'no result within the time the task allows',
};
const WITHDRAWN: MinerAnswer = { type: 'ended', state: 'failed', fault: 'miner', reason: 'the miner has withdrawn' };

/** All miners are busy: long enough for a slot to free up, spread so that the jobs do not return together. */
const BUSY_WAIT_MS = [100, 400] as const;

/** After a failure, where the same miner, or everybody, may be asked again: growing, so that an outage is not hammered. */
const RETRY_WAIT_MS = [500, 1_000, 2_000] as const;

export class JobRun {
  /** Miners that were busy or out of reach in this run; in the next they may be asked again. */
  private readonly passedOver = new Set<string>();
  private readonly flights = new Map<number, Flight>();
  /** Answered with 202: their results come by callback. */
  private parked: AttemptRecord[] = [];
  /** When each attempt was sent, by `performance.now()`. */
  private readonly sentAtMs = new Map<number, number>();
  private hedgeTried = false;
  private readonly next: NextMiner;
  private readonly random: () => number;
  /** `remainingMs` counts from here. */
  private readonly claimedAtMs = performance.now();

  constructor(
    private readonly parts: JobRunParts,
    private job: ClaimedJob,
    private readonly signal: AbortSignal,
  ) {
    this.random = parts.random ?? Math.random;
    this.next = new NextMiner(parts);
    this.noteTimes();
  }

  /** Resolves when this worker has nothing more to do for the job. */
  async run(): Promise<void> {
    try {
      for (const attempt of this.openAttempts()) this.launch(attempt, true);
      let flying = this.flights.size > 0 || (await this.openNext());
      this.parts.placed();
      while (flying) flying = await this.follow(await this.nextLanding());
    } finally {
      // What is still on the wire has lost, or belongs to whoever takes the job up again.
      for (const { abort } of this.flights.values()) abort.abort();
    }
  }

  /** The first answer; a hedge is sent when it is due before. */
  private async nextLanding(): Promise<Landing> {
    const landings = (): Promise<Landing>[] => [...this.flights.values()].map(({ landing }) => landing);
    const dueMs = this.hedgeDueMs();
    if (dueMs !== undefined) {
      const first = await within(Promise.race(landings()), dueMs);
      if (first) return first;
      await this.openHedge();
    }
    return Promise.race(landings());
  }

  /** @returns whether an attempt of this job is on the wire afterwards. */
  private async follow({ attempt, resumed, answer }: Landing): Promise<boolean> {
    this.flights.delete(attempt.attemptNo);
    switch (answer.type) {
      case 'abandoned':
        return false;
      case 'accepted':
        this.parts.reach.answered(attempt.operator);
        this.parked.push(attempt);
        return this.flights.size > 0 || this.park();
      case 'ended':
        return this.conclude(attempt, answer);
      case 'result':
        this.parts.reach.answered(attempt.operator);
        return this.takeResult(attempt, answer, resumed);
    }
  }

  private launch(attempt: AttemptRecord, resumed: boolean): void {
    const abort = new AbortController();
    const signal = AbortSignal.any([this.signal, abort.signal]);
    const landing = this.send(attempt, signal).then((answer) => ({ attempt, resumed, answer }));
    this.flights.set(attempt.attemptNo, { abort, landing });
  }

  private async send(attempt: AttemptRecord, signal: AbortSignal): Promise<MinerAnswer> {
    // Not the job's deadline, which is no fault of this miner: when it comes, the lease is gone and the signal fires.
    const deadlineMs = this.job.timeoutMs - this.elapsedMs(attempt);
    if (deadlineMs <= 0) return TIMED_OUT;
    const miner = this.parts.directory.find(attempt.hotkey);
    if (!miner) return WITHDRAWN;
    const { job } = this;
    return this.parts
      .dialectOf(attempt.dialect)
      .dispatch({ job, attemptNo: attempt.attemptNo, miner, deadlineMs, signal });
  }

  private async takeResult(
    attempt: AttemptRecord,
    { result, receipt, span, freshConnection }: Extract<MinerAnswer, { type: 'result' }>,
    resumed: boolean,
  ): Promise<boolean> {
    const { id: jobId, kind, engine, input, timeoutMs } = this.job;
    const { hotkey, attemptNo } = attempt;
    const { startMs, endMs } = span;
    const subject = { jobId, attemptNo, hotkey, kind, engine, input, timeoutMs };
    const outcome = await this.parts.intake.take(
      subject,
      { result, receipt },
      {
        rawUs: (endMs - startMs) * 1_000,
        freshTls: freshConnection && this.parts.directory.find(hotkey)?.endpoint.startsWith('https:') === true,
        // A resumed attempt began under another worker: when, only that one's clock knew.
        void: resumed || this.parts.stalled(startMs, startMs) || this.parts.stalled(endMs, endMs),
      },
    );
    if (outcome.type === 'accepted') return false;
    if (outcome.type === 'late') return this.flights.size > 0 || this.catchUp();
    return this.conclude(attempt, { ...outcome, fault: 'miner' });
  }

  /** Every miner answered 202: the job waits in the database and holds nothing of this worker. */
  private async park(): Promise<boolean> {
    const { id, leaseNo, timeoutMs } = this.job;
    const untilTimeoutMs = this.parked.map((attempt) => timeoutMs - this.elapsedMs(attempt));
    const wakeMs = Math.max(0, Math.min(...untilTimeoutMs, this.hedgeDueMs() ?? Infinity));
    if (await this.parts.store.awaitCallback(id, leaseNo, wakeMs)) return false;
    return this.catchUp();
  }

  /** A callback was faster than we: it finished the job, or it closed an attempt and the next is due. */
  private async catchUp(): Promise<boolean> {
    const now = await this.parts.store.reload(this.job.id, this.job.leaseNo);
    if (!now) return false;
    this.job = now;
    this.noteTimes();
    this.parked = this.openAttempts();
    return this.parked.length > 0 ? this.park() : this.openNext();
  }

  private async conclude(attempt: AttemptRecord, { state, fault, reason }: Ended): Promise<boolean> {
    const { id: jobId, leaseNo } = this.job;
    const { hotkey, attemptNo } = attempt;
    const blame = this.blame(attempt, state, fault);
    Object.assign(attempt, { state, blame, reason });
    this.parts.turns.settle(holdOf(this.job, attempt), holdEnd(attempt, fault), { restMs: this.restMs(attempt) });
    this.parts.count.ended(attempt, this.job);
    if (blame !== 'miner') this.passedOver.add(hotkey);
    const othersOpen = this.flights.size + this.parked.length > 0;
    const next: NextMove = othersOpen ? { move: 'hold' } : this.nextMove(attempt);
    const held = await this.parts.store.endAttempt({ jobId, leaseNo, attemptNo, state, blame, reason, next });
    if (!held) return false;
    if (othersOpen) return this.flights.size > 0 || this.park();
    return next.move === 'hold' && this.openNext();
  }

  private blame(attempt: AttemptRecord, state: Ended['state'], fault: Fault): AttemptRecord['blame'] {
    const { reach, excused } = this.parts;
    const sentAtMs = this.sentAtMs.get(attempt.attemptNo) ?? this.claimedAtMs;
    if (state === 'timeout' && excused(sentAtMs, performance.now())) return 'ours';
    if (fault === 'connection') reach.failed(attempt.operator);
    else if (state !== 'timeout') reach.answered(attempt.operator);
    return blameOf(fault, reach.witness(attempt.operator));
  }

  /** A turn that brought nothing takes the time of one that did: who refused the long jobs would have time for more short ones. */
  private restMs(attempt: AttemptRecord): number {
    const { kind, engine, timeoutMs } = this.job;
    const isWasted = attempt.state === 'busy' || attempt.blame === 'miner';
    return isWasted ? this.parts.hedges.restMs(kind, engine, timeoutMs, this.elapsedMs(attempt)) : 0;
  }

  private nextMove({ state, blame }: AttemptRecord): NextMove {
    const candidates = this.next.candidates(this.job);
    // The only miner that may do the job gets a pause before it is asked again.
    const askable = this.job.routing.onlyHotkey === undefined;
    const free = candidates.filter(({ hotkey, freeSlots }) => freeSlots > 0 && !this.passedOver.has(hotkey)).length;
    const step = afterAttempt({
      // What was not the miner's fault can be tried again with it.
      outcome: state === 'busy' || blame !== 'miner' ? 'busy' : 'failed',
      attemptsCharged: charged(this.job).length,
      maxAttempts: this.parts.policy().maxAttempts,
      nowMs: performance.now() - this.claimedAtMs,
      deadlineMs: this.job.remainingMs,
      othersFree: askable ? free : 0,
      othersBusy: candidates.length - (askable ? free : 0),
    });
    if (step === 'retry-other') return { move: 'hold' };
    if (step === 'retry-later') return { move: 'release', wakeMs: this.waitMs() };
    return { move: 'fail', failure: failureOf(this.job) };
  }

  /** @returns whether an attempt is on the wire; otherwise the job has gone elsewhere. */
  private async openNext(): Promise<boolean> {
    const opened = await this.next.open(this.job, this.passedOver, false);
    if (opened === 'lost') return false;
    if (opened === 'none') return this.giveWay();
    if (opened.attemptNo === 1) this.parts.hedges.earn();
    this.began(opened);
    return true;
  }

  /** A second miner beside the slow one, where one is free and the budget allows it. Once a job. */
  private async openHedge(): Promise<void> {
    this.hedgeTried = true;
    if (!this.parts.hedges.canAfford()) return;
    const opened = await this.next.open(this.job, this.passedOver, true);
    if (opened === 'none' || opened === 'lost') return;
    this.parts.hedges.spend();
    this.parts.count.hedged(this.job);
    this.began(opened);
  }

  private began(attempt: AttemptRecord): void {
    this.job.attempts.push(attempt);
    this.sentAtMs.set(attempt.attemptNo, performance.now());
    this.launch(attempt, false);
  }

  /** Milliseconds until the only open attempt counts as slow; undefined when no hedge comes into question. */
  private hedgeDueMs(): number | undefined {
    const { routing, attempts, kind, engine, timeoutMs } = this.job;
    const [slow, ...others] = this.openAttempts();
    const isOut = this.hedgeTried || routing.onlyHotkey !== undefined || attempts.some(({ hedge }) => hedge);
    if (isOut || !slow || others.length > 0) return undefined;
    return Math.max(0, this.parts.hedges.afterMs(kind, engine, timeoutMs) - this.elapsedMs(slow));
  }

  /** Nobody can take it now. Later somebody may, or nobody ever will. */
  private async giveWay(): Promise<boolean> {
    const { id: jobId, leaseNo } = this.job;
    const waits = this.next.candidates(this.job).length > 0 || !this.parts.directory.isKnown;
    // Where nobody has a free slot the next claim passes the job over until somebody has: it need not wait besides.
    const next: NextMove = waits
      ? { move: 'release', wakeMs: this.next.isLaneFull(this.job) ? 0 : this.waitMs() }
      : { move: 'fail', failure: failureOf(this.job) };
    const nothing = { attemptNo: null, state: null, blame: 'none', reason: null } as const;
    await this.parts.store.endAttempt({ jobId, leaseNo, ...nothing, next });
    return false;
  }

  private waitMs(): number {
    const failures = this.job.attempts.filter(({ state }) => state === 'failed' || state === 'timeout').length;
    const repeats = this.job.routing.onlyHotkey !== undefined || charged(this.job).length < failures;
    if (repeats && failures > 0) return RETRY_WAIT_MS[Math.min(failures, RETRY_WAIT_MS.length) - 1] ?? RETRY_WAIT_MS[0];
    const [least, most] = BUSY_WAIT_MS;
    return least + this.random() * (most - least);
  }

  private openAttempts(): AttemptRecord[] {
    return this.job.attempts.filter(({ state }) => state === 'open');
  }

  private elapsedMs({ attemptNo }: AttemptRecord): number {
    return performance.now() - (this.sentAtMs.get(attemptNo) ?? performance.now());
  }

  private noteTimes(): void {
    for (const { attemptNo, elapsedMs } of this.job.attempts) {
      this.sentAtMs.set(attemptNo, performance.now() - elapsedMs);
    }
  }
}

function holdEnd({ state, blame }: AttemptRecord, fault: Fault): HoldEnd {
  if (state === 'busy') return 'busy';
  if (blame === 'miner') return 'failed';
  return fault === 'connection' ? 'unreachable' : 'released';
}

function failureOf(job: ClaimedJob): JobFailure {
  const reasons = charged(job).map(({ attemptNo, hotkey, reason }) => `attempt ${attemptNo} (${hotkey}): ${reason}`);
  if (reasons.length === 0) {
    return {
      code: 'NO_ELIGIBLE_MINER',
      message: 'no registered miner can do this job any more: submit it again later',
    };
  }
  // That everybody refuses it is the input's doing, and its client's to mend.
  if (reasons.length > 1 && charged(job).every(({ reason }) => reason?.startsWith(INPUT_REFUSED)))
    return { code: 'INPUT_REFUSED', message: `every miner that was asked refused the input. ${reasons.join('; ')}` };
  return { code: 'JOB_FAILED', message: `no miner gave a valid result. ${reasons.join('; ')}` };
}

/** Undefined when `promise` has not settled after `ms`. */
async function within<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => (timer = setTimeout(() => resolve(undefined), ms)));
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
