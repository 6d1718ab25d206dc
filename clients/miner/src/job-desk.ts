import { setTimeout as sleep } from 'node:timers/promises';
import type { JobKind } from '@studio/shared/domain/job';
import type { Hotkey } from '@studio/shared/protocol/hotkey';
import type { Logger } from 'pino';
import { deliver } from './callback';
import type { Craft } from './craft';
import type { Inputs } from './inputs';
import type { AcceptedAttempt, JobBook } from './job-book';
import { type JobRequest, attemptKey } from './job-request';
import type { CallbackOutcome, JobOutcome } from './metrics';
import { produce } from './produce';
import { progressReports } from './progress-reports';
import { type Produce, type ResultForm, encodeResult } from './result-form';

export interface DeskParts {
  book: JobBook;
  inputs: Inputs;
  craft: Craft;
  slots: Readonly<Record<JobKind, number>>;
  /** Signs the callbacks. */
  hotkey: Hotkey;
  counts: DeskCounts;
  log: Logger;
}

/** Told what happens, for the metrics. */
export interface DeskCounts {
  jobEnded(kind: JobKind, outcome: JobOutcome, seconds: number): void;
  callbackEnded(outcome: CallbackOutcome): void;
  callbackRetried(): void;
}

/** Why an attempt ended without a result. */
export type Ending = 'cancelled' | 'timeout' | 'closing';

export type Outcome = { result: ResultForm } | { ended: Ending };

/** An attempt that is being worked on. */
export interface RunningAttempt {
  readonly key: string;
  readonly request: JobRequest;
  readonly deadlineMs: number;
  /** Who signed it, if anybody did. */
  readonly orchestrator?: string;
  /** Answered with 202: the result goes to the callback. */
  readonly byCallback: boolean;
  /** Resolves when the attempt will survive a restart (by callback) or at once. */
  readonly recorded: Promise<void>;
  readonly outcome: Promise<Outcome>;
  readonly end: (why: Ending) => void;
}

export type Taken = { state: 'running'; attempt: RunningAttempt } | { state: 'done' } | { state: 'busy' };

/** A rendering takes tens of milliseconds: those that a caller is waiting for are finished on the way out. */
const FINISH_MS = 2_000;

/** setTimeout's longest delay; a job of 24 days does not exist. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * Where attempts are taken, worked on and handed in. `take` decides without awaiting, so that two equal requests cannot
 * both start: an attempt (job id, number) is run once, whoever asks how often.
 */
export class JobDesk {
  private readonly running = new Map<string, RunningAttempt>();
  private readonly deliveries = new Set<Promise<void>>();
  private readonly closing = new AbortController();

  constructor(private readonly parts: DeskParts) {}

  /** Joins the running attempt, points to the stored result, starts a new one, or finds no free slot. */
  take(request: JobRequest, byCallback: boolean, nowMs: number, orchestrator?: string): Taken {
    const key = attemptKey(request);
    const attempt = this.running.get(key);
    if (attempt) return { state: 'running', attempt };
    if (this.parts.book.hasResult(key)) return { state: 'done' };
    if (this.isClosing || this.busy(request.kind) >= this.parts.slots[request.kind]) return { state: 'busy' };
    const accepted = { request, deadlineMs: nowMs + request.timeout_ms, ...(orchestrator && { orchestrator }) };
    return { state: 'running', attempt: this.start(accepted, byCallback, nowMs) };
  }

  /** Takes no more work. */
  get isClosing(): boolean {
    return this.closing.signal.aborted;
  }

  /** Results that are made and not yet delivered. */
  get undelivered(): number {
    return this.deliveries.size;
  }

  /** Attempts of this kind that are being worked on. */
  busy(kind: JobKind): number {
    return [...this.running.values()].filter(({ request }) => request.kind === kind).length;
  }

  /** Ends every attempt at this job; returns how many there were. */
  cancel(jobId: string): number {
    const attempts = [...this.running.values()].filter(
      ({ request }) => request.job_id.toLowerCase() === jobId.toLowerCase(),
    );
    for (const attempt of attempts) attempt.end('cancelled');
    return attempts.length;
  }

  /** Continues what an earlier process of this miner accepted: works again, or delivers what it had finished. */
  async resume(nowMs: number): Promise<void> {
    for (const owed of await this.parts.book.owed()) {
      const key = attemptKey(owed.request);
      const kept = await this.parts.book.result(key);
      if (owed.deadlineMs <= nowMs) await this.parts.book.settle(key);
      else if (kept) this.deliverLater(key, owed, kept);
      else this.start(owed, true, nowMs);
    }
  }

