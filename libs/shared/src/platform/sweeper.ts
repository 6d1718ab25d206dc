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

  constructor(private readonly options: SweeperOptions) {}

  /** Starts the first run at once. */
  start(): void {
    this.hint();
  }

  /** Asks for a run now. During a run it asks for one more afterwards; during the pause after a failure it waits. */
  hint(): void {
    if (this.stopping.signal.aborted) return;
    this.hinted = true;
    if (this.running || this.failures > 0) return;
    this.begin();
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
      const now = this.failures === 0 && (again || this.hinted);
      // A fresh turn even when there is more to do: a busy sweeper may not starve the event loop.
      this.timer = setTimeout(() => this.begin(), now ? 0 : this.pauseMs());
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

  private pauseMs(): number {
    if (this.failures === 0) return this.options.everyMs;
    const max = this.options.maxBackoffMs ?? DEFAULT_MAX_BACKOFF_MS;
    return Math.min(max, FIRST_BACKOFF_MS * 2 ** Math.min(this.failures - 1, 20));
  }
}
