/** Wakes the requests that wait for a job to finish. The hint may be lost; the sweep behind it asks the database. */
import { SUBJECTS } from '@studio/shared/contract/subjects';
import type { Logger } from '@studio/shared/platform/logger';
import { Sweeper } from '@studio/shared/platform/sweeper';
import type { NatsConnection, Subscription } from 'nats';
import type { JobStore } from './job.store';

const SWEEP_MS = 1_000;

export class FinishedWatch {
  private readonly waiting = new Map<string, Set<() => void>>();
  private readonly sweeper: Sweeper;
  private subscription: Subscription | undefined;
  private isStopped = false;

  constructor(
    private readonly jobs: JobStore,
    log: Pick<Logger, 'error'>,
  ) {
    this.sweeper = new Sweeper({ name: 'finished jobs', everyMs: SWEEP_MS, run: () => this.look(), log });
  }

  start(nats: NatsConnection): void {
    const callback = (): void => {
      if (this.waiting.size > 0) this.sweeper.hint();
    };
    this.subscription = nats.subscribe(SUBJECTS.jobFinished.subject, { callback });
    this.sweeper.start();
  }

  /** Ends every wait: open requests would hold up the process's end. */
  async stop(): Promise<void> {
    this.isStopped = true;
    this.subscription?.unsubscribe();
    await this.sweeper.stop();
    for (const id of [...this.waiting.keys()]) this.wake(id);
  }

  /** Resolves when the job is finished or the time is over; at once when we are about to end, before the doors are shut. */
  async wait(id: string, ms: number): Promise<void> {
    if (this.isStopped) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => done(), ms);
      const done = (): void => {
        clearTimeout(timer);
        this.forget(id, done);
        resolve();
      };
      const others = this.waiting.get(id) ?? new Set();
      this.waiting.set(id, others.add(done));
      // It may have finished between the caller's look and this call.
      this.sweeper.hint();
    });
  }

  private async look(): Promise<void> {
    const ids = [...this.waiting.keys()];
    if (ids.length === 0) return;
    for (const id of await this.jobs.finishedAmong(ids)) this.wake(id);
  }

  private wake(id: string): void {
    for (const done of [...(this.waiting.get(id) ?? [])]) done();
  }

  private forget(id: string, done: () => void): void {
    const others = this.waiting.get(id);
    others?.delete(done);
    if (others?.size === 0) this.waiting.delete(id);
  }
}
