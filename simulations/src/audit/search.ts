/** A small search for the best careful strategy: a grid, then the best of it again with chance that did not choose them. */
import { careful, type Care } from './careful';
import { COSTS, profitOf, type Profit } from './earnings';
import { course, epochsOf } from './rules';
import type { Setting } from './setting';

const RATES = [0.02, 0.1, 0.25, 1];
const BURSTS = [1, 2, 3, Infinity];
/** A late cheat is settled soonest; an early one has the rest of the epoch to hide in. */
const LAST_PARTS = [1, 0.1];

export interface Variant {
  care: Partial<Care>;
  jobsPerEpoch: number;
}

/** With few jobs an epoch suspicion outlasts finality, and nothing is exposed when it ends; with many a burst is over before a verdict. */
const JOBS_PER_EPOCH = [30, 100, 1_000];

const CARES: readonly Partial<Care>[] = [
  ...RATES.flatMap((rate) =>
    BURSTS.flatMap((burst) => LAST_PARTS.map((lastPart): Partial<Care> => ({ rate, burst, lastPart }))),
  ),
  ...BURSTS.map((burst) => ({ burst, onlyTrusted: true })),
  ...BURSTS.map((burst) => ({ burst, pause: 3 })),
  ...[1, 2, 3, 5].flatMap((burst) => [
    { burst, mostExposed: 0, hides: true },
    { burst, mostExposed: 10 },
    { burst, mostExposed: 10, hides: true },
  ]),
];

export const VARIANTS: readonly Variant[] = JOBS_PER_EPOCH.flatMap((jobsPerEpoch) =>
  CARES.map((care) => ({ care, jobsPerEpoch })),
);

/** Those that hardly cheat are nearly honest and earn nearly as much: they are no strategies. */
export const LEAST_CHEATED = 0.005;
const FINALISTS = 5;

export interface Found {
  variants: number;
  best: Profit[];
}

/** Best at the highest cost, where cheating saves most. */
export function search(setting: Setting): Found {
  const { searchMiners, finalistMiners } = setting.size;
  const played = VARIANTS.map((variant) => ({ variant, profit: profitWith(variant, searchMiners, setting) }));
  const best = played
    .filter(({ profit }) => profit.cheated >= LEAST_CHEATED)
    .sort((a, b) => dearest(b.profit) - dearest(a.profit))
    .slice(0, FINALISTS);
  return {
    variants: VARIANTS.length,
    best: best.map(({ variant }) => profitWith(variant, finalistMiners, setting)),
  };
}

function profitWith({ care, jobsPerEpoch }: Variant, miners: number, setting: Setting): Profit {
  const { size, reversalFactor } = setting;
  const rules = course(epochsOf(jobsPerEpoch, size), { jobsPerEpoch, reversalFactor });
  const profit = profitOf(careful(care), rules, miners, setting);
  return { ...profit, name: `${profit.name}; ${jobsPerEpoch.toLocaleString('en')} jobs an epoch` };
}

const dearest = ({ byCost }: Profit): number => byCost[COSTS.length - 1]!.mean;
