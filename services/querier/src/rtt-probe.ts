/**
 * Measures the least TCP connect time to each miner's host and port, the network's share of a latency. Randomly timed,
 * so that a miner cannot prepare for it, and through the egress door, so that it goes where the jobs go.
 */
import type { RoutableMiner } from '@studio/shared/contract/miners';
import { createEgress, type EgressOptions } from '@studio/shared/platform/egress';
import type { Logger } from '@studio/shared/platform/logger';
import { Sweeper } from '@studio/shared/platform/sweeper';
import type { MeasurementStore } from './measurement.store';
import type { MinerDirectory } from './routing/miner-directory';

/** incentive.md: a minimum over at least 8. */
export const MIN_SAMPLES = 8;
/** Mean pause between two probes of any miner: a full set for ten miners takes about a minute, then costs nothing. */
const MEAN_PAUSE_MS = 750;
const PROBE_MS = 3_000;
const MAX_REPLY_BYTES = 64 * 1024;

export class RttProbe {
  private readonly samples = new Map<string, number[]>();
  private readonly sweeper: Sweeper;
  private nextAtMs = 0;

  constructor(
    private readonly directory: MinerDirectory,
    private readonly measurements: MeasurementStore,
    private readonly egress: Pick<EgressOptions, 'allowPrivate'>,
    log: Pick<Logger, 'error'>,
    private readonly random: () => number = Math.random,
  ) {
    this.sweeper = new Sweeper({ name: 'round trips', everyMs: MEAN_PAUSE_MS / 4, run: () => this.probeOne(), log });
  }

  start(): void {
    this.sweeper.start();
  }

  stop(): Promise<void> {
    return this.sweeper.stop();
  }

  private async probeOne(): Promise<void> {
    const miners = this.directory.all();
    const miner = miners[Math.floor(this.random() * miners.length)];
    if (!miner || performance.now() < this.nextAtMs) return;
    this.nextAtMs = performance.now() + this.random() * 2 * MEAN_PAUSE_MS;
    const tcpMs = await connectMs(miner, this.egress);
    if (tcpMs === undefined) return;
    const taken = [...(this.samples.get(miner.hotkey) ?? []), tcpMs];
    this.samples.set(miner.hotkey, taken);
    if (taken.length < MIN_SAMPLES) return;
    this.samples.delete(miner.hotkey);
    await this.measurements.record(miner.hotkey, Math.round(Math.min(...taken) * 1_000), taken.length);
  }
}

/** Milliseconds of one fresh TCP handshake; undefined when the miner could not be reached. */
async function connectMs(
  { endpoint }: RoutableMiner,
  options: Pick<EgressOptions, 'allowPrivate'>,
): Promise<number | undefined> {
  let tcpMs: number | undefined;
  const onConnect = (_origin: string, ms: number): void => void (tcpMs = ms);
  // A client of its own: the jobs' connections are kept alive, and only a new one has a handshake.
  const egress = createEgress({ ...options, maxConnectionsPerOrigin: 1, onConnect });
  try {
    const url = `${endpoint.replace(/\/+$/, '')}/v1/health`;
    const reply = await egress.request({ url, method: 'GET', deadlineMs: PROBE_MS, maxBytes: MAX_REPLY_BYTES });
    reply.discard();
  } catch {
    // The handshake counts whatever came after it.
  } finally {
    await egress.close();
  }
  return tcpMs;
}
