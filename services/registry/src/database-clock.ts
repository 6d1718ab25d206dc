/** Beyond this age of a reading the drift of two clocks would be guessed; below it, it is microseconds. */
const MAX_AGE_MS = 1_000;

/**
 * The database's clock, asked once a second at most: a signature is fresh or stale by it, whatever this host believes,
 * and a flood of bad requests may not become a flood of queries.
 */
export class DatabaseClock {
  private reading: Promise<Reading> | undefined;

  /** @param ask the database's time in Unix milliseconds. @param tick this process's monotonic milliseconds. */
  constructor(
    private readonly ask: () => Promise<number>,
    private readonly tick: () => number = () => performance.now(),
  ) {}

  async nowMs(): Promise<number> {
    const last = await this.reading?.catch(() => undefined);
    const reading = last && this.tick() - last.tickMs < MAX_AGE_MS ? last : await this.read();
    return reading.databaseMs + (this.tick() - reading.tickMs);
  }

  /** Callers at the same moment share one question. */
  private read(): Promise<Reading> {
    const asked = this.tick();
    const reading = this.ask().then((databaseMs) => ({ databaseMs, tickMs: asked }));
    this.reading = reading;
    return reading;
  }
}

interface Reading {
  databaseMs: number;
  /** When it was asked: the answer's own way back makes us late, never early. */
  tickMs: number;
}