  /** Ends all work. Accepted attempts stay in the book: the next process continues them. */
  async close(): Promise<void> {
    this.closing.abort(new Error('the miner is closing'));
    const attempts = [...this.running.values()];
    const waitedFor = attempts.filter(({ byCallback }) => !byCallback).map(({ outcome }) => outcome);
    await Promise.race([Promise.allSettled(waitedFor), sleep(FINISH_MS, undefined, { ref: false })]);
    for (const attempt of attempts) attempt.end('closing');
    await Promise.allSettled([...attempts.map(({ outcome }) => outcome), ...this.deliveries]);
  }

  private start(accepted: AcceptedAttempt, byCallback: boolean, nowMs: number): RunningAttempt {
    const { request, deadlineMs } = accepted;
    const key = attemptKey(request);
    const abort = new AbortController();
    const timer = setTimeout(() => end('timeout'), Math.min(deadlineMs - nowMs, LONGEST_TIMER_MS));
    const end = (why: Ending): void => abort.abort(why);
    const recorded = byCallback ? this.parts.book.accept(accepted) : Promise.resolve();
    const outcome = recorded
      .then(() => this.work(request, abort.signal))
      .finally(() => {
        clearTimeout(timer);
        this.running.delete(key);
      });
    const attempt = { key, ...accepted, byCallback, recorded, outcome, end };
    this.running.set(key, attempt);
    outcome
      .then((ended) => (byCallback ? this.handIn(attempt, ended) : undefined))
      .catch((error: unknown) => this.parts.log.error({ err: error, key }, 'an attempt could not be recorded'));
    return attempt;
  }

  private async work(request: JobRequest, signal: AbortSignal): Promise<Outcome> {
    const { craft, inputs, book, log } = this.parts;
    const key = attemptKey(request);
    const startedMs = performance.now();
    const ended = (outcome: JobOutcome): void =>
      this.parts.counts.jobEnded(request.kind, outcome, (performance.now() - startedMs) / 1000);
    let made: Produce;
    try {
      made = await produce(request, craft, inputs, signal, progressReports(request.callback, signal));
    } catch (error) {
      if (signal.aborted) {
        log.info({ key, ended: signal.reason as Ending }, 'attempt ended early');
        ended(signal.reason as Ending);
        return { ended: signal.reason as Ending };
      }
      log.warn({ key, err: error }, 'attempt failed');
      made = { error: error instanceof Error ? error.message : String(error) };
    }
    const result = await encodeResult(request, made);
    await book.keepResult(key, result);
    ended('error' in made ? 'failed' : 'completed');
    return { result };
  }

  private async handIn(attempt: RunningAttempt, outcome: Outcome): Promise<void> {
    if ('result' in outcome) this.deliverLater(attempt.key, attempt, outcome.result);
    else if (outcome.ended !== 'closing') await this.parts.book.settle(attempt.key);
  }

  private deliverLater(key: string, { request, deadlineMs, orchestrator }: AcceptedAttempt, form: ResultForm): void {
    const { hotkey, counts } = this.parts;
    const late = AbortSignal.timeout(Math.min(Math.max(deadlineMs - Date.now(), 1), LONGEST_TIMER_MS));
    const { callback } = request;
    const retrying = (): void => counts.callbackRetried();
    const delivery = deliver(
      { callback, form, hotkey, retrying, ...(orchestrator && { orchestrator }) },
      AbortSignal.any([late, this.closing.signal]),
    )
      .then(
        (status) => this.delivered(key, status),
        () => this.undeliverable(key),
      )
      .catch((error: unknown) => this.parts.log.error({ err: error, key }, 'a delivery could not be recorded'));
    this.deliveries.add(delivery);
    void delivery.finally(() => this.deliveries.delete(delivery));
  }

  private delivered(key: string, status: number): Promise<void> {
    const outcome = status < 300 ? 'delivered' : 'refused';
    this.parts.log[outcome === 'delivered' ? 'info' : 'warn']({ key, status }, `result ${outcome}`);
    this.parts.counts.callbackEnded(outcome);
    return this.parts.book.settle(key);
  }

  private async undeliverable(key: string): Promise<void> {
    if (this.closing.signal.aborted) return;
    this.parts.log.warn({ key }, 'result not delivered: the orchestrator did not take it in time');
    this.parts.counts.callbackEnded('expired');
    await this.parts.book.settle(key);
  }
}
