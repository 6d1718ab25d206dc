/** Everything that `npm run simulate:audit` plays, stage by stage. */
import { Chance } from '../chance';
import { quorumPowers } from './collusion';
import { CASES, FALSE_FLAGS, falseFlags, filedFlagTime, flagTime } from './detection';
import { drawQuality } from './draws';
import { profitOf, type Profit } from './earnings';
import { CALIBRATED_TO, honestLosses } from './honest-loss';
import { FASTER, FEW_COLLUDE, MANY_COLLUDE, MEMBERS, RENEWING, type Profile } from './profiles';
import { reversalSweep } from './reversal-sweep';
import { course, epochsOf, JOBS_PER_EPOCH } from './rules';
import { search } from './search';
import type { Setting } from './setting';

/** Confirmed false failures of an honest miner: what the promise is about, and what calibration has to reach. */
const FALSE_RATES = [FALSE_FLAGS.rate, CALIBRATED_TO];

/** By the name under which their results are kept; `npm run simulate:audit` shows it. */
export const STAGES = {
  draws: ({ size, seed, chance }: Setting) => drawQuality(size.drawSamples, seed, chance),
  flagTimes: ({ size, chance }: Setting) => CASES.map((one) => flagTime(one, size, chance)),
  filed: ({ size, seed, chance }: Setting) => filedFlagTime(size, seed, chance),
  falseFlags: ({ size, chance }: Setting) => FALSE_RATES.map((rate) => falseFlags(rate, size.honestHistories, chance)),
  losses: honestLosses,
  members: profitsOf(MEMBERS),
  found: search,
  faster: profitsOf(FASTER),
  renewing: profitsOf(RENEWING),
  quorum: ({ size, chance }: Setting) => quorumPowers(size.quorumAudits, chance),
  fewCollude: profitsOf(FEW_COLLUDE),
  manyCollude: profitsOf(MANY_COLLUDE),
  sweep: reversalSweep,
};

export type Stage = keyof typeof STAGES;
export type Results = { [S in Stage]: ReturnType<(typeof STAGES)[S]> };

export const STAGE_NAMES = Object.keys(STAGES) as Stage[];

/** Seeds of the stages lie this far apart, so that neighbouring seeds of the command share none. */
const SEEDS_PER_RUN = 100;

/** Each stage has chance of its own: a larger sample of one changes no other. @param onStage hears of each before it begins. */
export function simulateAudit(setting: Omit<Setting, 'chance'>, onStage: (stage: Stage) => void): Results {
  const results: Partial<Record<Stage, unknown>> = {};
  for (const [index, stage] of STAGE_NAMES.entries()) {
    onStage(stage);
    results[stage] = STAGES[stage]({ ...setting, chance: new Chance(setting.seed * SEEDS_PER_RUN + index) });
  }
  return results as Results;
}

function profitsOf(profiles: readonly Profile[]): (setting: Setting) => Profit[] {
  return (setting) =>
    profiles.map(({ strategy, changes }) => {
      const { size, reversalFactor } = setting;
      const epochs = epochsOf(changes?.jobsPerEpoch ?? JOBS_PER_EPOCH, size);
      return profitOf(strategy, course(epochs, { reversalFactor, ...changes }), size.miners, setting);
    });
}
