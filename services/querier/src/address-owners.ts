/** Which miners may not be asked because their address is another operator's (domain/address-owners.ts). */
import type { RoutableMiner } from '@studio/shared/contract/miners';
import { blockedByAddress, type AddressClaim } from '@studio/shared/domain/address-owners';
import type { Logger } from '@studio/shared/platform/logger';
import { Sweeper } from '@studio/shared/platform/sweeper';
import type { MeasurementStore } from './measurement.store';

const REFRESH_MS = 10_000;

export class AddressOwners {
  private blocked: ReadonlyMap<string, string> = new Map();
  private readonly sweeper: Sweeper;

  constructor(
    private readonly directory: { all(): readonly RoutableMiner[] },
    private readonly measurements: Pick<MeasurementStore, 'all'>,
    private readonly log: Pick<Logger, 'warn' | 'info' | 'error'>,
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
    const before = this.blocked;
    this.blocked = blockedByAddress(addressClaims(this.directory.all(), await this.measurements.all()));
    for (const [hotkey, reason] of this.blocked) {
      if (before.get(hotkey) !== reason) this.log.warn({ hotkey, reason }, 'a miner is left out: its address is taken');
    }
    for (const hotkey of before.keys()) {
      if (!this.blocked.has(hotkey)) this.log.info({ hotkey }, 'a miner is asked again: its address is its own');
    }
  }
}

/** Of those that can be routed to; whoever was not connected to yet claims nothing. */
export function addressClaims(
  miners: readonly RoutableMiner[],
  measurements: Awaited<ReturnType<MeasurementStore['all']>>,
): AddressClaim[] {
  return miners.flatMap(({ hotkey, operator, trusted }) => {
    const { address, addressSinceMs } = measurements.get(hotkey) ?? {};
    if (!address || addressSinceMs === null || addressSinceMs === undefined) return [];
    return [{ hotkey, operator, trusted, address, sinceMs: addressSinceMs }];
  });
}
