/** What an honest miner loses to confirmed failures that were none. */
import { DEFAULT_POLICY } from '@studio/shared/domain/policy';
import { calibrated, confirmedFailureRate, referenceJudge } from './judges';
import { play } from './play';
import { PRODUCTION_FACTOR } from './reversal-factor';
import { course, epochsOf, JOBS_PER_EPOCH } from './rules';
import type { Setting } from './setting';
import { estimate, type Estimate } from './statistics';
import { HONEST } from './strategies';

interface Case {
  comparator: string;
  /** Of honest pairs, those that the comparator takes for different. */
  falseDifference: number;
  jobsPerEpoch: number;
  /** Of an honest miner's points, the share that may be lost at most; none where nothing is promised. */
  promised?: number;
  miners: number;
}

export interface HonestLoss extends Case {
  /** Of honest audited jobs, those that end as a confirmed failure. */
  confirmed: number;
  /** Share of the awards that were taken back. */
  lost: Estimate;
  /** p₀ · (q + 3/κ) for the lowered rate. */
  bound: number;
  quarantines: number;
  jobs: number;
}

/** Confirmed false failures that a comparator with a tolerance has to be calibrated to, and what comes of more. */
export const CALIBRATED_TO = 0.0003;
const UNCALIBRATED = 0.001;
/** At the lowered rate, so few jobs in an epoch that the floor of audits doubles it. */
const FEW_JOBS = 30;

const { trustedRate, kappaReference } = DEFAULT_POLICY.audit;

export function honestLosses(setting: Setting): HonestLoss[] {
  const { miners, honestMiners } = setting.size;
  const tolerant = { comparator: '`perceptual`', falseDifference: calibrated(CALIBRATED_TO), miners: honestMiners };
  const cases: Case[] = [
    { comparator: '`exact`', falseDifference: 0, jobsPerEpoch: JOBS_PER_EPOCH, promised: 0, miners },
    { ...tolerant, jobsPerEpoch: JOBS_PER_EPOCH, promised: 0.001 },
    { ...tolerant, jobsPerEpoch: FEW_JOBS, miners: Math.ceil(honestMiners / 4) },
    {
      comparator: '`perceptual`, not calibrated',
      falseDifference: calibrated(UNCALIBRATED),
      jobsPerEpoch: JOBS_PER_EPOCH,
      miners: Math.ceil(honestMiners / 4),
    },
  ];
  return cases.map((one) => lossOf(one, setting));
}

function lossOf(one: Case, { size, chance }: Setting): HonestLoss {
  const { falseDifference, jobsPerEpoch, miners } = one;
  const rules = course(epochsOf(jobsPerEpoch, size), { judge: referenceJudge(falseDifference), jobsPerEpoch });
  const all = Array.from({ length: miners }, () => play(HONEST, rules, chance));
  const confirmed = confirmedFailureRate(falseDifference);
  return {
    ...one,
    confirmed,
    lost: estimate(all.map(({ awarded, kept }) => (awarded - kept) / awarded)),
    bound: confirmed * (trustedRate + PRODUCTION_FACTOR / kappaReference),
    quarantines: all.reduce((sum, { quarantines }) => sum + quarantines, 0),
    jobs: all.reduce((sum, { awarded }) => sum + awarded, 0),
  };
}
