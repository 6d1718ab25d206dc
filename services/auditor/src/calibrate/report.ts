/** What a calibration found, for people and for programs. */
import Table from 'cli-table3';
import type { PerceptualThresholds } from '@studio/shared/domain/perceptual-thresholds';
import { failedFigures } from '../comparators/perceptual';
import type { MeasuredPair } from './measure';
import {
  CONFIRMED_AIM,
  STABLE_PAIRS,
  deriveThresholds,
  falseFailures,
  misses,
  pairsNeeded,
  type DerivedFigure,
  type ErrorRate,
} from './thresholds';

export interface Calibration {
  pairs: { honest: number; dishonest: number };
  /** Whether the 99.9th percentiles are stable. */
  enough: boolean;
  figures: DerivedFigure[];
  current: Judged;
  derived: Judged;
}

/** Thresholds and how often they err. */
export interface Judged {
  thresholds: PerceptualThresholds;
  falseFailures: ErrorRate;
  /**
   * Upper bound of the rate at which an honest miner is convicted: two comparisons have to fail. From `independent` (the
   * second knows nothing of the first) to `together` (they always fail together, since the judged picture is the same).
   */
  confirmed: { independent: number; together: number };
  missed: Record<string, ErrorRate>;
  /** The honest pairs that fail, and by which figures: worth a look before thresholds are widened for them. */
  failing: { name: string; failed: string[] }[];
}

/** Failing pairs that are named: enough to see what they have in common. */
const SHOWN_PAIRS = 5;

export function calibrationOf(measured: readonly MeasuredPair[], current: PerceptualThresholds): Calibration {
  const honest = measured.filter(({ dishonest }) => dishonest === undefined);
  const dishonest = measured.filter((pair) => pair.dishonest !== undefined);
  const { thresholds, figures } = deriveThresholds(honest, current);
  const judge = (limits: PerceptualThresholds): Judged => {
    const failures = falseFailures(honest, limits);
    return {
      thresholds: limits,
      falseFailures: failures,
      confirmed: { independent: failures.upper ** 2, together: failures.upper },
      missed: Object.fromEntries(misses(dishonest, limits)),
      failing: honest.flatMap(({ name, distances }) => {
        const failed = distances ? failedFigures(distances, limits) : [];
        return failed.length > 0 ? [{ name, failed }] : [];
      }),
    };
  };
  return {
    pairs: { honest: honest.length, dishonest: dishonest.length },
    enough: honest.length >= STABLE_PAIRS,
    figures,
    current: judge(current),
    derived: judge(thresholds),
  };
}

export function textOf(calibration: Calibration): string {
  const { pairs } = calibration;
  return [
    `${counted(pairs.honest, 'honest pair')}, ${counted(pairs.dishonest, 'dishonest one')}`,
    figureTable(calibration),
    failureTable(calibration),
    ...failingPairs(calibration),
    ...(pairs.dishonest > 0 ? [missTable(calibration)] : []),
    ...remarks(calibration),
  ].join('\n');
}

const counted = (count: number, what: string): string => `${grouped(count)} ${what}${count === 1 ? '' : 's'}`;

const PLAIN = { style: { head: [], border: [] } };

function figureTable({ figures, current, derived }: Calibration): string {
  const table = new Table({ ...PLAIN, head: ['figure', 'judged on', '99.9 %', 'worst', 'now', 'derived'] });
  for (const { figure, pairs, percentile, worst } of figures) {
    const [now, then] = [limitOf(current.thresholds, figure), limitOf(derived.thresholds, figure)];
    table.push([figure, grouped(pairs), short(percentile), short(worst), now, then]);
  }
  return table.toString();
}

function limitOf(thresholds: PerceptualThresholds, figure: DerivedFigure['figure']): string {
  switch (figure) {
    case 'dctDistance':
    case 'colourDifference':
      return `≤ ${short(thresholds[figure])}`;
    case 'laplacianRatio':
      return `${short(thresholds.laplacianRatioMin)}–${short(thresholds.laplacianRatioMax)}`;
    case 'ssim':
    case 'localSsim':
    case 'laplacianCosine':
    case 'fineCosine':
      return `≥ ${short(thresholds[figure])}`;
  }
}

function failureTable({ current, derived }: Calibration): string {
  const head = ['honest pairs that fail', 'of', 'rate', 'at most (95 %)', 'confirmed twice, at most'];
  const table = new Table({ ...PLAIN, head });
  for (const [name, { falseFailures: found, confirmed }] of [
    ['now', current],
    ['derived', derived],
  ] as const) {
    const bounds = `${rate(confirmed.independent)} (independent) … ${rate(confirmed.together)} (always together)`;
    table.push([
      `${name}: ${grouped(found.errors)}`,
      grouped(found.pairs),
      rate(found.rate),
      rate(found.upper),
      bounds,
    ]);
  }
  return table.toString();
}

function failingPairs({ current: { failing } }: Calibration): string[] {
  const more = failing.length - SHOWN_PAIRS;
  const named = failing.slice(0, SHOWN_PAIRS).map(({ name, failed }) => `  fails now: ${name} (${failed.join(', ')})`);
  return more > 0 ? [...named, `  and ${grouped(more)} more (--json names them all)`] : named;
}

function missTable({ current, derived }: Calibration): string {
  const table = new Table({ ...PLAIN, head: ['dishonest pairs that pass', 'of', 'now', 'derived'] });
  for (const [kind, { pairs, errors }] of Object.entries(current.missed)) {
    table.push([kind, grouped(pairs), grouped(errors), grouped(derived.missed[kind]!.errors)]);
  }
  return table.toString();
}

function remarks({ pairs, enough, current }: Calibration): string[] {
  const { independent, together } = current.confirmed;
  return [
    enough
      ? `The 99.9th percentile has ${grouped(Math.floor(pairs.honest / 1_000))} pairs beyond it.`
      : `${counted(pairs.honest, 'honest pair')} ${pairs.honest === 1 ? 'is' : 'are'} too few for a stable 99.9th percentile: derive thresholds from ${grouped(STABLE_PAIRS)} or more.`,
    `Rule of three: had none of the ${grouped(pairs.honest)} failed, the true rate could still be ${rate(Math.min(1, 3 / pairs.honest))} (95 %).`,
    `The aim is a confirmed rate of ${CONFIRMED_AIM} at most. ${aimShown(independent, together)}`,
    `With no failure, ${grouped(pairsNeeded(Math.sqrt(CONFIRMED_AIM)))} pairs show it if the two comparisons err independently, ${grouped(pairsNeeded(CONFIRMED_AIM))} if they always err together.`,
    'The derived thresholds were measured on the pairs that they come from: check them on others before use.',
  ];
}

function aimShown(independent: number, together: number): string {
  if (together <= CONFIRMED_AIM)
    return 'The thresholds in use keep it, whether or not the two comparisons err together.';
  if (independent <= CONFIRMED_AIM)
    return 'The thresholds in use keep it as far as the two comparisons err independently.';
  return 'The thresholds in use are not shown to keep it: take more pairs, or wider thresholds.';
}

/** Four significant digits, without trailing zeros. */
const short = (value: number): string => String(Number(value.toPrecision(4)));
const grouped = (value: number): string => value.toLocaleString('en');
const rate = (value: number): string => (value === 0 ? '0' : value.toPrecision(2));
