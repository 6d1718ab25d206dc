/** How load is put on a contender: as fast as it goes, or at a steady rate. */
import { setTimeout as sleep } from 'node:timers/promises';

/** Runs `work` for 0 … count − 1, `width` at a time: a new one as soon as one ends. */
export async function closedLoop(count: number, width: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: Math.min(width, count) }, lane));
}

/**
 * Starts `work` for 0 … count − 1 at `perSecond`, whether or not earlier ones have ended: waiting for a slow one would
 * hide its slowness from the ones behind it.
 */
export async function openLoop(
  count: number,
  perSecond: number,
  work: (index: number) => Promise<void>,
): Promise<void> {
  const start = performance.now();
  const running: Promise<void>[] = [];
  for (let index = 0; index < count; index += 1) {
    const wait = start + (index * 1_000) / perSecond - performance.now();
    if (wait > 0) await sleep(wait);
    running.push(work(index));
  }
  await Promise.all(running);
}
