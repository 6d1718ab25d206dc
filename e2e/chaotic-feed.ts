import type { ScoreEvent } from '@studio/shared/contract/scores';
import { EventQueue } from '@studio/validator/event-queue';
import type { LiveEvents } from '@studio/validator/score-stream';

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
  private readonly queue = new EventQueue();

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
      if (what < 0.45) this.queue.push(...this.queue.clear().sort(() => this.random() - 0.5));
      if (what > 0.97) this.cut();
    }
  }

  next(withinMs: number, signal: AbortSignal): Promise<ScoreEvent | undefined> {
    return this.queue.next(withinMs, signal);
  }

  cut(): void {
    this.queue.clear();
    this.stream.feeds.delete(this);
  }
}
