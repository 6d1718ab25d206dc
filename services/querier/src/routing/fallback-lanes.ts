/**
 * The shared lanes while Redis answers, and lanes of this worker's own while it does not. Those begin empty, so that the
 * board makes them from its copy and from Postgres; when Redis is back, they are forgotten. Workers that are alone cannot
 * see what the others reserve between two looks into Postgres: a miner may then be asked for more than it has, and says 429.
 */
import type { Logger } from '@studio/shared/platform/logger';
import type { MinerRecord } from './lane-record';
import type { HoldName, LaneImage, LaneName, LaneStore, Released, Take, TakeAnswer, TimedHold } from './lane-store';
import { MemoryLanes } from './memory-lanes';

/** A server that accepts connections and does not answer is asked again after this; that call waits for its timeout. */
const RETRY_MS = 1_000;

export class FallbackLanes implements LaneStore {
  private readonly alone = new MemoryLanes();
  private isLost = false;
  private retryAtMs = -Infinity;

  /** `onBack` hears that the shared lanes answer again: they do not know what was reserved meanwhile. */
  constructor(
    private readonly shared: LaneStore & { readonly isConnected: boolean },
    private readonly log: Pick<Logger, 'warn' | 'info'>,
    private readonly onBack: () => void = () => undefined,
    private readonly monotonicMs: () => number = () => performance.now(),
  ) {}

  read(lane: LaneName, nowMs: number): Promise<LaneImage | undefined> {
    return this.either((store) => store.read(lane, nowMs));
  }

  create(lane: LaneName, image: LaneImage, holds: readonly TimedHold[], nowMs: number): Promise<boolean> {
    return this.either((store) => store.create(lane, image, holds, nowMs));
  }

  take(lane: LaneName, take: Take): Promise<TakeAnswer> {
    return this.either((store) => store.take(lane, take));
  }

  release(lane: LaneName, hold: HoldName, nowMs: number): Promise<Released | undefined> {
    return this.either((store) => store.release(lane, hold, nowMs));
  }

  learn(lane: LaneName, hotkey: string, record: MinerRecord): Promise<MinerRecord | undefined> {
    return this.either((store) => store.learn(lane, hotkey, record));
  }

  holds(lane: LaneName, nowMs: number): Promise<HoldName[]> {
    return this.either((store) => store.holds(lane, nowMs));
  }

  restore(lane: LaneName, holds: readonly TimedHold[], nowMs: number): Promise<void> {
    return this.either((store) => store.restore(lane, holds, nowMs));
  }

  addHolder(lora: string, hotkey: string, nowMs: number): Promise<void> {
    return this.either((store) => store.addHolder(lora, hotkey, nowMs));
  }

  holders(lora: string, nowMs: number): Promise<string[]> {
    return this.either((store) => store.holders(lora, nowMs));
  }

  private async either<T>(call: (store: LaneStore) => Promise<T>): Promise<T> {
    const nowMs = this.monotonicMs();
    if (this.isLost && (!this.shared.isConnected || nowMs < this.retryAtMs)) return call(this.alone);
    this.retryAtMs = nowMs + RETRY_MS;
    try {
      const answer = await call(this.shared);
      this.found();
      return answer;
    } catch (error) {
      this.lost(error);
      return call(this.alone);
    }
  }

  private lost(err: unknown): void {
    if (this.isLost) return;
    this.isLost = true;
    this.alone.clear();
    this.log.warn({ err }, 'turns are not shared any more: Redis does not answer');
  }

  private found(): void {
    if (!this.isLost) return;
    this.isLost = false;
    this.log.info({}, 'turns are shared again');
    this.onBack();
  }
}
