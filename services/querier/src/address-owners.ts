/**
 * Which miners may not be asked because their address is another operator's (domain/address-owners.ts): by what all workers
 * have measured, and by where this worker was led at its last connect. A name may lead to an address of its own and to
 * another's in turn, and never be measured at either: one such connect is enough, and only so many elsewhere undo it as
 * make a measurement.
 */
import type { RoutableMiner } from '@studio/shared/contract/miners';
import { blockedByAddress, type AddressClaim } from '@studio/shared/domain/address-owners';
import type { Logger } from '@studio/shared/platform/logger';
import { Sweeper } from '@studio/shared/platform/sweeper';
import type { Measured, MeasurementStore } from './measurement.store';
import { MIN_SAMPLES } from './rtt-probe';
import { originOf, RttSamples } from './rtt-samples';

/** Works on what is in memory; the measurements are read every few seconds. */
const REFRESH_MS = 2_000;

/** Later than any measurement: whoever was only seen somewhere takes it from nobody who was measured there. */
const UNMEASURED_SINCE_MS = 1e15;

type Miners = Pick<RoutableMiner, 'hotkey' | 'operator' | 'trusted' | 'endpoint'>;

export class AddressOwners {
  private blocked: ReadonlyMap<string, string> = new Map();
  /** Where each miner was first seen by this worker, while it is there. */
  private readonly sights = new Map<string, { address: string; sinceMs: number }>();
  /** Counted, not timed: two may come in one instant. */
  private sightings = 0;
  private readonly sweeper: Sweeper;

  constructor(
    private readonly directory: { all(): readonly Miners[] },
    private readonly measurements: Pick<MeasurementStore, 'all'>,
    private readonly log: Pick<Logger, 'warn' | 'info' | 'error'>,
    private readonly samples: Pick<RttSamples, 'of'> = new RttSamples(),
  ) {
    this.sweeper = new Sweeper({ name: 'address owners', everyMs: REFRESH_MS, run: () => this.refresh(), log });
  }

  start(): void {
    this.sweeper.start();
  }

  stop(): Promise<void> {
    return this.sweeper.stop();
  }

  isBlocked(hotkey: string): boolean {
    return this.blocked.has(hotkey);
  }

  /** A sentence for the miner; undefined where nothing is in its way. */
  reason(hotkey: string): string | undefined {
    return this.blocked.get(hotkey);
  }

  async refresh(): Promise<void> {
    const [miners, measured] = [this.directory.all(), await this.measurements.all()];
    const before = this.blocked;
    const claims = [...addressClaims(miners, measured), ...this.seenClaims(miners)];
    const now = blockedByAddress(claims);
    for (const miner of miners) {
      const reason = before.get(miner.hotkey);
      if (reason !== undefined && !now.has(miner.hotkey) && !this.isSettled(miner, measured))
        now.set(miner.hotkey, reason);
    }
    this.blocked = now;
    for (const [hotkey, reason] of now) {
      if (before.get(hotkey) !== reason) this.log.warn({ hotkey, reason }, 'a miner is left out: its address is taken');
    }
    for (const hotkey of before.keys()) {
      if (!now.has(hotkey)) this.log.info({ hotkey }, 'a miner is asked again: its address is its own');
    }
  }

  private seenClaims(miners: readonly Miners[]): AddressClaim[] {
    const here = new Set(miners.map(({ hotkey }) => hotkey));
    for (const hotkey of this.sights.keys()) if (!here.has(hotkey)) this.sights.delete(hotkey);
    return miners.flatMap(({ hotkey, operator, trusted, endpoint }) => {
      const { address } = this.samples.of(originOf({ endpoint })) ?? {};
      if (address === undefined) return [];
      const known = this.sights.get(hotkey);
      const sight =
        known?.address === address ? known : { address, sinceMs: UNMEASURED_SINCE_MS + (this.sightings += 1) };
      this.sights.set(hotkey, sight);
      return [{ hotkey, operator, trusted, ...sight }];
    });
  }

  /** Whether it was met where it is now as often as a measurement takes. */
  private isSettled({ hotkey, endpoint }: Miners, measured: ReadonlyMap<string, Measured>): boolean {
    const sample = this.samples.of(originOf({ endpoint }));
    return (sample?.count ?? measured.get(hotkey)?.samples ?? 0) >= MIN_SAMPLES;
  }
}

/** Of those that can be routed to; whoever was not measured yet claims nothing. */
export function addressClaims(
  miners: readonly Pick<RoutableMiner, 'hotkey' | 'operator' | 'trusted'>[],
  measurements: ReadonlyMap<string, Measured>,
): AddressClaim[] {
  return miners.flatMap(({ hotkey, operator, trusted }) => {
    const { address, addressSinceMs } = measurements.get(hotkey) ?? {};
    if (!address || addressSinceMs === null || addressSinceMs === undefined) return [];
    return [{ hotkey, operator, trusted, address, sinceMs: addressSinceMs }];
  });
}
