/**
 * One hotkey doing one kind of job, and the auditor's books about it, in virtual time: filed and awarded at once, drawn,
 * replayed after a random delay, judged, summed up; floor audits, reversals and finality when an epoch closes. Which job is drawn,
 * what a verdict does and what falls is decided by the production's functions; only Postgres and the wire are replaced.
 */
import { floorDraws } from '@studio/shared/domain/audit-sampling';
import { isQuarantined, step } from '@studio/shared/domain/cusum';
import { cutoffUs, pointsFor } from '@studio/shared/domain/points';
import { epochMs, type Policy } from '@studio/shared/domain/policy';
import type { DrawRecord } from '@studio/auditor/filing';
import { reversalsDue, type Conviction, type OpenAward } from '@studio/auditor/reversals';
import type { Chance } from '../chance';
import type { Draws } from './draws';
import type { Judge, Ruling } from './judges';
import { conviction, type ReversalFactor } from './reversal-factor';

export interface Rules {
  policy: Policy;
  draws: Draws;
  judge: Judge;
  /** Time of one replay; null: every verdict is there before the next job, and a job's number is its time. */
  replayMs: number | null;
  /** Share of the neighbours that the policy takes: 1 is the production. */
  reversalFactor: ReversalFactor;
  /** What an honest job takes, as a share of the time after which it earns nothing. A wrong result comes at once. */
  honestLatency: number;
}

/** What the miner hands in. Only a copy is seen without a replay, and only while its original is remembered. */
export type Result = 'right' | 'wrong' | 'recognised-copy';

/** What a close shows to the miner: its own entries in the ledger, and the exported draws and verdicts of the epoch. */
export interface Settlement {
  epoch: number;
  record: Readonly<DrawRecord>;
  convictions: number;
  reversed: number;
  /** Awards that can still fall with a neighbour. */
  exposed: number;
}

interface Award extends OpenAward {
  q: number;
  u: bigint;
  wrong: boolean;
}

interface OpenAudit {
  award: Award;
  ruling: Ruling;
  decidedAt: number;
}

/** Of a usual inference. */
const T_MAX_MS = 60_000;
const pointsAt = (share: number): bigint =>
  pointsFor({ weightMicro: 300_000, tMaxMs: T_MAX_MS, latencyUs: Math.round(share * cutoffUs(T_MAX_MS)) });

export class AuditedMiner {
  /** As of now: what no miner can see before the close. */
  readonly record: DrawRecord = { jobsSeen: 0, audits: 0, passes: 0, cusum: 0 };
  /** Rewards awarded and not taken back, as multiples of an honest job's. */
  kept = 0;
  awarded = 0;
  quarantines = 0;
  /** Job after which the miner was first quarantined. */
  flaggedAfter: number | undefined;
  private jobs = 0;
  private open: Award[] = [];
  private readonly audits: OpenAudit[] = [];
  private readonly convictions: (Conviction & { epoch: number })[] = [];
  private out = { from: 0, until: 0 };
  private readonly points: { right: bigint; wrong: bigint };
  private closing: { epoch: number; settlesAt: number } | undefined;

  constructor(
    private readonly hotkey: string,
    private readonly rules: Rules,
    private readonly chance: Chance,
    private readonly onSettled: (news: Settlement) => void = () => undefined,
  ) {
    this.points = { right: pointsAt(rules.honestLatency), wrong: pointsAt(0) };
  }

  isOut(epoch: number): boolean {
    return this.out.from <= epoch && epoch < this.out.until;
  }

  /** Nothing of this hotkey can change any more, unless it does another job. */
  get isOver(): boolean {
    return this.open.length === 0 && this.audits.length === 0 && this.closing === undefined;
  }

  /** Files a finished job: the award at once, drawn or not. */
  file(result: Result, at: number, epoch: number): void {
    const { hotkey, record, rules } = this;
    this.jobs += 1;
    const jobId = `${hotkey}-${this.jobs}`;
    const { q, u, drawn } = rules.draws({ jobId, hotkey, epoch, record }, this.chance);
    const award: Award = {
      jobId,
      hotkey,
      kind: 'lora-inference',
      epoch,
      points: result === 'right' ? this.points.right : this.points.wrong,
      policyVersion: rules.policy.version,
      at,
      compared: false,
      q,
      u,
      wrong: result !== 'right',
    };
    this.open.push(award);
    this.awarded += this.rewards(award);
    this.kept += this.rewards(award);
    record.jobsSeen += 1;
    if (drawn) this.audit(award, at + this.delayMs());
    else if (result === 'recognised-copy') this.audit(award, at);
  }

