import { join } from 'node:path';
import { readFileIfAny, replaceFile } from './durable-file';
import { LedgerCopy, type CopyState } from './ledger-copy';

/** Rises when older files can no longer be read; the log then is read from its beginning. */
const VERSION = 1;

/** Longest that what was learnt is only in memory. Losing it costs reading it again. */
const SAVE_EVERY_MS = 1_000;

/** Where the validator stands in the log, and its sums up to there: one file, so that they never disagree. */
export class Cursor {
  private savedAt = 0;
  private saved: number;

  private constructor(
    private readonly path: string,
    readonly copy: LedgerCopy,
  ) {
    this.saved = copy.seq;
  }

  /** A file that cannot be read is left behind: everything in it can be learnt from the log again. */
  static async open(stateDir: string, say: (text: string) => void): Promise<Cursor> {
    const path = join(stateDir, 'ledger-copy.json');
    const text = await readFileIfAny(path);
    if (text === null) return new Cursor(path, new LedgerCopy());
    try {
      const { version, ...state } = JSON.parse(text) as CopyState & { version: number };
      if (version !== VERSION) throw new RangeError(`version ${version}`);
      return new Cursor(path, LedgerCopy.from(state));
    } catch (error) {
      say(`${path} cannot be read (${(error as Error).message}): starting from the beginning of the log`);
      return new Cursor(path, new LedgerCopy());
    }
  }

  async saveNowAndThen(): Promise<void> {
    if (performance.now() - this.savedAt >= SAVE_EVERY_MS) await this.save();
  }

  async save(): Promise<void> {
    const { seq } = this.copy;
    if (seq === this.saved) return;
    await replaceFile(this.path, JSON.stringify({ version: VERSION, ...this.copy.toState() }));
    this.saved = seq;
    this.savedAt = performance.now();
  }
}
