/** Where weights go: a file that somebody else hands to the chain, or bittensor-pylon, which does it itself. */
import { isPassing as pylonMayPass, PylonClient } from './pylon-client';
import type { EpochWeights } from './snapshot-check';
import { chainVector, type Share } from './uids';
import { chainPartOf, readWeights, writeWeights, type ChainPart, type FilePlace } from './weights-file';

export interface Order {
  weights: EpochWeights;
  /** Of everybody who is scored: from these the values are computed again where somebody has left the subnet. */
  shares: readonly Share[];
}

export interface WeightsTarget {
  /** For messages. */
  readonly name: string;
  /**
   * Hands one vector over; doing it twice changes nothing.
   * @returns what was done, for the log.
   * @throws an error that `isPassing`: trying again may help; any other: it would not.
   */
  set(order: Order): Promise<string>;
  /** Nobody is scored: what is in force stays; a place that has nothing yet may say so. */
  nothing(weights: EpochWeights): Promise<void>;
}

/** An empty vector, or one of zeros only, is never handed over: on the chain it would pay nobody, or burn. */
export class NothingToSet extends Error {
  constructor(why: string) {
    super(`nothing to set, because ${why}`);
    this.name = 'NothingToSet';
  }
}

/** The sidecar away, a metagraph that is being written, a full disk. */
export function isPassing(error: unknown): boolean {
  return pylonMayPass(error) || typeof (error as NodeJS.ErrnoException).code === 'string';
}

export class FileTarget implements WeightsTarget {
  constructor(private readonly place: FilePlace) {}

  get name(): string {
    return this.place.path;
  }

  async set({ weights, shares }: Order): Promise<string> {
    const chain = await chainPartOf(shares, this.place);
    refuseNothing(weights, chain);
    await writeWeights(weights, this.place, chain);
    return `${weights.outcome}, ${weights.hotkeys.length} miners, in ${this.place.path}${leftOut(chain)}`;
  }

  /** A file with weights in it stays as it is, whatever reads it. */
  async nothing(weights: EpochWeights): Promise<void> {
    const written = await readWeights(this.place.path);
    if (!written || written.hotkeys.length === 0) await writeWeights(weights, this.place);
  }
}

/** @param record where the vector is written as well, once the sidecar has it: to be compared with. */
export class PylonTarget implements WeightsTarget {
  constructor(
    private readonly pylon: PylonClient,
    private readonly record: FilePlace,
  ) {}

  get name(): string {
    return this.pylon.name;
  }

  /**
   * The sidecar drops hotkeys that have no uid and would set what is left, be it nothing: so its metagraph is asked before.
   * It gets shares of one; dividing them by the largest and rounding to 16 bits, as it does, gives exactly our values.
   */
  async set({ weights, shares }: Order): Promise<string> {
    const members = await this.pylon.members();
    const chain = { ...chainVector(shares, members), block: members.block };
    refuseNothing(weights, chain);
    const count = await this.pylon.putWeights(sharesOfOne(chain));
    await writeWeights(weights, this.record, chain);
    return `${weights.outcome}, ${count} of ${weights.hotkeys.length} miners, scheduled by ${this.name}${leftOut(chain)}`;
  }

  async nothing(): Promise<void> {
    // The chain keeps what it has.
  }
}

export function sharesOfOne({ hotkeys, values }: Pick<ChainPart, 'hotkeys' | 'values'>): Record<string, number> {
  const total = values.reduce((sum, value) => sum + value, 0);
  return Object.fromEntries(hotkeys.map((hotkey, index) => [hotkey, values[index]! / total]));
}

function refuseNothing({ epoch, weights, hotkeys }: EpochWeights, chain: ChainPart | undefined): void {
  if (weights.length === 0 || weights.every((weight) => weight === 0)) {
    throw new NothingToSet(`epoch ${epoch} has no weights`);
  }
  if (chain?.uids.length === 0) {
    throw new NothingToSet(
      `none of the ${hotkeys.length} miners of epoch ${epoch} is in the metagraph: is it this subnet's?`,
    );
  }
}

function leftOut(chain: ChainPart | undefined): string {
  if (!chain || chain.leftOut.length === 0) return '';
  return `; left out, because they are not in the metagraph: ${chain.leftOut.join(', ')}`;
}
