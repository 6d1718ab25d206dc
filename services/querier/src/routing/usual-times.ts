/**
 * What a kind's usual latencies say about one turn. Turns alone do not keep somebody who can choose from gaining time: while
 * jobs queue up, a free slot gets the next one whosever turn it is, and a slot is believed for the jobs that it holds.
 */
import { hedgeAfterMs, type LatestResults } from '@studio/shared/domain/hedging';
import type { RoutingPolicy } from '@studio/shared/domain/policy';

/** The latest results of one kind and engine; undefined: there are none. */
export type UsualTimes = (LatestResults & { medianShare: number }) | undefined;

/**
 * Times the median. In virtual time, 16 miners at a tenth of their capacity, one that holds its answers back five times as
 * long as they take gets 0.13 times the others' jobs, where without this it would get 26 times as many. Just below the factor
 * it still gets about three times as many (with 1.5 twice, with 2.5 six times), and half of the machines that really are so
 * slow would no more be believed with a smaller one.
 */
const SLOW_FACTOR = 2;

/**
 * How long a slot rests whose turn brought nothing after `elapsedMs`: until nearly every job like it would have been done.
 * While too few results are known, as long as the shortest wait for a hedge. Who refuses long jobs has no more time for short
 * ones than who does them.
 */
export function restMs(timeoutMs: number, elapsedMs: number, usual: UsualTimes, policy: RoutingPolicy): number {
  const cautious = { ...policy, hedgeDefaultShare: policy.hedgeFloorShare };
  return Math.max(0, Math.round(hedgeAfterMs(timeoutMs, usual, cautious) - elapsedMs));
}

/** Whether a result took much longer than half of its kind's do; false while those are too few to know. */
export function isSlow(timeoutMs: number, rawMs: number, usual: UsualTimes, policy: RoutingPolicy): boolean {
  if (!usual || usual.samples < policy.hedgeMinSamples) return false;
  return rawMs > SLOW_FACTOR * usual.medianShare * timeoutMs;
}
