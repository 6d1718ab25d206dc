/**
 * Measures the least TCP connect time to each miner's host and port, the network's share of a latency. Randomly timed,
 * so that a miner cannot prepare for it, and through the egress door, so that it goes where the jobs go; the jobs' own
 * connects count as well. Miners without a measurement come first. Through a proxy there is nothing to measure.
 */
import type { RoutableMiner } from '@studio/shared/contract/miners';
import { createEgress, type EgressOptions } from '@studio/shared/platform/egress';
import type { Logger } from '@studio/shared/platform/logger';
import { Sweeper } from '@studio/shared/platform/sweeper';
import type { Measured, Measurement, MeasurementStore } from './measurement.store';
import { originOf, RttSamples } from './rtt-samples';

/** incentive.md: a minimum over at least 8. */
export const MIN_SAMPLES = 8;
/** Probes at the same time: 256 miners of whom each probe takes half a second have their 8 within about a minute. */
const LANES = 16;
const TICK_MS = 100;
/** One statement for everything that came meanwhile. */
const WRITE_MS = 5_000;
/** Mean pauses between two probes of one miner: until it is measured, and for good. Routes change over hours. */
const UNMEASURED_PAUSE_MS = 4_000;
const MEASURED_PAUSE_MS = 300_000;
/** A new miner is probed for the first time within this. */
const FIRST_PAUSE_MS = 1_000;
const PROBE_MS = 3_000;
const MAX_REPLY_BYTES = 64 * 1024;

type ProbeEgress = Omit<EgressOptions, 'maxConnectionsPerOrigin' | 'onConnect'>;

interface Plan {
  dueMs: number;
  /** Probes in a row that reached nobody. */
  failures: number;
  running: boolean;
}

export class RttProbe {
  private readonly plans = new Map<string, Plan>();
  private readonly running = new Set<Promise<void>>();
  private readonly prober: Sweeper;
  private readonly writer: Sweeper;

  constructor(
    private readonly directory: { all(): readonly RoutableMiner[] },
    private readonly measurements: Pick<MeasurementStore, 'all' | 'recordAll'>,
    private readonly egress: ProbeEgress,
    log: Pick<Logger, 'error'>,
    private readonly samples: RttSamples = new RttSamples(),
    private readonly random: () => number = Math.random,
  ) {
    const write = (): Promise<void> => this.write();
    this.prober = new Sweeper({ name: 'round trips', everyMs: TICK_MS, run: () => this.probeDue(), log });
    this.writer = new Sweeper({ name: 'measurements', everyMs: WRITE_MS, restMs: TICK_MS, run: write, log });
  }

  start(): void {
    if (this.egress.proxyUrl !== undefined) return;
    this.prober.start();
    this.writer.start();
  }

  async stop(): Promise<void> {
    await Promise.all([this.prober.stop(), this.writer.stop()]);
    await Promise.all(this.running);
  }

  /** Writes down every miner's connects of which there are enough. */
  async write(): Promise<void> {
    const known = await this.measurements.all();
    const rows: Measurement[] = [];
    const taken = new Map<string, { address: string; unwritten: number }>();
    for (const miner of this.directory.all()) {
      const origin = originOf(miner);
      const sample = this.samples.of(origin);
      if (!sample || sample.unwritten === 0 || !enough(sample, known.get(miner.hotkey))) continue;
      const { address, minUs, unwritten } = sample;
      rows.push({ hotkey: miner.hotkey, rttMinUs: minUs, samples: unwritten, address });
      taken.set(origin, { address, unwritten });
    }
    await this.measurements.recordAll(rows);
    for (const [origin, sample] of taken) this.samples.written(origin, sample);
  }

  private async probeDue(): Promise<void> {
    const known = await this.measurements.all();
    const miners = this.directory.all();
    this.follow(miners);
    const nowMs = performance.now();
    const due = miners
      .map((miner) => ({ miner, plan: this.plans.get(miner.hotkey)!, measured: this.isMeasured(miner, known) }))
      .filter(({ plan }) => plan.dueMs <= nowMs && !plan.running)
      .sort((a, b) => Number(a.measured) - Number(b.measured) || a.plan.dueMs - b.plan.dueMs);
    for (const { miner, plan, measured } of due.slice(0, LANES - this.running.size)) {
      const probe = this.probe(miner, plan, measured).finally(() => this.running.delete(probe));
      this.running.add(probe);
    }
  }

  /** A plan for everybody who is there, none for who has gone. */
  private follow(miners: readonly RoutableMiner[]): void {
    const here = new Set(miners.map(({ hotkey }) => hotkey));
    for (const hotkey of this.plans.keys()) if (!here.has(hotkey)) this.plans.delete(hotkey);
    for (const hotkey of here) {
      if (this.plans.has(hotkey)) continue;
      const dueMs = performance.now() + this.random() * FIRST_PAUSE_MS;
      this.plans.set(hotkey, { dueMs, failures: 0, running: false });
    }
  }

  private async probe(miner: RoutableMiner, plan: Plan, measured: boolean): Promise<void> {
    plan.running = true;
    const reached = await connects(miner, this.egress, this.samples.onConnect);
    plan.running = false;
    plan.failures = reached ? 0 : plan.failures + 1;
    const meanMs = measured ? MEASURED_PAUSE_MS : UNMEASURED_PAUSE_MS * 2 ** Math.min(plan.failures, 10);
    plan.dueMs = performance.now() + this.random() * 2 * Math.min(meanMs, MEASURED_PAUSE_MS);
    // A new miner's credit begins with its first measurement.
    if (this.samples.of(originOf(miner))?.count === MIN_SAMPLES) this.writer.hint();
  }

  /** By this worker or, while it has not connected there itself, by another. */
  private isMeasured(miner: RoutableMiner, known: ReadonlyMap<string, Measured>): boolean {
    const sample = this.samples.of(originOf(miner));
    const before = known.get(miner.hotkey);
    return sample ? enough(sample, before) : (before?.samples ?? 0) >= MIN_SAMPLES;
  }
}

/** Here alone, or by other workers at the same place. */
function enough({ address, count }: { address: string; count: number }, known: Measured | undefined): boolean {
  return count >= MIN_SAMPLES || (known?.address === address && known.samples >= MIN_SAMPLES);
}

/** Whether a fresh connection was made; its time goes to `onConnect`. */
async function connects(
  { endpoint }: RoutableMiner,
  options: ProbeEgress,
  onConnect: NonNullable<EgressOptions['onConnect']>,
): Promise<boolean> {
  let reached = false;
  // A client of its own: the jobs' connections are kept alive, and only a new one has a handshake.
  const egress = createEgress({
    ...options,
    maxConnectionsPerOrigin: 1,
    onConnect: (...connect) => {
      reached = true;
      onConnect(...connect);
    },
  });
  try {
    const url = `${endpoint.replace(/\/+$/, '')}/v1/health`;
    const reply = await egress.request({ url, method: 'GET', deadlineMs: PROBE_MS, maxBytes: MAX_REPLY_BYTES });
    reply.discard();
  } catch {
    // The handshake counts whatever came after it.
  } finally {
    await egress.close();
  }
  return reached;
}
