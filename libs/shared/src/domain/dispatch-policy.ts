/**
 * The worker's decisions about one job: which miner gets it, and what follows an attempt that did not succeed.
 * Pure: time, load and turns are passed in. Routing decides the sums of points, hence fairness comes before everything
 * else; scores play no part.
 *
 * Jobs that the auditor makes name a miner that goes before everybody for their first attempt. It costs that miner its turns
 * like any job: it is asked later for others, and its share in the long run stays what its capacity says.
 *
 * Turns are counted in virtual time: each turn moves a miner on by 1 / its proven slots, and its operator by 1 / the
 * proven slots of all its miners, in millionths. Whoever is furthest behind is next, so that jobs are shared in
 * proportion to capacity, first between operators, then between the miners of one.
 */
import type { RoutingPolicy } from './policy';

/** One turn of a miner with one slot. Integers: sums do not depend on the order of addition. */
export const TURN_MICRO = 1_000_000;

export interface Candidate {
  hotkey: string;
  operator: string;
  /** Verified capacity for this kind, and how much of it is free now: nothing while the circuit breaker is open. */
  slots: number;
  freeSlots: number;
  /** Virtual time of its operator and its own; a refusal (429) moved both on as well. */
  operatorTurns: number;
  minerTurns: number;
  /** When it was last asked for a job of this kind; 0 for never. */
  askedAtMs: number;
  /** Whether the miner already has the LoRA, and no transfer is needed. */
  holdsLora: boolean;
}

export interface Exclusions {
  /** Miners that already had this job. */
  tried: ReadonlySet<string>;
  excludeOperators: ReadonlySet<string>;
}

export type TurnPolicy = Pick<RoutingPolicy, 'exploreAfterMs' | 'loraLeadTurns'>;

/**
 * The miner whose turn it is. First the one that the job prefers, then whoever was not asked for too long; then the operator
 * that is furthest behind, and of its miners the one that is, then hotkey order. A miner that holds the LoRA goes before
 * these two while it is not too far ahead of them. Deterministic, and independent of the order of the candidates.
 * Undefined when none has a free slot.
 * @param preferred hotkey of the miner that goes before everybody, if it may have the job and has a free slot.
 */
export function chooseMiner<T extends Candidate>(
  candidates: readonly T[],
  exclusions: Exclusions,
  nowMs: number,
  policy: TurnPolicy,
  preferred?: string,
): T | undefined {
  const free = candidates.filter((candidate) => isEligible(candidate, exclusions) && candidate.freeSlots > 0);
  const neglected = free.filter(({ askedAtMs }) => nowMs - askedAtMs >= policy.exploreAfterMs);
  return (
    free.find(({ hotkey }) => hotkey === preferred) ??
    first(neglected, isLongerUnasked) ??
    holderInReach(free, policy.loraLeadTurns) ??
    first(free, precedes)
  );
}

/** Whether a miner may have the job at all, now or when a slot frees up. */
export function isEligible(candidate: Candidate, { tried, excludeOperators }: Exclusions): boolean {
  return candidate.slots > 0 && !tried.has(candidate.hotkey) && !excludeOperators.has(candidate.operator);
}

/**
 * The LoRA's holder whose turn comes next, among those that are ahead by so few turns per slot: of the operator that is
 * furthest behind, and of the miners of its own operator. The bound keeps a popular LoRA from feeding its holders alone.
 */
function holderInReach<T extends Candidate>(free: readonly T[], leadTurns: number): T | undefined {
  const holders = free.filter(({ holdsLora }) => holdsLora);
  if (holders.length === 0) return undefined;
  const leadMicro = leadTurns * TURN_MICRO;
  const leastTurns = Math.min(...free.map(({ operatorTurns }) => operatorTurns));
  const inReach = holders.filter((holder) => {
    const siblings = free.filter(({ operator }) => operator === holder.operator);
    const leastOfOwn = Math.min(...siblings.map(({ minerTurns }) => minerTurns));
    return holder.operatorTurns - leastTurns <= leadMicro && holder.minerTurns - leastOfOwn <= leadMicro;
  });
  return first(inReach, precedes);
}

function first<T>(items: readonly T[], before: (a: T, b: T) => boolean): T | undefined {
  let best: T | undefined;
  for (const item of items) if (best === undefined || before(item, best)) best = item;
  return best;
}

function isLongerUnasked(a: Candidate, b: Candidate): boolean {
  return a.askedAtMs === b.askedAtMs ? precedes(a, b) : a.askedAtMs < b.askedAtMs;
}

function precedes(a: Candidate, b: Candidate): boolean {
  if (a.operatorTurns !== b.operatorTurns) return a.operatorTurns < b.operatorTurns;
  if (a.minerTurns !== b.minerTurns) return a.minerTurns < b.minerTurns;
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
