import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { EpochView } from '@studio/shared/contract/scores';
import { readFileIfAny, replaceFile } from './durable-file';
import type { RegistryClient } from './registry-client';
import { persistently, type ScoreSources } from './score-stream';

const VERSION = 1;

/** About 150 days of epochs of 72 minutes; older ones have long been verified, or never will be. */
const KEPT = 3_000;

interface Sources extends Pick<ScoreSources, 'say' | 'signal'> {
  registry: Pick<RegistryClient, 'currentEpoch'>;
}

/**
 * What each epoch's draw was committed to, seen while the epoch was open: afterwards nobody can know any more whether
 * something else had been published. The first that was seen of an epoch is kept.
 */
export class Commitments {
  private constructor(
    private readonly path: string,
    private readonly seen: Map<number, string>,
    private readonly say: (text: string) => void,
    /** The file there is cannot be read: it is set aside, not overwritten, because it cannot be learnt again. */
    private damaged = false,
  ) {}

  static async open(stateDir: string, say: (text: string) => void): Promise<Commitments> {
    const path = join(stateDir, 'commitments.json');
    const text = await readFileIfAny(path);
    if (text === null) return new Commitments(path, new Map(), say);
    try {
      const { version, commitments } = JSON.parse(text) as { version: number; commitments: Record<string, string> };
      if (version !== VERSION) throw new RangeError(`version ${version}`);
      const seen = Object.entries(commitments).map(([epoch, commitment]) => [Number(epoch), commitment] as const);
      return new Commitments(path, new Map(seen), say);
    } catch (error) {
      say(`${path} cannot be read (${(error as Error).message}): commitments seen before are not compared`);
      return new Commitments(path, new Map(), say, true);
    }
  }

  of(epoch: number): string | undefined {
    return this.seen.get(epoch);
  }

  /**
   * Asks for the open epoch's commitment.
   * @param closed an epoch that has just been seen to close: not asked again when a later one's is known, so that whoever
   *   reads an old log asks once.
   */
  async learn({ registry, say, signal }: Sources, closed = Infinity): Promise<void> {
    if ([...this.seen.keys()].some((known) => known > closed)) return;
    const current = await persistently(() => registry.currentEpoch(), { say, signal });
    if (current) await this.remember(current);
  }

  private async remember({ epoch, commitment }: EpochView): Promise<void> {
    const before = this.seen.get(epoch);
    if (before === commitment) return;
    if (before !== undefined) {
      this.say(`the commitment of epoch ${epoch} was ${before}, now it is ${commitment}: do not rely on its draws`);
      return;
    }
    this.seen.set(epoch, commitment);
    const newest = [...this.seen].sort(([a], [b]) => a - b).slice(-KEPT);
    if (this.damaged) await rename(this.path, `${this.path}.unreadable`);
    this.damaged = false;
    const text = JSON.stringify({ version: VERSION, commitments: Object.fromEntries(newest) });
    await replaceFile(this.path, `${text}\n`);
  }
}
