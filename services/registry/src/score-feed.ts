import type { ScoreEvent } from '@studio/shared/contract/scores';
import type { ScoreStore } from './score.store';

/** Events read at a time: a slow reader holds one page in memory, whatever its backlog. */
const PAGE = 500;

/** Proxies cut idle connections after 60 s and more; a dead reader is noticed at the next write. */
const KEEP_ALIVE_MS = 15_000;

/** The log as an endless sequence, for readers who keep a connection open. Reads Postgres only: hints say when. */
export class ScoreFeed {
  private readonly closing = new AbortController();
  private readonly wakers = new Set<() => void>();
  private known = 0;

  constructor(private readonly store: ScoreStore) {}

  /** A sweep: looks for new events and wakes the readers. */
  async run(): Promise<void> {
    const last = await this.store.lastSeq();
    if (last === this.known) return;
    this.known = last;
    this.wakers.forEach((wake) => wake());
  }

  /** Ends every reader, so that the server can close. */
  close(): void {
    this.closing.abort();
    this.wakers.forEach((wake) => wake());
  }

  /** Every event after `after`, old and new, as lines of a server-sent stream, until the reader or the server goes. */
  async *lines(after: number, reader: AbortSignal): AsyncGenerator<string> {
    let cursor = after;
    const gone = (): boolean => reader.aborted || this.closing.signal.aborted;
    while (!gone()) {
      const events = await this.store.events(cursor, PAGE);
      for (const event of events) yield toLines(event);
      cursor = events.at(-1)?.seq ?? cursor;
      if (events.length > 0 || gone()) continue;
      if (!(await this.news(cursor, reader))) yield ': still here\n\n';
    }
  }

  /** True when there may be events after `cursor`, false after a while without any. */
  private news(cursor: number, reader: AbortSignal): Promise<boolean> {
    if (this.known > cursor) return Promise.resolve(true);
    return new Promise((resolve) => {
      const end = (found: boolean): void => {
        clearTimeout(timer);
        this.wakers.delete(wake);
        reader.removeEventListener('abort', wake);
        resolve(found);
      };
      const wake = (): void => end(true);
      const timer = setTimeout(() => end(false), KEEP_ALIVE_MS);
      this.wakers.add(wake);
      reader.addEventListener('abort', wake);
    });
  }
}

function toLines(event: ScoreEvent): string {
  return `id: ${event.seq}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
}
