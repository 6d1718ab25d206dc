import { join } from 'node:path';
import { readFileIfAny, replaceFile } from './durable-file';
import { LedgerCopy, type CopyState } from './ledger-copy';

/** Rises when older files can no longer be read; the log then is read from its beginning. */
const VERSION = 1;

/** Longest that what was learnt is only in memory. Losing it costs reading it again. */
const SAVE_EVERY_MS = 1_000;

const FILE = 'ledger-copy.json';

/** Where the validator stands in the log, and its sums up to there: one file, so that they never disagree. */
export class Cursor {
  private savedAt = 0;
  private saved: number;

  private constructor(
    private readonly path: string,
    readonly copy: LedgerCopy,
    /** What else a validator remembers lies beside it. */
    readonly stateDir: string,
  ) {
    this.saved = copy.seq;
  }

  /** A file that cannot be read is left behind: everything in it can be learnt from the log again. */
  static async open(stateDir: string, say: (text: string) => void): Promise<Cursor> {
    const path = join(stateDir, FILE);
    const text = await readFileIfAny(path);
    if (text === null) return Cursor.atBeginning(stateDir);
    try {
      const { version, ...state } = JSON.parse(text) as CopyState & { version: number };
      if (version !== VERSION) throw new RangeError(`version ${version}`);
      return new Cursor(path, LedgerCopy.from(state), stateDir);
    } catch (error) {
      say(`${path} cannot be read (${(error as Error).message}): starting from the beginning of the log`);
      return Cursor.atBeginning(stateDir);
    }
  }

  /** As if the log had never been read: the file is overwritten with the first save. */
  static atBeginning(stateDir: string): Cursor {
    return new Cursor(join(stateDir, FILE), new LedgerCopy(), stateDir);
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
