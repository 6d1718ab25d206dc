/** Beyond this age of a reading the drift of two clocks would be guessed; below it, it is microseconds. */
const MAX_AGE_MS = 1_000;

/**
 * The database's clock, asked once a second at most: a signature is fresh or stale by it, whatever this host believes,
 * and a flood of bad requests may not become a flood of queries.
 */
export class DatabaseClock {
  private last: Reading | undefined;

  /** @param ask the database's time in Unix milliseconds. @param tick this process's monotonic milliseconds. */
  constructor(
    private readonly ask: () => Promise<number>,
    private readonly tick: () => number = () => performance.now(),
  ) {}

  /** Whole milliseconds of Unix time. @throws what asking throws. */
  async nowMs(): Promise<number> {
    const { tickMs, databaseMs } = this.reading();
    return Math.floor((await databaseMs) + this.tick() - tickMs);
  }

  /** Callers at the same moment share one question; a failure is told to them and forgotten. */
  private reading(): Reading {
    const tickMs = this.tick();
    if (this.last && tickMs - this.last.tickMs < MAX_AGE_MS) return this.last;
    const reading = { tickMs, databaseMs: this.ask() };
    reading.databaseMs.catch(() => {
      if (this.last === reading) this.last = undefined;
    });
    this.last = reading;
    return reading;
  }
}

interface Reading {
  databaseMs: Promise<number>;
  /** When it was asked: the time that the answer took makes this clock fast, by milliseconds where seconds matter. */
  tickMs: number;
}
