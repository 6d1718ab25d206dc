/**
 * Remembers when our own event loop stood still, so that a latency sample it may have lengthened can be declared void:
 * a miner must not lose points to our garbage collector. Times are milliseconds of `performance.now()`.
 */
export interface StallWatchOptions {
  /** From incentive.md: a stall of more than 50 ms voids the samples it overlaps. */
  thresholdMs?: number;
  /** How often the loop is looked at; a stall is known up to this much too long, which errs in the miner's favour. */
  tickMs?: number;
  /** Forgets what ended longer ago than the longest job lasts (flux training, 600 s, with its deadline 3 · T_max). */
  keepMs?: number;
  now?: () => number;
}

export interface Stall {
  startMs: number;
  endMs: number;
}

export class StallWatch {
  private readonly stalls: Stall[] = [];
  private readonly thresholdMs: number;
  private readonly tickMs: number;
  private readonly keepMs: number;
  private readonly now: () => number;
  private timer: NodeJS.Timeout | undefined;
  private lastTickMs = 0;

  constructor({
    thresholdMs = 50,
    tickMs = 10,
    keepMs = 1_800_000,
    now = () => performance.now(),
  }: StallWatchOptions = {}) {
    this.thresholdMs = thresholdMs;
    this.tickMs = tickMs;
    this.keepMs = keepMs;
    this.now = now;
  }

  start(): void {
    if (this.timer) return;
    this.lastTickMs = this.now();
    this.timer = setInterval(() => this.tick(), this.tickMs);
    // Watching is no reason to stay alive.
    this.timer.unref();
  }

  stop(): void {
    clearInterval(this.timer);
    this.timer = undefined;
  }

  /** True when a stall shares an instant with the interval, a stall that has not ended yet included. */
  overlapped(fromMs: number, toMs: number): boolean {
    // After a stall, socket callbacks may run before the timer: the stall is then not yet on the list.
    this.tick();
    return this.stalls.some(({ startMs, endMs }) => startMs <= toMs && endMs >= fromMs);
  }

  /** The longest of the stalls that share an instant with the interval, in whole; 0 without one. */
  longestMs(fromMs: number, toMs: number): number {
    this.tick();
    const within = this.stalls.filter(({ startMs, endMs }) => startMs <= toMs && endMs >= fromMs);
    return Math.max(0, ...within.map(({ startMs, endMs }) => endMs - startMs));
  }

  private tick(): void {
    if (!this.timer) return;
    const nowMs = this.now();
    const lateMs = nowMs - this.lastTickMs - this.tickMs;
    if (lateMs > this.thresholdMs) this.stalls.push({ startMs: this.lastTickMs, endMs: nowMs });
    this.lastTickMs = nowMs;
    while (this.stalls[0] && this.stalls[0].endMs < nowMs - this.keepMs) this.stalls.shift();
  }
}
