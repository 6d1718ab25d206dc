/**
 * When a second miner is asked for a job whose first is slow, and how often that may happen. The first valid result
 * wins. Dean and Barroso, "The Tail at Scale" (2013): waiting for the 95th percentile keeps the extra load near 5 %.
 */
import type { RoutingPolicy } from './policy';

export type HedgePolicy = Pick<
  RoutingPolicy,
  'hedgeQuantile' | 'hedgeMinSamples' | 'hedgeDefaultShare' | 'hedgeFloorShare' | 'hedgeBudget'
>;

/** The latest results of one kind and engine: how many, and the policy's quantile of raw latency / T_max. */
export interface LatestResults {
  samples: number;
  quantileShare: number;
}

/** Nothing after the cutoff of the latency curve earns anything: a hedge that late helps nobody. */
const LATEST_SHARE = 0.9;

/** Unused hedges add up to this many, so that a quiet hour cannot pay for a burst of them. */
const MAX_SAVED_HEDGES = 10;

/** Milliseconds after the send at which a second attempt is due. */
export function hedgeAfterMs(timeoutMs: number, latest: LatestResults | undefined, policy: HedgePolicy): number {
  const known = latest !== undefined && latest.samples >= policy.hedgeMinSamples;
  const share = known ? latest.quantileShare : policy.hedgeDefaultShare;
  return Math.round(timeoutMs * Math.min(Math.max(share, policy.hedgeFloorShare), LATEST_SHARE));
}

/** What is saved after one more job was started. */
export function earnHedge(saved: number, policy: HedgePolicy): number {
  return Math.min(saved + policy.hedgeBudget, MAX_SAVED_HEDGES);
}

/** What is left after a hedge, or undefined when it cannot be afforded. */
export function spendHedge(saved: number): number | undefined {
  return saved >= 1 ? saved - 1 : undefined;
}
