import { setTimeout as sleep } from 'node:timers/promises';

/** Time as the validator sees it: passed in, so that a test is not the slower for a day of outage. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Ends after `ms`, or earlier when `signal` says so; never rejects. */
  wait(ms: number, signal: AbortSignal): Promise<void>;
}

/** Longer timers overflow in Node and fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export const WALL_CLOCK: Clock = {
  now: () => Date.now(),
  wait: async (ms, signal) => {
    await sleep(Math.min(Math.max(ms, 0), LONGEST_TIMER_MS), undefined, { signal }).catch(() => undefined);
  },
};

/** 2 h 24 min, 12 min, 40 s: how old something is, for people. */
export function spoken(ms: number): string {
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 1) return `${Math.max(0, Math.floor(ms / 1_000))} s`;
  if (minutes < 60) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
