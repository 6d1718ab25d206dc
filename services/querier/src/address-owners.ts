/**
 * A resolved IP:port belongs to one operator. Whoever registers another's address under a name of its own would earn on
 * the other's work, or be routed to as often as it has names. Caller: the worker's routing, before it chooses.
 */
import type { RoutableMiner } from '@studio/shared/contract/miners';
import type { Logger } from '@studio/shared/platform/logger';
import { Sweeper } from '@studio/shared/platform/sweeper';
import type { MeasurementStore } from './measurement.store';

const REFRESH_MS = 10_000;

/** Where a miner's endpoint led to when it was last connected to, and since when. */
export interface AddressClaim {
  hotkey: string;
  operator: string;
  /** A reference: it was put there by us. */
  trusted: boolean;
  address: string;
  sinceMs: number;
}

/**
 * Each miner whose address another operator had first, with a sentence that says so; by hotkey. References come before
 * everybody: their endpoints are no secret, and nobody may earn on them. Pure, and independent of the claims' order.
 */
export function blockedByAddress(claims: readonly AddressClaim[]): Map<string, string> {
  const owners = new Map<string, AddressClaim>();
  for (const claim of claims) {
    const owner = owners.get(claim.address);
    if (!owner || comesBefore(claim, owner)) owners.set(claim.address, claim);
  }
  const blocked = new Map<string, string>();
  for (const { hotkey, operator, address } of claims) {
    const owner = owners.get(address)!.operator;
    if (owner !== operator) blocked.set(hotkey, reasonFor(address, owner));
  }
  return blocked;
}

function comesBefore(a: AddressClaim, b: AddressClaim): boolean {
  if (a.trusted !== b.trusted) return a.trusted;
  if (a.sinceMs !== b.sinceMs) return a.sinceMs < b.sinceMs;
  // In the same millisecond: whoever it is, every worker has to decide alike.
  return a.operator < b.operator;
}

function reasonFor(address: string, owner: string): string {
  return `its endpoint leads to ${address}, which belongs to operator ${owner}; give this miner an address or a port of its own`;
}

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
