import { setTimeout as sleep } from 'node:timers/promises';
import type { ScoreEvent } from '@studio/shared/contract/scores';
import { BrokenLog } from './ledger-copy';
import { RegistryAway, type RegistryClient } from './registry-client';

/** How often HTTP is asked although the stream is silent: the most that a dead stream delays anything. */
const POLL_MS = 2_000;
const FIRST_PAUSE_MS = 250;
const MAX_PAUSE_MS = 5_000;

/** A fast door (live-feed.ts). It may be late, repeat itself, leave out events or fail: HTTP has them all. */
export interface LiveEvents {
  /** Wants event `seq` and all after it; asked again before each reading. */
  open(seq: number): void | Promise<void>;
  /** The next event offered; undefined after a while without one. */
  next(withinMs: number, signal: AbortSignal): Promise<ScoreEvent | undefined>;
}

export interface ScoreSources {
  registry: RegistryClient;
  /** Undefined: HTTP alone. */
  live?: LiveEvents;
  say: (text: string) => void;
  signal: AbortSignal;
  /** Told each time when what was read is all that there is: at the end of HTTP, and after each event of the stream. */
  caughtUp?: () => void;
  pollMs?: number;
}

/**
 * Every event after `after`, in order, once each, for ever: HTTP to catch up, the stream while it continues without a
 * gap, HTTP again for whatever it left out.
 * @throws BrokenLog when the registry itself skips a number.
 */
export async function* followScores(after: number, sources: ScoreSources): AsyncGenerator<ScoreEvent> {
  const { live, signal, caughtUp, pollMs = POLL_MS } = sources;
  let seq = after;
  while (!signal.aborted) {
    for await (const event of missedEvents(seq, sources)) {
      seq = event.seq;
      yield event;
    }
    if (!signal.aborted) caughtUp?.();
    if (!live || !(await listens(live, seq + 1, sources))) {
      await sleep(pollMs, undefined, { signal }).catch(() => undefined);
      continue;
    }
    for await (const event of liveEvents(seq, live, { signal, pollMs })) {
      seq = event.seq;
      yield event;
      caughtUp?.();
    }
  }
}

/** What HTTP has after `seq`, to its end. */
export async function* missedEvents(
  seq: number,
  { registry, say, signal }: Omit<ScoreSources, 'live'>,
): AsyncGenerator<ScoreEvent> {
  let last = seq;
  while (!signal.aborted) {
    const page = await persistently(() => registry.events(last), { say, signal });
    if (!page) return;
    if (page.last_seq < last) {
      say(`the log of the registry ends at ${page.last_seq}, but ${last} was read before: has it lost entries?`);
      return;
    }
    for (const event of page.events) {
      if (event.seq !== last + 1) throw new BrokenLog(`event ${event.seq} came after event ${last}`);
      last = event.seq;
      yield event;
    }
    if (last >= page.last_seq || page.events.length === 0) return;
  }
}

/** Asks until there is an answer; undefined when told to stop. Says once that it waits. */
export async function persistently<T>(
  ask: () => Promise<T>,
  { say, signal }: Pick<ScoreSources, 'say' | 'signal'>,
): Promise<T | undefined> {
  for (let pause = FIRST_PAUSE_MS; !signal.aborted; pause = Math.min(2 * pause, MAX_PAUSE_MS)) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof RegistryAway)) throw error;
      if (pause === FIRST_PAUSE_MS) say(`${error.message}; trying again`);
      await sleep(pause, undefined, { signal }).catch(() => undefined);
    }
  }
  return undefined;
}

/** Ends at the first gap, and after a silence, so that HTTP can tell whether anything was missed. */
async function* liveEvents(
  seq: number,
  live: LiveEvents,
  { signal, pollMs }: { signal: AbortSignal; pollMs: number },
): AsyncGenerator<ScoreEvent> {
  let last = seq;
  for (;;) {
    const event = await live.next(pollMs, signal);
    if (event === undefined || event.seq > last + 1) return;
    // Published again after the broker lost it, or read over HTTP before.
    if (event.seq !== last + 1) continue;
    last = event.seq;
    yield event;
  }
}

async function listens(live: LiveEvents, seq: number, { say, pollMs = POLL_MS }: ScoreSources): Promise<boolean> {
  try {
    await live.open(seq);
    return true;
  } catch (error) {
    say(`the stream cannot be read (${(error as Error).message}): asking the registry every ${pollMs / 1_000} s`);
    return false;
  }
}
