import type { JobKind } from '@studio/shared/domain/job';
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';

/** From a quick rendering to the longest training (T_max of a LoRA is ten minutes). */
const SECONDS_BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600];

/** How an attempt ended. `failed`: the manifest said so; `cancelled`, `timeout` and `closing` have no result. */
export type JobOutcome = 'completed' | 'failed' | 'cancelled' | 'timeout' | 'closing';
/** `refused`: the orchestrator did not want it (late, cancelled); `expired`: it did not answer in the attempt's time. */
export type CallbackOutcome = 'delivered' | 'refused' | 'expired';

/** The desk, as the gauges see it. */
export interface Occupancy {
  busy(kind: JobKind): number;
  readonly undelivered: number;
}

/** What a miner counts, in a Prometheus registry of its own. Names are published: docs/miners.md lists them. */
export class MinerMetrics {
  readonly registry = new Registry();
  private readonly jobs = new Counter({
    name: 'miner_jobs_total',
    help: 'Attempts that ended, by kind and outcome.',
    labelNames: ['kind', 'outcome'] as const,
    registers: [this.registry],
  });
  private readonly seconds = new Histogram({
    name: 'miner_job_seconds',
    help: 'From taking an attempt to its result, of those that have one.',
    labelNames: ['kind'] as const,
    buckets: SECONDS_BUCKETS,
    registers: [this.registry],
  });
  private readonly callbacks = new Counter({
    name: 'miner_callbacks_total',
    help: 'Results handed in by callback, by outcome.',
    labelNames: ['outcome'] as const,
    registers: [this.registry],
  });
  private readonly retries = new Counter({
    name: 'miner_callback_retries_total',
    help: 'Callbacks that were sent again, because the orchestrator did not answer or asked to wait.',
    registers: [this.registry],
  });
  private readonly refusals = new Counter({
    name: 'miner_refusals_total',
    help: 'Requests that were refused, by reason: a signature problem, busy, invalid, too-large.',
    labelNames: ['reason'] as const,
    registers: [this.registry],
  });
  private readonly registered = new Gauge({
    name: 'miner_registered',
    help: '1 while the last registration succeeded.',
    registers: [this.registry],
  });

  constructor() {
    collectDefaultMetrics({ register: this.registry });
  }

  /** Reads the desk whenever somebody asks. */
  watch(desk: Occupancy, slots: Readonly<Partial<Record<JobKind, number>>>): void {
    const kinds = Object.entries(slots) as [JobKind, number][];
    const gauge = { labelNames: ['kind'] as const, registers: [this.registry] };
    new Gauge({
      name: 'miner_jobs_running',
      help: 'Attempts that are being worked on.',
      ...gauge,
      collect(this: Gauge<'kind'>) {
        for (const [kind] of kinds) this.set({ kind }, desk.busy(kind));
      },
    });
    const limits = new Gauge({
      name: 'miner_slots',
      help: 'Attempts that may be worked on at the same time.',
      ...gauge,
    });
    for (const [kind, count] of kinds) limits.set({ kind }, count);
    new Gauge({
      name: 'miner_callbacks_pending',
      help: 'Results that are made and not yet delivered.',
      registers: [this.registry],
      collect(this: Gauge) {
        this.set(desk.undelivered);
      },
    });
  }

  jobEnded(kind: JobKind, outcome: JobOutcome, seconds: number): void {
    this.jobs.inc({ kind, outcome });
    if (outcome === 'completed' || outcome === 'failed') this.seconds.observe({ kind }, seconds);
  }

  callbackEnded(outcome: CallbackOutcome): void {
    this.callbacks.inc({ outcome });
  }

  callbackRetried(): void {
    this.retries.inc();
  }

  refused(reason: string): void {
    this.refusals.inc({ reason });
  }

  setRegistered(is: boolean): void {
    this.registered.set(is ? 1 : 0);
  }
}
