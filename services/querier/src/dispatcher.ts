/** A worker's loop: claim as many jobs as there are free slots, run each, and keep their leases alive. */
import { SUBJECTS } from '@studio/shared/contract/subjects';
import { DEFAULT_POLICY, type Policy } from '@studio/shared/domain/policy';
import type { Logger } from '@studio/shared/platform/logger';
import { Sweeper } from '@studio/shared/platform/sweeper';
import type { NatsConnection, Subscription } from 'nats';
import type { ClaimedJob, DispatchStore } from './dispatch.store';
import { JobRun, type JobRunParts } from './job-run';
import type { PolicyStore } from './policy.store';
import { roomKey, type TurnBoard } from './routing/turn-board';

export interface DispatcherOptions {
  concurrency: number;
  /** Longest that a lost hint delays a job. */
  sweepMs: number;
  /** How long `stop` lets running jobs finish before they are handed to other workers. */
  graceMs: number;
}

interface Running {
  job: ClaimedJob;
  /** Ends the work on it: the lease is lost, or the worker shuts down. */
  abort: AbortController;
  done: Promise<void>;
}

/** Two renewals may fail before a lease runs out. */
const RENEWALS_PER_LEASE = 3;
/** Below a third of the shortest lease in use, 5 s in the demo and 1 s in tests. */
const RENEW_TICK_MS = 100;
/** Under load a claim then takes several jobs: it costs two statements, however many it finds. */
const CLAIM_REST_MS = 3;
/** How old the copy of the miners' state may be at a claim; while jobs wait for a slot, a freed one is to be seen soon. */
const COPY_MS = 250;
const COPY_WAITING_MS = 50;

export class Dispatcher {
  private readonly running = new Map<string, Running>();
  private readonly claims: Sweeper;
  private readonly renewals: Sweeper;
  private subscriptions: Subscription[] = [];
  private policy: Policy = DEFAULT_POLICY;
  /** The last claim left jobs behind, so that the end of a job makes room for one. */
  private backlog = false;
  /** At the last claim somebody had no free slot. */
  private isFull = false;
  /** Claimed jobs that have no slot yet, by `roomKey`. */
  private readonly starting = new Map<string, number>();
  private renewedAtMs = 0;

  constructor(
    private readonly store: DispatchStore,
    private readonly policies: PolicyStore,
    private readonly parts: Omit<JobRunParts, 'policy' | 'store' | 'placed'> & { turns: TurnBoard },
    private readonly options: DispatcherOptions,
    private readonly log: Pick<Logger, 'error' | 'info'>,
  ) {
    this.claims = new Sweeper({
      name: 'claims',
      everyMs: options.sweepMs,
      restMs: CLAIM_REST_MS,
      maxBackoffMs: 1_000,
      run: () => this.claim(),
      log,
    });
    this.renewals = new Sweeper({
      name: 'leases',
      everyMs: RENEW_TICK_MS,
      maxBackoffMs: 500,
      run: () => this.renew(),
      log,
    });
  }

  start(nats: NatsConnection): void {
    // A finished job may have freed a miner's slot that a queued one waits for.
    this.subscriptions = [SUBJECTS.jobReady, SUBJECTS.jobFinished].map(({ subject }) =>
      nats.subscribe(subject, { callback: () => this.hint() }),
    );
    this.claims.start();
    this.renewals.start();
  }

  hint(): void {
    this.claims.hint();
  }

  get active(): number {
    return this.running.size;
  }

  /** Claims nothing more, lets what runs finish for a while, then hands the rest to other workers. */
  async stop(): Promise<void> {
    for (const subscription of this.subscriptions) subscription.unsubscribe();
    await this.claims.stop();
    await this.finishWithin(this.options.graceMs);
    const rest = [...this.running.values()];
    for (const { abort } of rest) abort.abort();
    await Promise.allSettled(rest.map(({ done }) => done));
    await this.renewals.stop();
    await this.store.handBack(rest.map(({ job: { id, leaseNo } }) => ({ id, leaseNo })));
    await this.store.drain();
  }

  private async claim(): Promise<void> {
    const room = this.options.concurrency - this.running.size;
    this.backlog = room <= 0;
    // Before the registry has answered once nobody is known, and nothing could be concluded from that.
    if (room <= 0 || !this.parts.directory.isKnown) return;
    this.policy = await this.policies.current();
    const { turns } = this.parts;
    await turns.refresh(this.isFull ? COPY_WAITING_MS : COPY_MS);
    const free = turns.room();
    for (const [key, starting] of this.starting) {
      const slots = free.get(key);
      // A lane without miners has no bound: its jobs have to hear of it.
      if (slots !== undefined) free.set(key, slots - starting);
    }
    this.isFull = [...free.values()].some((slots) => slots <= 0);
    const jobs = await this.store.claim(room, this.policy.leaseMs, free);
    for (const job of jobs) this.launch(job);
    this.backlog = jobs.length === room;
  }

  /** Claimed, and without a slot yet: the next claim must not give its slot to another job. */
  private noteStarting(job: ClaimedJob): () => void {
    const keys = [
      roomKey(job),
      ...(job.routing.onlyHotkey === undefined ? [] : [roomKey(job, job.routing.onlyHotkey)]),
    ];
    const count = (by: number): void =>
      keys.forEach((key) => {
        const starting = (this.starting.get(key) ?? 0) + by;
        if (starting > 0) this.starting.set(key, starting);
        else this.starting.delete(key);
      });
    count(1);
    let placed = false;
    return () => {
      if (!placed) count(-1);
      placed = true;
    };
  }

  private launch(job: ClaimedJob): void {
    const abort = new AbortController();
    // Its lease ran out here as well, while the database was away: the older run's writes are fenced by now.
    this.running.get(job.id)?.abort.abort();
    const placed = this.noteStarting(job);
    const parts = { ...this.parts, store: this.store, policy: () => this.policy, placed };
    const done = new JobRun(parts, job, abort.signal)
      .run()
      // The lease runs out and the job is taken up again: a fault of ours costs nobody anything but time.
      .catch((err: unknown) => this.log.error({ err, job: job.id }, 'a run broke off'))
      .finally(() => {
        placed();
        this.forget(job, abort);
      });
    this.running.set(job.id, { job, abort, done });
  }

  private forget(job: ClaimedJob, abort: AbortController): void {
    if (this.running.get(job.id)?.abort === abort) this.running.delete(job.id);
    if (this.backlog) this.hint();
  }

  private async renew(): Promise<void> {
    const held = [...this.running.values()].map(({ job: { id, leaseNo } }) => ({ id, leaseNo }));
    const dueMs = this.renewedAtMs + this.policy.leaseMs / RENEWALS_PER_LEASE;
    if (held.length === 0 || performance.now() < dueMs) return;
    const startMs = performance.now();
    for (const id of await this.store.renew(held, this.policy.leaseMs)) this.running.get(id)?.abort.abort();
    this.renewedAtMs = startMs;
  }

  private async finishWithin(ms: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
    await Promise.race([Promise.allSettled([...this.running.values()].map(({ done }) => done)), late]);
    clearTimeout(timer);
  }
}
