/** When jobs will be done, for whoever waits for one or thinks of handing one in. */
import type { Eta } from '@studio/shared/contract/job-view';
import { estimate } from '@studio/shared/domain/estimate';
import type { Engine, JobKind } from '@studio/shared/domain/job';
import { isTerminal } from '@studio/shared/domain/job-state';
import { taskKind } from '@studio/shared/domain/task-kinds';
import type { Hedges } from './hedges';
import type { StoredJob } from './job.store';
import type { MinerDirectory } from './routing/miner-directory';

export class Estimates {
  constructor(
    private readonly directory: Pick<MinerDirectory, 'offers'>,
    private readonly hedges: Pick<Hedges, 'usual'>,
  ) {}

  /** Null once it has ended, and while too little is known. */
  ofJob(job: StoredJob): Eta | null {
    if (isTerminal(job.state)) return null;
    const sent = job.attempts.find(({ state }) => state === 'open')?.sentAt;
    const elapsedMs = sent === undefined ? 0 : Math.max(0, Date.now() - new Date(sent).getTime());
    const timeoutMs = taskKind(job.kind, job.engine).timeoutMs(job.input);
    return this.of(job.kind, job.engine, { ahead: job.queuePosition ?? 0, timeoutMs, elapsedMs });
  }

  of(kind: JobKind, engine: Engine, wait: { ahead: number; timeoutMs: number; elapsedMs: number }): Eta | null {
    const { slots } = this.capacity(kind, engine);
    const { latest, minSamples } = this.hedges.usual(kind, engine);
    const found = estimate({ ...wait, slots }, latest, minSamples);
    return found ? { median_seconds: found.medianMs / 1_000, p95_seconds: found.p95Ms / 1_000 } : null;
  }

  /** Who may do such jobs, and how many at a time. */
  capacity(kind: JobKind, engine: Engine): { miners: number; slots: number } {
    const offers = this.directory.offers(kind, engine, {});
    return { miners: offers.length, slots: offers.reduce((sum, { slots }) => sum + slots, 0) };
  }
}
