/**
 * What if a conviction took fewer neighbours than the policy's 3 / (q·κ)? The production has no such setting, so a weaker
 * rule is put into its arguments: the count falls as q rises.
 */
import type { Conviction } from '@studio/auditor/reversals';

/** Expected cheated jobs per detection that fall: 3 is the production; 0 takes the convicted award alone. */
export type ReversalFactor = number;

export const PRODUCTION_FACTOR: ReversalFactor = 3;

/** Not below three neighbours: q cannot exceed 1. With a factor of 0 the caller shows no neighbour at all. */
export function conviction(jobId: string, q: number, kappa: number, factor: ReversalFactor): Conviction {
  const weakened = factor === PRODUCTION_FACTOR || factor === 0 ? q : Math.min(1, (q * PRODUCTION_FACTOR) / factor);
  return { jobId, q: weakened, kappa, reason: 'differs from the replays' };
}
