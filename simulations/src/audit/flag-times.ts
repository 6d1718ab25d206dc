/**
 * When a miner is flagged, counted in its jobs, every verdict being there before the next job. Fast enough for a thousand
 * million jobs: between two verdicts the rate does not change and the draws are independent of each other, so the number of
 * jobs until the next drawn one is geometric, and those between need not be looked at. A floor audit fails as often as any
 * other, as long as all jobs of its epoch cheat alike, whichever it takes.
 */
import { auditRate, floorDraws, wilsonLower } from '@studio/shared/domain/audit-sampling';
import { isQuarantined, step } from '@studio/shared/domain/cusum';
import type { Policy } from '@studio/shared/domain/policy';
import type { Chance } from '../chance';

export interface History {
  /** Share of audited jobs that end as a confirmed failure, before and after the miner turns. */
  failing: number;
  turnsAfter: number;
  failingThen: number;
  jobsPerEpoch: number;
  /** Jobs after which a miner that was not flagged is given up. */
  length: number;
}

export const steady = (failing: number, jobsPerEpoch: number, length: number): History => {
  return { failing, turnsAfter: 0, failingThen: failing, jobsPerEpoch, length };
};

/** The job whose verdict puts the miner into quarantine; Infinity when none does. */
export function flaggedAt(history: History, policy: Policy, chance: Chance): number {
  return new Run(history, policy, chance).flaggedAt();
}

class Run {
  private readonly record = { jobsSeen: 0, cusum: 0, wilsonLower: 0 };
  private audits = 0;
  private passes = 0;
  private lastRate = NaN;
  private lastLog = NaN;

  constructor(
    private readonly history: History,
    private readonly policy: Policy,
    private readonly chance: Chance,
  ) {
    const { turnsAfter, jobsPerEpoch } = history;
    if (turnsAfter % jobsPerEpoch !== 0) throw new RangeError('a miner turns at the beginning of an epoch');
  }

  flaggedAt(): number {
    const { length, jobsPerEpoch } = this.history;
    for (let end = jobsPerEpoch; end <= length; end += jobsPerEpoch) {
      const flagged = this.epoch(end);
      if (flagged !== undefined) return flagged;
    }
    return Infinity;
  }

  /** To the end of the epoch whose last job is number `end`. */
  private epoch(end: number): number | undefined {
    const { turnsAfter, failing, failingThen, jobsPerEpoch } = this.history;
    const rate = end > turnsAfter ? failingThen : failing;
    let audited = 0;
    while (this.skipUndrawn(end)) {
      audited += 1;
      this.record.jobsSeen += 1;
      if (this.isFlaggedBy(rate)) return this.record.jobsSeen;
    }
    for (let more = this.missing(jobsPerEpoch - audited, audited); more > 0; more -= 1) {
      if (this.isFlaggedBy(rate)) return end;
    }
    return undefined;
  }

  /** Moves to just before the next drawn job; false when the epoch ends first. */
  private skipUndrawn(end: number): boolean {
    const { record, policy } = this;
    const q = auditRate(record, policy.audit);
    if (q < 1) record.jobsSeen += Math.floor(Math.log(1 - this.chance.next()) / this.logUndrawn(q));
    if (record.jobsSeen < end) return true;
    record.jobsSeen = end;
    return false;
  }

  private isFlaggedBy(failing: number): boolean {
    const { record, policy } = this;
    const failed = this.chance.happens(failing);
    this.audits += 1;
    if (!failed) this.passes += 1;
    record.cusum = step(record.cusum, failed, policy.audit);
    record.wilsonLower = wilsonLower(this.passes, this.audits, policy.audit.wilsonZ);
    return failed && isQuarantined(record.cusum, policy.audit);
  }

  private logUndrawn(q: number): number {
    if (q !== this.lastRate) [this.lastRate, this.lastLog] = [q, Math.log(1 - q)];
    return this.lastLog;
  }

  /** Of the undrawn jobs only as many are listed as could be taken, as the production does. */
  private missing(undrawn: number, audited: number): number {
    const { floorPerEpoch } = this.policy.audit;
    if (audited >= floorPerEpoch) return 0;
    const jobs = Array.from({ length: Math.min(undrawn, floorPerEpoch) }, (_, i) => ({ jobId: `${i}`, u: 0n }));
    return floorDraws(jobs, audited, floorPerEpoch).length;
  }
}
