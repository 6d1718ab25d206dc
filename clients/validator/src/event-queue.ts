import type { ScoreEvent } from '@studio/shared/contract/scores';

/** Events that came, until somebody takes them. */
export class EventQueue {
  private events: ScoreEvent[] = [];
  private wake: () => void = () => undefined;

  get length(): number {
    return this.events.length;
  }

  /** At the end, or anywhere: who takes them goes by their numbers. */
  push(...events: readonly ScoreEvent[]): void {
    this.events.push(...events);
    this.wake();
  }

  /** @returns what was there. */
  clear(): ScoreEvent[] {
    return this.events.splice(0);
  }

  /** The next one; undefined after a while without one, or when told to stop. */
  async next(withinMs: number, signal: AbortSignal): Promise<ScoreEvent | undefined> {
    if (this.events.length === 0 && !signal.aborted) {
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
    return this.events.shift();
  }
}
