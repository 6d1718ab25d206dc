/** What strategies earn, for each cost of honest work. */
import { neighbourReversals } from '@studio/shared/domain/audit-sampling';
import { DEFAULT_POLICY } from '@studio/shared/domain/policy';
import { play, type Course, type Earnings } from './play';
import type { Setting } from './setting';
import { estimate, type Estimate } from './statistics';
import type { Strategy } from './strategies';

/** What an honest job costs its miner, as a share of the reward. */
export const COSTS = [0.5, 0.8, 0.95] as const;

const PER_THOUSAND = 1_000;

export interface Profit {
  name: string;
  /** Per job offered, for each of `COSTS`, in rewards. */
  byCost: Estimate[];
  /** Share of the offered jobs that were cheated on. */
  cheated: number;
  /** Both per thousand jobs offered. */
  quarantines: number;
  hotkeys: number;
  /** Jobs offered to all miners together. */
  offered: number;
}

export function profitOf(
  strategy: Strategy,
  course: Course,
  miners: number,
  { cheatCost, chance }: Pick<Setting, 'cheatCost' | 'chance'>,
): Profit {
  const all = Array.from({ length: miners }, () => play(strategy, course, chance));
  const total = (of: (earnings: Earnings) => number): number => all.reduce((sum, one) => sum + of(one), 0);
  const offered = total((one) => one.offered);
  return {
    name: strategy.name,
    byCost: COSTS.map((cost) =>
      estimate(
        all.map(({ kept, worked, cheated, offered: jobs }) => (kept - cost * (worked + cheatCost * cheated)) / jobs),
      ),
    ),
    cheated: total((one) => one.cheated) / offered,
    quarantines: (PER_THOUSAND * total((one) => one.quarantines)) / offered,
    hotkeys: (PER_THOUSAND * total((one) => one.hotkeys)) / offered,
    offered,
  };
}

/** What an honest miner earns that loses nothing. */
export const honestProfit = (cost: number): number => 1 - cost;

/** Costs at which a strategy that cheats earns no less than honesty. */
export function costsNotBelow({ byCost, cheated }: Profit): number[] {
  return cheated === 0 ? [] : COSTS.filter((cost, i) => byCost[i]!.mean >= honestProfit(cost));
}

/**
 * The same, beyond what chance explains. A sample in which nobody happened to be caught has hardly any spread, and says
 * little: what one more conviction would have cost is part of the error.
 */
export function costsSurelyAbove(profit: Profit): number[] {
  return costsNotBelow(profit).filter((cost) => {
    const { mean, error } = profit.byCost[COSTS.findIndex((one) => one === cost)]!;
    return mean - SURE * Math.hypot(error, CONVICTION / profit.offered) > honestProfit(cost);
  });
}

const { baseRate, kappaReference } = DEFAULT_POLICY.audit;
/** Awards that fall with a conviction. */
const CONVICTION = 1 + neighbourReversals(baseRate, kappaReference);

/** Standard errors: one sample in a thousand is farther above by chance. */
const SURE = 3.1;

/** What a hotkey has to cost, in rewards, so that a strategy that uses them up does not pay at any cost of work. */
export function hotkeyPrice({ byCost, hotkeys }: Profit): number {
  const gains = COSTS.map((cost, i) => byCost[i]!.mean - honestProfit(cost));
  return (PER_THOUSAND * Math.max(0, ...gains)) / hotkeys;
}
