/** What an honest miner loses to confirmed failures that were none. */
import { DEFAULT_POLICY } from '@studio/shared/domain/policy';
import { calibrated, confirmedFailureRate, referenceJudge } from './judges';
import { play } from './play';
import { course } from './rules';
import type { Setting } from './setting';
import { estimate, type Estimate } from './statistics';
import { HONEST } from './strategies';

export interface HonestLoss {
  comparator: string;
  /** Of honest pairs that are taken for different, and of honest audited jobs that end as a confirmed failure. */
  falseDifference: number;
  confirmed: number;
  /** Share of the awards that were taken back. */
  lost: Estimate;
  /** p₀ · (q + 3/κ), what the design expects at most; none where it promises nothing. */
  bound: number;
  quarantines: number;
  jobs: number;
}

/** Confirmed false failures that a comparator with a tolerance has to be calibrated to, and what comes of more. */
export const CALIBRATED_TO = 0.0003;
const UNCALIBRATED = 0.001;

const { trustedRate, kappaReference } = DEFAULT_POLICY.audit;
const REVERSALS = 3;

export function honestLosses(setting: Setting): HonestLoss[] {
  const { miners: few, honestMiners } = setting.size;
  const comparators: [string, number, number][] = [
    ['`exact`', 0, few],
    ['`perceptual`, calibrated', calibrated(CALIBRATED_TO), honestMiners],
    ['`perceptual`, not calibrated', calibrated(UNCALIBRATED), honestMiners / 4],
  ];
  return comparators.map(([comparator, falseDifference, miners]) => ({
    comparator,
    ...lossWith(falseDifference, Math.ceil(miners), setting),
  }));
}

function lossWith(falseDifference: number, miners: number, { size, chance }: Setting): Omit<HonestLoss, 'comparator'> {
  const confirmed = confirmedFailureRate(falseDifference);
  const judge = referenceJudge(falseDifference);
  const all = Array.from({ length: miners }, () => play(HONEST, course(size.epochs, { judge }), chance));
  return {
    falseDifference,
    confirmed,
    lost: estimate(all.map(({ awarded, kept }) => (awarded - kept) / awarded)),
    bound: confirmed * (trustedRate + REVERSALS / kappaReference),
    quarantines: all.reduce((sum, { quarantines }) => sum + quarantines, 0),
    jobs: all.reduce((sum, { awarded }) => sum + awarded, 0),
  };
}
