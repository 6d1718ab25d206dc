import { setTimeout as sleep } from 'node:timers/promises';
import type { ScoreEvent } from '@studio/shared/contract/scores';
import { BrokenLog } from './ledger-copy';
import type { LiveFeed } from './live-feed';
import { RegistryAway, type RegistryClient } from './registry-client';

/** How often HTTP is asked although the stream is silent: the most that a dead stream delays anything. */
const POLL_MS = 2_000;
const FIRST_PAUSE_MS = 250;
const MAX_PAUSE_MS = 5_000;

export interface ScoreSources {
  registry: RegistryClient;
  /** Undefined: HTTP alone. */
  live?: LiveFeed;
  say: (text: string) => void;
  signal: AbortSignal;
}

/**
 * Every event after `after`, in order, once each, for ever: HTTP to catch up, the stream while it continues without a
 * gap, HTTP again for whatever it left out.
 * @throws BrokenLog when the registry itself skips a number.
 */
export async function* followScores(after: number, sources: ScoreSources): AsyncGenerator<ScoreEvent> {
  const { live, signal } = sources;
  let seq = after;
  while (!signal.aborted) {
    for await (const event of missedEvents(seq, sources)) {
      seq = event.seq;
      yield event;
    }
    if (!live || !(await listens(live, seq + 1, sources))) {
      await sleep(POLL_MS, undefined, { signal }).catch(() => undefined);
      continue;
    }
    for await (const event of liveEvents(seq, live, signal)) {
      seq = event.seq;
      yield event;
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
async function* liveEvents(seq: number, live: LiveFeed, signal: AbortSignal): AsyncGenerator<ScoreEvent> {
  let last = seq;
  for (;;) {
    const event = await live.next(POLL_MS, signal);
    if (event === undefined || event.seq > last + 1) return;
    // Published again after the broker lost it, or read over HTTP before.
    if (event.seq !== last + 1) continue;
    last = event.seq;
    yield event;
  }
}

async function listens(live: LiveFeed, seq: number, { say }: ScoreSources): Promise<boolean> {
  try {
    await live.open(seq);
    return true;
  } catch (error) {
    say(`the stream cannot be read (${(error as Error).message}): asking the registry every ${POLL_MS / 1_000} s`);
    return false;
  }
}
