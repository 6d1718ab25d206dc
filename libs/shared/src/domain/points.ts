/**
 * Points of one completed and valid job (seed §3.1, incentive.md): `⌊weightMicro · max(0, C − ℓ) / C⌋` in BigInt.
 * With floats 1,035 of 90,010 cases come out one off; integer sums do not depend on their order, and ties stay ties.
 */
import { DEFAULT_POLICY } from './policy';

const US_PER_MS = 1_000;

/** The policy's share is read to six decimals, which keeps 0.9 exact. */
const SHARE_SCALE = 1_000_000;

export interface TimedJob {
  /** Points at zero latency, in millionths (task-kinds.ts). */
  weightMicro: number;
  /** T_max, in whole ms. */
  tMaxMs: number;
  /** ℓ, in whole µs (latency.ts). */
  latencyUs: number;
  /** Share of T_max from which on a result earns nothing; the policy's `latencyCutoffShare`. */
  cutoffShare?: number;
}

/**
 * C in whole µs: the latency from which on a result earns nothing.
 * @throws RangeError unless T_max is a whole positive number of ms and the share lies in (0, 1].
 */
export function cutoffUs(tMaxMs: number, cutoffShare: number = DEFAULT_POLICY.latencyCutoffShare): number {
  if (!Number.isSafeInteger(tMaxMs) || tMaxMs <= 0) throw new RangeError(`T_max must be whole ms > 0, is ${tMaxMs}`);
  if (!(cutoffShare > 0 && cutoffShare <= 1)) throw new RangeError(`the share must lie in (0, 1], is ${cutoffShare}`);
  const shareMicro = BigInt(Math.round(cutoffShare * SHARE_SCALE));
  return Number((BigInt(tMaxMs * US_PER_MS) * shareMicro) / BigInt(SHARE_SCALE));
}

/**
 * Points in millionths; 0 for everything at or beyond the cutoff.
 * @throws RangeError for a latency or weight that is not a whole number ≥ 0, and as `cutoffUs`.
 */
export function pointsFor({ weightMicro, tMaxMs, latencyUs, cutoffShare }: TimedJob): bigint {
  for (const [name, value] of Object.entries({ weightMicro, latencyUs })) {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${name} must be whole and ≥ 0, is ${value}`);
  }
  const cutoff = BigInt(cutoffUs(tMaxMs, cutoffShare));
  const left = cutoff - BigInt(latencyUs);
  return left > 0n ? (BigInt(weightMicro) * left) / cutoff : 0n;
}
