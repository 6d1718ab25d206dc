/**
 * Whether routing treats equal capacity equally: how many jobs came to each slot, and how unequal that was. Published by
 * the registry per kind and engine (`GET /v1/fairness`), recomputable by anybody from the attempts.
 */

/** One miner's turns in a lane (kind and engine) during a span of time. */
export interface LaneTurns {
  hotkey: string;
  /** Attempts sent to it, whatever came of them: a refused or failed one has used the turn up as well. */
  jobs: number;
  /** Slots that it has proven to have; at least 1. */
  slots: number;
  /** How long of the span it could take part, in ms. */
  presentMs: number;
}

export interface LaneFairness {
  jobs: number;
  /** 0: every slot got the same; towards 1: one got all. Null without a job or without a miner. */
  gini: number | null;
  /** Jobs per proven slot over the whole span, among miners that were there for a tenth of it at least. */
  perSlot: { min: number; median: number; max: number } | null;
  /** What each miner would have got had every slot got the same. They add up to `jobs`. */
  fairJobs: Map<string, number>;
}

/** A miner of the last minute that got its first job at once would show as the most favoured of all. */
const SHOWN_FROM_SHARE = 0.1;

/**
 * The Gini coefficient of `values`, each counted `weights` times: half the mean absolute difference of two picks,
 * divided by the mean. G = Σᵢ Σⱼ wᵢ wⱼ |xᵢ − xⱼ| / (2 W Σᵢ wᵢ xᵢ) with W = Σᵢ wᵢ (C. Gini, Variabilità e mutabilità, 1912;
 * weighted as in Lerman and Yitzhaki, 1989), in O(n log n) from the sorted values.
 *
 * 0 when all are equal and when nobody has anything; (n − 1)/n when one of n has all.
 * @throws RangeError for a value or weight that is negative or not finite.
 */
export function gini(values: readonly number[], weights?: readonly number[]): number {
  const picks = values.map((value, index) => ({ value, weight: weights?.[index] ?? 1 }));
  for (const { value, weight } of picks) {
    if (!(value >= 0 && value < Infinity && weight >= 0 && weight < Infinity)) {
      throw new RangeError(`values and weights must be finite and ≥ 0, are ${value} and ${weight}`);
    }
  }
  picks.sort((a, b) => a.value - b.value);
  let below = 0;
  let sumBelow = 0;
  let differences = 0;
  for (const { value, weight } of picks) {
    // Rounding can take equal values a hair below nought.
    differences += Math.max(0, weight * (value * below - sumBelow));
    below += weight;
    sumBelow += weight * value;
  }
  return sumBelow === 0 ? 0 : differences / (below * sumBelow);
}

/**
 * One lane's fairness over a span. A miner that could take part in a share of the span only counts as so much less
 * capacity: with 2 slots for half of it like one slot for all of it. The span is what the longest present was there for,
 * `spanMs` at most, so that a young system is not all newcomers.
 */
export function laneFairness(miners: readonly LaneTurns[], spanMs: number): LaneFairness {
  const span = miners.reduce((longest, { presentMs }) => Math.max(longest, Math.min(presentMs, spanMs)), 0);
  const there = miners
    .filter(({ presentMs }) => presentMs > 0)
    .map(({ hotkey, jobs, slots, presentMs }) => {
      const share = Math.min(presentMs, span) / span;
      return { hotkey, jobs, share, capacity: slots * share };
    });
  const jobs = there.reduce((sum, miner) => sum + miner.jobs, 0);
  const capacity = there.reduce((sum, miner) => sum + miner.capacity, 0);
  const perSlot = there.map((miner) => miner.jobs / miner.capacity);
  const shown = perSlot.filter((_, index) => (there[index]?.share ?? 0) >= SHOWN_FROM_SHARE);
  const weights = there.map((miner) => miner.capacity);
  return {
    jobs,
    gini: jobs === 0 ? null : gini(perSlot, weights),
    perSlot: shown.length === 0 ? null : quantiles(shown),
    fairJobs: new Map(there.map((miner) => [miner.hotkey, (jobs * miner.capacity) / capacity])),
  };
}

function quantiles(values: readonly number[]): { min: number; median: number; max: number } {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (index: number): number => sorted[index] ?? 0;
  const half = sorted.length / 2;
  return {
    min: at(0),
    median: (at(Math.ceil(half) - 1) + at(Math.floor(half))) / 2,
    max: at(sorted.length - 1),
  };
}
