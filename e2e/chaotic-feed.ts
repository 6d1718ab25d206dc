import type { ScoreEvent } from '@studio/shared/contract/scores';
import type { LiveEvents } from '@studio/validator/score-stream';

/** A number in [0, 1) from a seed (mulberry32): a failure can be played again. */
export function chance(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What a broker has: events in order, until it loses them. */
export class EventStream {
  readonly feeds = new Set<ChaoticFeed>();
  private events: ScoreEvent[] = [];

  publish(events: readonly ScoreEvent[]): void {
    this.events.push(...events);
    this.feeds.forEach((feed) => feed.offer(events));
  }

  from(seq: number): ScoreEvent[] {
    return this.events.filter((event) => event.seq >= seq);
  }

  /** Deleted, or older than it keeps. */
  lose(): void {
    this.events = [];
  }
}

/**
 * In place of the stream's door: what it offers is dropped, doubled, swapped, delayed and cut off at random, as the worst
 * network would have it. What a validator makes of it must not depend on any of that.
 */
export class ChaoticFeed implements LiveEvents {
  private queue: ScoreEvent[] = [];
  private wake: () => void = () => undefined;

  constructor(
    private readonly stream: EventStream,
    private readonly random: () => number,
  ) {}

  open(seq: number): void {
    if (this.random() < 0.2) throw new Error('connection refused');
    this.stream.feeds.add(this);
    if (this.random() < 0.5) this.offer(this.stream.from(seq));
  }

  offer(events: readonly ScoreEvent[]): void {
    for (const event of events) {
      const what = this.random();
      if (what < 0.15) continue;
      this.queue.push(event);
      if (what < 0.3) this.queue.push(event);
      if (what < 0.45) this.queue.sort(() => this.random() - 0.5);
      if (what > 0.97) this.cut();
    }
    this.wake();
  }

  async next(withinMs: number, signal: AbortSignal): Promise<ScoreEvent | undefined> {
    if (this.queue.length === 0 && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const end = (): void => {
          clearTimeout(timer);
          signal.removeEventListener('abort', end);
          resolve();
        };
        const timer = setTimeout(end, withinMs);
        signal.addEventListener('abort', end);
        this.wake = end;
      });
    }
    return this.queue.shift();
  }

  cut(): void {
    this.queue = [];
    this.stream.feeds.delete(this);
  }
}
