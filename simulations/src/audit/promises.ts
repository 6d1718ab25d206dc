/** What the audit promises, held against what was found. */
import { FALSE_FLAGS } from './detection';
import { COSTS, costsNotBelow, costsSurelyAbove, honestProfit, type Profit } from './earnings';
import { PROMISED_SHARE } from './profiles';
import { PRODUCTION_FACTOR } from './reversal-factor';
import { EARNED_WITH_TOO_LOW, TOO_LOW } from './reversal-sweep';
import type { Results } from './simulate-audit';
import type { Estimate } from './statistics';
import { percent } from './strategies';

/** How far a figure may be from the promised one. */
export const TOLERANCE = 0.15;
/** Standard errors of two-sided 95 %. */
export const SURE = 1.96;

export const deviation = (found: number, promised: number): number => found / promised - 1;

/** One sentence for each promise that does not hold. */
export function brokenPromises(results: Results): string[] {
  return [
    ...brokenDraws(results),
    ...brokenTimes(results),
    ...brokenHonesty(results),
    ...[...results.members, ...results.found.best, ...results.fewCollude].flatMap(brokenProfit),
    ...brokenFactor(results),
    ...brokenQuorum(results),
  ];
}

/** Strategies that earn at least what honesty earns, promised or not. */
export function notBelow({ members, found, faster, renewing, fewCollude, manyCollude }: Results): string[] {
  return [...members, ...found.best, ...faster, ...renewing, ...fewCollude, ...manyCollude]
    .filter((profit) => costsNotBelow(profit).length > 0)
    .map((profit) => `NOT below: ${comparison(profit, costsNotBelow(profit))}`);
}

function comparison({ name, byCost }: Profit, costs: readonly number[]): string {
  const earned = costs.map((cost) => {
    const { mean, error } = byCost[COSTS.findIndex((one) => one === cost)]!;
    return `${mean.toFixed(4)} ± ${(SURE * error).toFixed(4)} at a cost of ${cost} (honesty ${honestProfit(cost).toFixed(2)})`;
  });
  return `${name} earns ${earned.join(', ')}`;
}

function brokenDraws({ draws: { hmac, seeded, bound } }: Results): string[] {
  return Object.entries({ HMACs: hmac, 'seeded draws': seeded })
    .filter(([, distance]) => distance > bound)
    .map(([what, distance]) => `the ${what} are not uniform: ${distance.toFixed(4)}, at most ${bound.toFixed(4)}`);
}

function brokenTimes({ flagTimes, filed }: Results): string[] {
  const times = flagTimes.flatMap(({ name, promised, found }) => [
    ...far(`${name}: jobs until half are flagged`, found.median, promised?.median),
    ...far(`${name}: jobs until 99 % are flagged`, found.most, promised?.most),
  ]);
  const filedAlike = flagTimes.find(({ name }) => name === filed.name)!.found;
  return [
    ...times,
    ...far(
      `${filed.name}, filed by the production: jobs until half are flagged`,
      filed.found.median,
      filedAlike.median,
    ),
    ...far(`${filed.name}, filed by the production: jobs until 99 % are flagged`, filed.found.most, filedAlike.most),
  ];
}

function far(what: string, found: number, promised: number | undefined): string[] {
  if (promised === undefined || Math.abs(deviation(found, promised)) <= TOLERANCE) return [];
  return [`${what}: ${found}, promised are ${promised} within ${percent(TOLERANCE)}`];
}

function brokenHonesty({ falseFlags, losses }: Results): string[] {
  const { rate, least, most } = FALSE_FLAGS;
  const flagged = falseFlags.find(({ failureRate }) => failureRate === rate)!.flagged;
  return [
    // The interval of a small sample is wide: it breaks the promise only when it lies outside as a whole.
    ...(flagged.most >= least && flagged.least <= most
      ? []
      : [
          `${percent(flagged.share)} of honest histories are flagged, promised are ${percent(least)} to ${percent(most)}`,
        ]),
    ...losses
      .filter(({ lost, promised }) => promised !== undefined && lost.mean - SURE * lost.error > promised)
      .map(({ comparator, lost, promised }) => {
        return `an honest miner loses ${percent(lost.mean)} under ${comparator}, promised are ${percent(promised!)} at most`;
      }),
  ];
}

function brokenProfit(profit: Profit): string[] {
  const costs = costsSurelyAbove(profit);
  return costs.length === 0 ? [] : [`cheating pays: ${comparison(profit, costs)}`];
}

/** With half the reversals a clairvoyant earns what it was said to: or the simulation does not see what reversals are for. */
function brokenFactor({ sweep }: Results): string[] {
  const atHighest = (factor: number): Estimate =>
    sweep.find((point) => point.factor === factor)!.profit.byCost[COSTS.length - 1]!;
  const [weak, strong] = [atHighest(TOO_LOW), atHighest(PRODUCTION_FACTOR)];
  const honest = honestProfit(COSTS[COSTS.length - 1]!);
  const isFar = Math.abs(weak.mean - EARNED_WITH_TOO_LOW) - SURE * weak.error > TOLERANCE * EARNED_WITH_TOO_LOW;
  return [
    ...(isFar ? far(`a clairvoyant's profit with ${TOO_LOW} in place of 3`, weak.mean, EARNED_WITH_TOO_LOW) : []),
    ...(strong.mean - SURE * strong.error < honest ? [] : [`a clairvoyant earns ${strong.mean.toFixed(4)}`]),
  ];
}

function brokenQuorum({ quorum }: Results): string[] {
  return quorum
    .filter(({ share, power, kappa }) => share <= PROMISED_SHARE && power.most < kappa)
    .map(({ share, power, kappa }) => {
      return `with ${percent(share)} colluding a quorum detects ${power.share.toFixed(3)}, the policy's κ is ${kappa}`;
    });
}
