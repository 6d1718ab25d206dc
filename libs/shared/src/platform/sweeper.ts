import type { Logger } from 'pino';

/**
 * Runs one function now, on every hint and at least every `everyMs`: the pattern of relays and sweepers, whose hints
 * (NATS) may be lost but whose work (rows in Postgres) may not. Never two runs at once.
 */
export interface SweeperOptions {
  name: string;
  everyMs: number;
  /** Returns true when more work is known to wait: the next run then starts at once. `signal` aborts on stop. */
  run: (signal: AbortSignal) => Promise<boolean | void>;
  log: Pick<Logger, 'error'>;
  /**
   * Least time between the end of a run and the next one that a hint asks for; 0 when absent. Under load the hints of
   * this time share one run, an idle sweeper still begins at once.
   */
  restMs?: number;
  /** Upper end of the doubling pause after failures. */
  maxBackoffMs?: number;
}

/** Long enough not to flood a database that is coming back, short beside the lease of 15 s. */
const DEFAULT_MAX_BACKOFF_MS = 10_000;
/** The first pause after a failure. */
const FIRST_BACKOFF_MS = 100;

export class Sweeper {
  private readonly stopping = new AbortController();
  private running: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private hinted = false;
  private failures = 0;
  private endedAt = -Infinity;

  constructor(private readonly options: SweeperOptions) {}

  /** Starts the first run at once. */
  start(): void {
    this.hint();
  }

  /** Asks for a run now. During a run it asks for one more afterwards; during the pause after a failure it waits. */
  hint(): void {
    if (this.stopping.signal.aborted || this.hinted) return;
    this.hinted = true;
    if (this.running || this.failures > 0) return;
    const restMs = this.endedAt + (this.options.restMs ?? 0) - performance.now();
    if (restMs <= 0) return this.begin();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.begin(), restMs);
  }

  /** No run begins after this call; resolves when the current one has ended. */
  async stop(): Promise<void> {
    this.stopping.abort();
    clearTimeout(this.timer);
    await this.running;
  }

  private begin(): void {
    clearTimeout(this.timer);
    this.hinted = false;
    this.running = this.attempt().then((again) => {
      this.running = undefined;
      if (this.stopping.signal.aborted) return;
      this.endedAt = performance.now();
      // A fresh turn even when there is more to do: a busy sweeper may not starve the event loop.
      this.timer = setTimeout(() => this.begin(), this.pauseMs(again));
    });
  }

  private async attempt(): Promise<boolean> {
    try {
      const more = await this.options.run(this.stopping.signal);
      this.failures = 0;
      return more === true;
    } catch (error) {
      if (this.stopping.signal.aborted) return false;
      this.failures += 1;
      this.options.log.error({ err: error, sweeper: this.options.name, failures: this.failures }, 'sweep failed');
      return false;
    }
  }

  private pauseMs(again: boolean): number {
    if (this.failures === 0) {
      if (again) return 0;
      return this.hinted ? (this.options.restMs ?? 0) : this.options.everyMs;
    }
    const max = this.options.maxBackoffMs ?? DEFAULT_MAX_BACKOFF_MS;
    return Math.min(max, FIRST_BACKOFF_MS * 2 ** Math.min(this.failures - 1, 20));
  }
}
