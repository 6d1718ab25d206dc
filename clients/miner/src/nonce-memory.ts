import { appendFile, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { MAX_CLOCK_SKEW_MS } from '@studio/shared/protocol/signatures';

/** A timestamp may lie this far ahead and is accepted until it lies this far behind. */
const LIFE_MS = 2 * MAX_CLOCK_SKEW_MS;
/** Some 300 kB of file: then it is written anew with what is still alive. */
const LINES_BEFORE_REWRITE = 4_096;

/**
 * Which signed requests were already acted upon. On disk as well: a repeated job is joined by its id, but a cancelled
 * one leaves no result, and a replayed DELETE would end a later attempt; a miner that is restarted within 20 seconds
 * must know both. The lines are not synced: they outlive the process, and no machine boots within their life.
 */
export class NonceMemory {
  private lines = 0;
  private writes: Promise<unknown> = Promise.resolve();

  private constructor(
    private readonly file: string,
    private readonly seen: Map<string, number>,
  ) {}

  static async open(file: string, nowMs: number): Promise<NonceMemory> {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return '';
      throw error;
    });
    const entries = text
      .split('\n')
      .map((line): [string, number] => [line.slice(line.indexOf(' ') + 1), Number.parseInt(line, 10)])
      .filter(([, since]) => since > nowMs - LIFE_MS);
    const memory = new NonceMemory(file, new Map(entries));
    await memory.rewrite();
    return memory;
  }

  /** False when it was used before. Decides at once; resolves when the decision is written. */
  async use(nonce: string, nowMs: number): Promise<boolean> {
    for (const [old, since] of this.seen) {
      if (since > nowMs - LIFE_MS) break;
      this.seen.delete(old);
    }
    if (this.seen.has(nonce)) return false;
    this.seen.set(nonce, nowMs);
    await this.inTurn(async () => {
      if (++this.lines > LINES_BEFORE_REWRITE) await this.rewrite();
      else await appendFile(this.file, lineOf([nonce, nowMs]), { mode: 0o600 });
    });
    return true;
  }

  private inTurn(write: () => Promise<void>): Promise<void> {
    const done = this.writes.then(write);
    this.writes = done.catch(() => undefined);
    return done;
  }

  private async rewrite(): Promise<void> {
    this.lines = this.seen.size;
    const draft = `${this.file}.tmp`;
    await writeFile(draft, [...this.seen].map(lineOf).join(''), { mode: 0o600 });
    await rename(draft, this.file);
  }
}

function lineOf([nonce, since]: [string, number]): string {
  return `${since} ${nonce}\n`;
}
