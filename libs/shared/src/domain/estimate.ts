/** When a job will be done, as far as the latest ones of its kind tell. */
import type { LatestResults } from './hedging';

export interface Wait {
  /** Jobs of its kind before it; 0 for one that runs. */
  ahead: number;
  /** Jobs of its kind that its miners do at a time. */
  slots: number;
  timeoutMs: number;
  /** Since it was sent to a miner; 0 for one that waits. */
  elapsedMs: number;
}

export interface Estimate {
  medianMs: number;
  /** By the policy's quantile (`hedgeQuantile`, 0.95). */
  p95Ms: number;
}

/**
 * Whoever is before it is taken in rounds of `slots`, each as long as half of the latest jobs took, as shares of their time
 * limits; then comes the job itself. Undefined where too few are known, or nobody is there to do it.
 */
export function estimate(
  { ahead, slots, timeoutMs, elapsedMs }: Wait,
  latest: (LatestResults & { medianShare: number }) | undefined,
  minSamples: number,
): Estimate | undefined {
  if (!latest || latest.samples < minSamples || slots < 1) return undefined;
  const medianMs = latest.medianShare * timeoutMs;
  const waitMs = Math.floor(ahead / slots) * medianMs;
  const left = (ms: number): number => Math.max(0, Math.round(waitMs + ms - elapsedMs));
  return { medianMs: left(medianMs), p95Ms: left(latest.quantileShare * timeoutMs) };
}
