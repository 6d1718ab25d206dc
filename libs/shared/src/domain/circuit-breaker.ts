/**
 * When a miner is left alone. Closed: it gets jobs. Open, after so many failures in a row: none, for a while. Half-open,
 * once that time is over: one job at a time, as a probe; a success closes the breaker, a failure opens it for twice as
 * long. A refusal (429) is neither: who answers is alive. Pure: the time is passed in, and every step gives a new value.
 */

export interface Breaker {
  /** Failures in a row. */
  failures: number;
  /** How often it has opened since the last success. */
  trips: number;
  /** Until when it is open; 0 while closed. */
  openUntilMs: number;
}

/** The part of the routing policy that it needs. */
export interface BreakerPolicy {
  breakerFailures: number;
  breakerOpenMs: number;
  breakerMaxMs: number;
}

export type BreakerState = 'closed' | 'open' | 'half-open';

export const CLOSED_BREAKER: Breaker = { failures: 0, trips: 0, openUntilMs: 0 };

export function breakerState({ openUntilMs }: Breaker, nowMs: number): BreakerState {
  if (openUntilMs === 0) return 'closed';
  return nowMs < openUntilMs ? 'open' : 'half-open';
}

export function afterSuccess(): Breaker {
  return CLOSED_BREAKER;
}

/** While it is open, failures of jobs that were sent before say nothing new, and do not prolong it. */
export function afterFailure(breaker: Breaker, nowMs: number, policy: BreakerPolicy): Breaker {
  const failures = breaker.failures + 1;
  switch (breakerState(breaker, nowMs)) {
    case 'open':
      return breaker;
    case 'closed':
      return failures < policy.breakerFailures ? { ...breaker, failures } : opened(failures, 1, nowMs, policy);
    case 'half-open':
      return opened(failures, breaker.trips + 1, nowMs, policy);
  }
}

function opened(failures: number, trips: number, nowMs: number, policy: BreakerPolicy): Breaker {
  let openMs = policy.breakerOpenMs;
  for (let trip = 1; trip < trips && openMs < policy.breakerMaxMs; trip += 1) openMs *= 2;
  return { failures, trips, openUntilMs: nowMs + Math.min(openMs, policy.breakerMaxMs) };
}
