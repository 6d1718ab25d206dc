import { decodeSs58 } from '@studio/shared/protocol/ss58';
import type { ByteStore } from './byte-store';

const FILE = 'orchestrator';

/**
 * Whose jobs this miner takes. A hotkey given by the operator is final; otherwise the registry that the miner registers
 * with names it, and the last name is kept on disk, so that a restarted miner is never open to others. With neither,
 * the miner takes jobs from anybody: a private deployment, or a first try.
 */
export class Orchestrator {
  private constructor(
    private readonly store: ByteStore,
    private readonly pinned: string | undefined,
    private readonly hasRegistry: boolean,
    private learned: string | undefined,
  ) {}

  static async open(store: ByteStore, pinned: string | undefined, hasRegistry: boolean): Promise<Orchestrator> {
    const kept = hasRegistry ? (await store.read(FILE))?.toString() : undefined;
    return new Orchestrator(store, pinned, hasRegistry, kept && decodeSs58(kept) ? kept : undefined);
  }

  get hotkey(): string | undefined {
    return this.pinned ?? this.learned;
  }

  /** Whether jobs of anybody else are refused; where the hotkey is not known yet, everybody's are. */
  get enforced(): boolean {
    return this.pinned !== undefined || this.hasRegistry;
  }

  /** Called at every registration. Returns whether the name is new. */
  async learn(hotkey: string): Promise<boolean> {
    if (hotkey === this.learned) return false;
    this.learned = hotkey;
    await this.store.write(FILE, hotkey);
    return true;
  }
}
