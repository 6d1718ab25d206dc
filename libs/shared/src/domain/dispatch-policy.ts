/**
 * The worker's decisions about one job: which miner gets it, and what follows an attempt that did not succeed.
 * Pure: time, load and turns are passed in. Routing decides the sums of points, hence fairness comes before everything
 * else; scores play no part.
 */

export interface Candidate {
  hotkey: string;
  operator: string;
  /** Verified capacity for this kind, and how much of it is free now. */
  slots: number;
  freeSlots: number;
  /** Jobs of this kind offered in the current round; a refusal (429) counts too. */
  turns: number;
  /** Whether the miner already has the LoRA, and no transfer is needed. */
  holdsLora: boolean;
}

export interface Exclusions {
  /** Miners that already had this job. */
  tried: ReadonlySet<string>;
  excludeOperators: ReadonlySet<string>;
}

/**
 * The miner whose turn it is: fewest turns per slot, then one that holds the LoRA, then hotkey order. Deterministic,
 * and independent of the order of the candidates. Undefined when none has a free slot.
 */
export function chooseMiner<T extends Candidate>(candidates: readonly T[], exclusions: Exclusions): T | undefined {
  let best: T | undefined;
  for (const candidate of candidates) {
    if (!isEligible(candidate, exclusions) || candidate.freeSlots <= 0) continue;
    if (!best || precedes(candidate, best)) best = candidate;
  }
  return best;
}

/** Whether a miner may have the job at all, now or when a slot frees up. */
export function isEligible(candidate: Candidate, { tried, excludeOperators }: Exclusions): boolean {
  return candidate.slots > 0 && !tried.has(candidate.hotkey) && !excludeOperators.has(candidate.operator);
}

function precedes(a: Candidate, b: Candidate): boolean {
  // turns / slots compared crosswise: exact in integers.
  const turnsPerSlot = a.turns * b.slots - b.turns * a.slots;
  if (turnsPerSlot !== 0) return turnsPerSlot < 0;
  if (a.holdsLora !== b.holdsLora) return a.holdsLora;
  return a.hotkey < b.hotkey;
}

export interface AttemptEnd {
  /** `busy`: 429, nobody's fault and not charged. `failed`: anything else that gave no valid result. */
  outcome: 'busy' | 'failed';
  /** Attempts that count towards the maximum, this one included. */
  attemptsCharged: number;
  maxAttempts: number;
  nowMs: number;
  deadlineMs: number;
  /** Eligible miners that have not failed this job: with a free slot, and without one. */
  othersFree: number;
  othersBusy: number;
}

/** `retry-other`: at once, on another miner. `retry-later`: back to the queue until a slot frees up. */
export type NextStep = 'retry-other' | 'retry-later' | 'fail';

/** What follows an attempt without a valid result, while the job's deadline and its maximum of attempts allow more. */
export function afterAttempt(end: AttemptEnd): NextStep {
  if (end.nowMs >= end.deadlineMs || end.attemptsCharged >= end.maxAttempts) return 'fail';
  if (end.othersFree > 0) return 'retry-other';
  // A busy miner can be asked again; one that failed the job is not.
  return end.othersBusy > 0 || end.outcome === 'busy' ? 'retry-later' : 'fail';
}
