import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { readFileIfAny, replaceFile } from './durable-file';
import type { Dated } from './rhythm';
import type { EpochWeights } from './snapshot-check';
import type { Share } from './uids';

const VERSION = 1;

/** A vector that checked out, with everything that is needed to hand it over again without the registry. */
export interface GoodWeights extends Dated {
  weights: EpochWeights;
  shares: Share[];
}

interface Stored {
  version: number;
  good: GoodWeights | null;
  emptyEpoch: number | null;
  done: { slot: string; epoch: number; at: string } | null;
}

/**
 * What a validator remembers about setting weights: the last good vector, and when it was handed over. On disk, so that a
 * restart neither hands over twice nor is left with nothing while the registry is away.
 */
export class WeightsState {
  /** One save after the other: the follower and the setter both save, and the newest has to be the last. */
  private saving: Promise<void> = Promise.resolve();

  private constructor(
    private readonly path: string,
    private stored: Stored,
  ) {}

  static async open(stateDir: string, say: (text: string) => void): Promise<WeightsState> {
    const path = join(stateDir, 'weights-state.json');
    const fresh = { version: VERSION, good: null, emptyEpoch: null, done: null };
    const text = await readFileIfAny(path);
    if (text === null) return new WeightsState(path, fresh);
    try {
      const stored = JSON.parse(text) as Stored;
      if (stored.version !== VERSION) throw new RangeError(`version ${stored.version}`);
      if (stored.good && !(stored.good.weights.hotkeys.length > 0 && stored.good.epochMs > 0)) {
        throw new RangeError('its last good weights are none');
      }
      return new WeightsState(path, stored);
    } catch (error) {
      say(`${path} cannot be read (${(error as Error).message}): set aside; the log has the weights`);
      await rename(path, `${path}.unreadable`);
      return new WeightsState(path, fresh);
    }
  }

  get good(): GoodWeights | null {
    return this.stored.good;
  }

  /** A later epoch than `good`'s in which nobody is scored. */
  get emptyEpoch(): number | null {
    return this.stored.emptyEpoch;
  }

  get doneSlot(): string | null {
    return this.stored.done?.slot ?? null;
  }

  /** Epoch of the weights that were handed over last; null where none were. */
  get doneEpoch(): number | null {
    return this.stored.done?.epoch ?? null;
  }

  /** True where nothing was ever learnt: then the log has to be read from its beginning. */
  get isBlank(): boolean {
    return this.stored.good === null && this.stored.emptyEpoch === null;
  }

  learn(good: GoodWeights): Promise<void> {
    return this.save({ good, emptyEpoch: null });
  }

  learnEmpty(epoch: number): Promise<void> {
    return this.save({ emptyEpoch: epoch });
  }

  finish(slot: string, epoch: number, nowMs: number): Promise<void> {
    return this.save({ done: { slot, epoch, at: new Date(nowMs).toISOString() } });
  }

  private async save(change: Partial<Stored>): Promise<void> {
    this.stored = { ...this.stored, ...change };
    const write = (): Promise<void> => replaceFile(this.path, `${JSON.stringify(this.stored)}\n`);
    this.saving = this.saving.then(write, write);
    await this.saving;
  }
}
