/**
 * How many of its declared slots a miner has proven to have. A declaration costs nothing, so it is believed as it shows:
 * the number grows only while it is used to the full (as TCP validates its window), and shrinks at once when a refusal or
 * a failure shows that it was too large. Pure and deterministic.
 */

/**
 * How a hold on one of a miner's slots ended. `success`: a valid result. `busy`: refused with 429. `failed`: the miner's
 * own failure. `unreachable`: the network's, or nobody's. `late`: lost against a hedge after the kind's p95. `released`:
 * nothing is known about the miner.
 */
export type HoldEnd = 'success' | 'busy' | 'failed' | 'unreachable' | 'late' | 'released';

export interface RampStep {
  proven: number;
  declared: number;
  /** Whether this job took the last proven slot when it was sent. */
  filled: boolean;
  /** Jobs at the miner besides this one. */
  beside: number;
}

/** The proven slots after a job: at least 1, at most what is declared. */
export function provenAfter(end: HoldEnd, { proven, declared, filled, beside }: RampStep): number {
  return Math.min(Math.max(1, nextProven(end, proven, filled, beside)), Math.max(1, declared));
}

function nextProven(end: HoldEnd, proven: number, filled: boolean, beside: number): number {
  switch (end) {
    case 'success':
      return filled ? proven + 1 : proven;
    case 'busy':
      // What was under way when it refused is what it has. A refusal never proves more than was believed.
      return Math.min(proven, beside);
    case 'failed':
    case 'late':
      return Math.floor(proven / 2);
    case 'unreachable':
    case 'released':
      return proven;
  }
}