  /** Verdicts and settlements up to this time, in their order. */
  advance(now: number): void {
    if (this.closing && this.closing.settlesAt <= now) {
      const { epoch, settlesAt } = this.closing;
      this.decideUntil(settlesAt);
      this.closing = undefined;
      this.settle(epoch);
    }
    this.decideUntil(now);
  }

  /** The epoch ends at this time: what the floor lacks is audited now, and what is under way has its bound. */
  close(epoch: number, now: number): void {
    const { policy } = this.rules;
    this.advance(now);
    const ofEpoch = this.open.filter((award) => award.epoch === epoch);
    const undrawn = ofEpoch.filter(({ compared }) => !compared);
    const floor = floorDraws(undrawn, ofEpoch.length - undrawn.length, policy.audit.floorPerEpoch);
    for (const award of floor) this.audit(award, now);
    const bound = now + policy.closeBoundMs;
    for (const audit of this.audits) {
      if (audit.decidedAt <= bound) continue;
      audit.decidedAt = bound;
      audit.ruling = { ...audit.ruling, outcome: 'inconclusive' };
    }
    this.closing = { epoch, settlesAt: Math.max(now, ...this.audits.map(({ decidedAt }) => decidedAt)) };
    this.advance(now);
  }

  /** As a multiple of an honest job's: 1 where both come at once, so that sums stay whole. */
  private rewards({ points }: Award): number {
    return Number(points) / Number(this.points.right);
  }

  private audit(award: Award, dueAt: number): void {
    award.compared = true;
    const ruling = this.rules.judge(award.wrong, this.chance);
    const decidedAt = dueAt + ruling.replays * (this.rules.replayMs ?? 0);
    const later = this.audits.findIndex((other) => other.decidedAt > decidedAt);
    this.audits.splice(later < 0 ? this.audits.length : later, 0, { award, ruling, decidedAt });
    if (this.rules.replayMs === null) this.decideUntil(decidedAt);
  }

  private delayMs(): number {
    const { replayMs, policy } = this.rules;
    return replayMs === null ? 0 : this.chance.wait(policy.audit.meanDelayMs);
  }

  private decideUntil(now: number): void {
    for (let next = this.audits[0]; next && next.decidedAt <= now; next = this.audits[0]) {
      this.audits.shift();
      this.decide(next);
    }
  }

  /** As verdict.store.ts: the sum moves, and at the threshold the miner is out with a fresh record. */
  private decide({ award, ruling }: OpenAudit): void {
    if (ruling.outcome === 'inconclusive') return;
    const { policy, reversalFactor } = this.rules;
    const { record } = this;
    const failed = ruling.outcome === 'invalid';
    record.audits += 1;
    if (!failed) record.passes += 1;
    record.cusum = step(record.cusum, failed, policy.audit);
    if (failed) {
      this.convictions.push({ ...conviction(award.jobId, award.q, ruling.kappa, reversalFactor), epoch: award.epoch });
      if (isQuarantined(record.cusum, policy.audit) && this.out.until <= award.epoch) this.quarantine(award.epoch);
    }
  }

  private quarantine(epoch: number): void {
    this.quarantines += 1;
    this.flaggedAfter ??= this.jobs;
    this.out = { from: epoch, until: epoch + this.rules.policy.quarantineEpochs };
    Object.assign(this.record, { jobsSeen: 0, audits: 0, passes: 0, cusum: 0 });
  }

  /** As epoch-closer.ts: what convictions and quarantine take, and what has become final. */
  private settle(epoch: number): void {
    const { policy, reversalFactor } = this.rules;
    const first = epoch - policy.finalityEpochs;
    const within = (about: { epoch: number }): boolean => about.epoch >= first && about.epoch <= epoch;
    const convictions = this.convictions.filter(within);
    const quarantined = new Map(this.isOut(epoch) ? [[this.hotkey, 'too many invalid results']] : []);
    const awards = this.open.filter(within);
    let reversed = 0;
    if (convictions.length > 0 || quarantined.size > 0) {
      const seen = reversalFactor === 0 ? awards.map((award) => ({ ...award, compared: true })) : awards;
      const gone = new Set(reversalsDue(seen, convictions, quarantined).map(({ entry }) => entry.jobId));
      for (const award of this.open) if (gone.has(award.jobId)) this.kept -= this.rewards(award);
      this.open = this.open.filter(({ jobId }) => !gone.has(jobId));
      reversed = gone.size;
    }
    this.open = this.open.filter((award) => award.epoch > first);
    this.onSettled({
      epoch,
      record: { ...this.record },
      convictions: convictions.filter((about) => about.epoch === epoch).length,
      reversed,
      exposed: this.open.filter(({ compared }) => !compared).length,
    });
  }
}

/** @param through share of the epoch that has passed. */
export function epochTime(epoch: number, through: number, policy: Policy): number {
  return (epoch - 1 + through) * epochMs(policy);
}
