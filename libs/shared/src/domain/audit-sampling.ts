/**
 * Which finished jobs are audited, and which awards a confirmed failure takes along (audit.md, tier 2).
 * The draw is committed in advance: u comes from an HMAC under the epoch's secret (computed by the auditor, passed in),
 * so that anyone can check it once the secret is out.
 */
import type { AuditPolicy } from './policy';

const U_BYTES = 8;
const U_RANGE = 18_446_744_073_709_551_616;

/** Rates are read to six decimals where they are divided, so that 3 / (0.1 · 1) is 30 and not 31. */
const MICRO = 1_000_000;

/** Expected cheated jobs that one detection makes unprofitable; with 1.5 careful cheating still paid (audit.md). */
const REVERSAL_FACTOR = 3;

/**
 * u of a job: the first 8 bytes of its HMAC, big-endian.
 * @throws RangeError for fewer than 8 bytes.
 */
export function uFrom(hmac: Uint8Array): bigint {
  if (hmac.length < U_BYTES) throw new RangeError(`u needs ${U_BYTES} bytes, got ${hmac.length}`);
  let u = 0n;
  for (const byte of hmac.subarray(0, U_BYTES)) u = (u << 8n) | BigInt(byte);
  return u;
}

/**
 * Drawn iff `u < ⌊q·2⁶⁴⌋`. Scaling by a power of two is exact in a double, so the bound is too; q = 1 draws every job.
 * @throws RangeError for a rate outside [0, 1].
 */
export function isDrawn(u: bigint, q: number): boolean {
  if (!(q >= 0 && q <= 1)) throw new RangeError(`the audit rate must lie in [0, 1], is ${q}`);
  return u < BigInt(Math.floor(q * U_RANGE));
}

/** What the auditor knows of a (miner, kind) before it draws the next job. */
export interface AuditRecord {
  /** Finished jobs of this (miner, kind) before the one to draw. */
  jobsSeen: number;
  /** S of cusum.ts. */
  cusum: number;
  /** Lower bound of the pass rate, see `wilsonLower`. */
  wilsonLower: number;
}

/** q for the next job: 1 in probation and under suspicion, lower once the miner has earned trust. */
export function auditRate(record: AuditRecord, policy: AuditPolicy): number {
  if (record.jobsSeen < policy.probationJobs || record.cusum > 0) return 1;
  return record.wilsonLower >= policy.trustedWilson ? policy.trustedRate : policy.baseRate;
}

/**
 * Lower bound of Wilson's score interval for a pass rate; 0 without any pass.
 * @param z one-sided quantile: 1.645 for 95 %.
 * @throws RangeError unless 0 ≤ passes ≤ audits.
 */
export function wilsonLower(passes: number, audits: number, z: number): number {
  if (!(passes >= 0 && passes <= audits)) throw new RangeError(`${passes} passes of ${audits} audits cannot be`);
  // Without a pass the two terms below are equal, and their difference would be a rounding error.
  if (passes === 0) return 0;
  const rate = passes / audits;
  const z2 = z * z;
  const centre = rate + z2 / (2 * audits);
  const spread = z * Math.sqrt((rate * (1 - rate)) / audits + z2 / (4 * audits * audits));
  return (centre - spread) / (1 + z2 / audits);
}

/**
 * The jobs to audit on top of the draw, so that a (miner, kind) has at least `floor` audits in the epoch: those with
 * the lowest u, which anyone can verify.
 * @param have audits that the epoch already has.
 */
export function floorDraws<T extends { jobId: string; u: bigint }>(
  undrawn: readonly T[],
  have: number,
  floor: number,
): T[] {
  const byU = [...undrawn].sort((a, b) => (a.u === b.u ? compare(a.jobId, b.jobId) : a.u < b.u ? -1 : 1));
  return byU.slice(0, Math.max(0, floor - have));
}

/**
 * How many unaudited awards fall with a confirmed failure: ⌈3 / (q·κ)⌉.
 * @param q the rate at which the failed job was drawn.
 * @param kappa detection power of the judge: 1 with a trusted reference, 0.51 for a quorum of peers.
 * @throws RangeError unless both lie in (0, 1].
 */
export function neighbourReversals(q: number, kappa: number): number {
  for (const rate of [q, kappa]) {
    if (!(rate > 0 && rate <= 1)) throw new RangeError(`rate and power must lie in (0, 1], got ${q} and ${kappa}`);
  }
  const parts = BigInt(Math.max(1, Math.round(q * MICRO))) * BigInt(Math.max(1, Math.round(kappa * MICRO)));
  const whole = BigInt(REVERSAL_FACTOR) * BigInt(MICRO) * BigInt(MICRO);
  return Number((whole + parts - 1n) / parts);
}

/**
 * The `count` awards nearest in time to the failed one.
 * @param awards unaudited, not yet final awards of the same miner and kind; `at` in any one unit of time.
 * @param around the failed award's `at`. Of two at the same distance the earlier goes first, then the lower job id.
 */
export function nearest<T extends { jobId: string; at: number }>(
  awards: readonly T[],
  around: number,
  count: number,
): T[] {
  const distance = (award: T) => Math.abs(award.at - around);
  const sorted = [...awards].sort((a, b) => distance(a) - distance(b) || a.at - b.at || compare(a.jobId, b.jobId));
  return sorted.slice(0, count);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
