/**
 * The cumulative sum that turns audits into quarantine: one S per (miner, kind), `S ← max(0, S + x)`.
 * x is the log-likelihood ratio of "fails 5 % of its jobs" (p₁) against "fails 0.1 % by mishap" (p₀):
 * ln(0.05/0.001) = 3.912 for a failure, ln(0.95/0.999) = −0.0503 for a pass. At a threshold of 11, three failures among
 * few passes suffice; two never do.
 */
import type { AuditPolicy } from './policy';

type CusumPolicy = Pick<AuditPolicy, 'cusumFail' | 'cusumPass' | 'cusumThreshold'>;

/** S after one more confirmed verdict. An inconclusive audit is no verdict and takes no step. */
export function step(s: number, failed: boolean, policy: CusumPolicy): number {
  return Math.max(0, s + (failed ? policy.cusumFail : policy.cusumPass));
}

/** Whether S has reached the threshold: no more jobs, and awards that are not yet final are reversed. */
export function isQuarantined(s: number, policy: CusumPolicy): boolean {
  return s >= policy.cusumThreshold;
}
