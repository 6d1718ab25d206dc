/** Which miners have which LoRA: a copy of what all workers know. A wrong belief costs one transfer, or misses a saving. */
import { HOLDER_TTL_MS, type LaneStore } from './lane-store';

/** Holders found by other workers come into the copy after at most this. */
const RELEARN_MS = 1_000;
/** LoRAs that are remembered here; the oldest go. */
const MAX_LORAS = 1_000;
/** A holder that uses its LoRA again and again is written down this often: well before it would be forgotten. */
const REWRITE_MS = HOLDER_TTL_MS / 4;
const MAX_WRITTEN = 10_000;

interface Known {
  hotkeys: Set<string>;
  readAtMs: number;
}

export class LoraHolders {
  private readonly known = new Map<string, Known>();
  /** When each (LoRA, holder) was written last, the oldest first. */
  private readonly written = new Map<string, number>();

  constructor(
    private readonly store: LaneStore,
    private readonly clock: () => number,
  ) {}

  of(lora: string): ReadonlySet<string> {
    return this.known.get(lora)?.hotkeys ?? new Set();
  }

  async learn(lora: string): Promise<void> {
    const nowMs = this.clock();
    const ageMs = nowMs - (this.known.get(lora)?.readAtMs ?? -HOLDER_TTL_MS);
    if (ageMs >= 0 && ageMs < RELEARN_MS) return;
    this.remember(lora, new Set(await this.store.holders(lora, nowMs)), nowMs);
  }

  async add(lora: string, hotkey: string): Promise<void> {
    const known = this.known.get(lora);
    if (known) known.hotkeys.add(hotkey);
    else this.remember(lora, new Set([hotkey]), -Infinity);
    if (this.isDue(`${lora}|${hotkey}`)) await this.store.addHolder(lora, hotkey, this.clock());
  }

  private isDue(pair: string): boolean {
    const nowMs = this.clock();
    const agoMs = nowMs - (this.written.get(pair) ?? -REWRITE_MS);
    if (agoMs >= 0 && agoMs < REWRITE_MS) return false;
    this.written.delete(pair);
    this.written.set(pair, nowMs);
    for (const oldest of this.written.keys()) {
      if (this.written.size <= MAX_WRITTEN) break;
      this.written.delete(oldest);
    }
    return true;
  }

  private remember(lora: string, hotkeys: Set<string>, readAtMs: number): void {
    this.known.delete(lora);
    this.known.set(lora, { hotkeys, readAtMs });
    for (const oldest of this.known.keys()) {
      if (this.known.size <= MAX_LORAS) break;
      this.known.delete(oldest);
    }
  }
}
