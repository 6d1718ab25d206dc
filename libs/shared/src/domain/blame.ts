/**
 * Whom a failed attempt is held against. Only the miner's own failures count: they use up the job's attempts, shrink its
 * ramp and are shown to it as its own. A broken connection alone does not say whose it was: that is decided by whether
 * other operators' miners could be reached at the same time.
 */
import type { Blame } from './job';

/**
 * What one request alone says. `connection`: it could not be made, or broke. `ours`: we gave up, were shut down, or could
 * not read what was ours to read.
 */
export type Fault = 'miner' | 'connection' | 'ours' | 'none';

/** What was seen of the other operators' miners around the time of the failure. */
export interface Witness {
  reached: number;
  unreachable: number;
}

/** So many other operators out of reach at once, and none within: it is we who are cut off. */
const CUT_OFF_AT = 2;

export function blameOf(fault: Fault, others: Witness): Blame {
  if (fault !== 'connection') return fault;
  if (others.reached > 0) return 'miner';
  return others.unreachable >= CUT_OFF_AT ? 'ours' : 'network';
}
