import { randomInt } from 'node:crypto';

/** The largest range `randomInt` takes; its steps are far below a millisecond for any mean. */
const RANDOM_STEPS = 2 ** 48 - 1;

/**
 * A random exponential delay in whole ms: memoryless, so that the time since a job tells its miner nothing about
 * whether an audit of it is still to come.
 */
export function exponentialDelayMs(meanMs: number): number {
  const uniform = (randomInt(RANDOM_STEPS) + 1) / RANDOM_STEPS;
  return Math.round(-Math.log(uniform) * meanMs);
}
