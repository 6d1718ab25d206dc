/** From measured honest pairs to thresholds, and from thresholds to error rates. Pure. */
import type { PerceptualThresholds } from '@studio/shared/domain/perceptual-thresholds';
import { failedFigures, type PerceptualDistances } from '../comparators/perceptual';
import type { MeasuredPair } from './measure';

/** Share of honest pairs that a derived threshold leaves inside, before its margin. */
const INSIDE = 0.999;

/** Fewest pairs beyond the percentile for it to be stable: 3 of 3,000. */
const BEYOND = 3;
export const STABLE_PAIRS = Math.round(BEYOND / (1 - INSIDE));

/** What a threshold allows beyond the percentile, as a share of what it allows anyway: the tail is known from few pairs. */
const MARGIN = 0.25;

/** One-sided, 95 %. */
const Z = 1.645;

/** Highest rate of confirmed false failures: an honest miner loses about 0.1 % of its points by it. */
export const CONFIRMED_AIM = 0.0003;

/** A figure as something that grows with the difference, so that all are derived alike. */
interface Measure {
  figure:
    'dctDistance' | 'ssim' | 'localSsim' | 'colourDifference' | 'laplacianRatio' | 'laplacianCosine' | 'fineCosine';
  of: (found: PerceptualDistances) => number;
  /** Which pairs the figure is judged on. */
  judged?: (found: PerceptualDistances, floors: PerceptualThresholds) => boolean;
  /** What ±1 noise on a photograph has: no threshold is derived below it, however alike the pairs are. */
  least: number;
  /** The thresholds that allow so much, rounded outwards. */
  thresholds: (allowed: number) => Partial<PerceptualThresholds>;
  /** What thresholds allow, and a measured value, in the figure's own terms. */
  shown: (allowed: number) => number;
}

const identity = (value: number): number => value;
const complement = (value: number): number => 1 - value;
const floor = (value: number, digits: number): number => Math.floor(value * 10 ** digits) / 10 ** digits;
const ceil = (value: number, digits: number): number => Math.ceil(value * 10 ** digits) / 10 ** digits;

export const MEASURES: readonly Measure[] = [
  {
    figure: 'dctDistance',
    of: ({ dctDistance }) => dctDistance,
    least: 2,
    thresholds: (allowed) => ({ dctDistance: Math.ceil(allowed) }),
    shown: identity,
  },
  {
    figure: 'ssim',
    of: ({ ssim }) => 1 - ssim,
    least: 0.005,
    thresholds: (allowed) => ({ ssim: floor(1 - allowed, 3) }),
    shown: complement,
  },
  {
    figure: 'localSsim',
    of: ({ localSsim }) => 1 - localSsim,
    least: 0.01,
    thresholds: (allowed) => ({ localSsim: floor(1 - allowed, 3) }),
    shown: complement,
  },
  {
    figure: 'colourDifference',
    of: ({ colourDifference }) => colourDifference,
    least: 0.5,
    thresholds: (allowed) => ({ colourDifference: ceil(allowed, 1) }),
    shown: identity,
  },
  {
    // 0: equal; 0.6: one has 1.6 times the energy of the other.
    figure: 'laplacianRatio',
    of: ({ laplacianRatio }) => Math.max(laplacianRatio, 1 / laplacianRatio) - 1,
    judged: ({ detail }, { detailFloor }) => detail > detailFloor,
    least: 0.1,
    thresholds: (allowed) => {
      const laplacianRatioMax = ceil(1 + allowed, 2);
      return { laplacianRatioMin: floor(1 / laplacianRatioMax, 3), laplacianRatioMax };
    },
    shown: (allowed) => 1 + allowed,
  },
  {
    figure: 'laplacianCosine',
    of: ({ laplacianCosine }) => 1 - laplacianCosine,
    judged: ({ detail }, { detailFloor }) => detail > detailFloor,
    least: 0.05,
    thresholds: (allowed) => ({ laplacianCosine: floor(1 - allowed, 3) }),
    shown: complement,
  },
  {
    figure: 'fineCosine',
    of: ({ fineCosine }) => 1 - fineCosine,
    judged: ({ fineDetail }, { fineFloor }) => fineDetail > fineFloor,
    least: 0.1,
    thresholds: (allowed) => ({ fineCosine: floor(1 - allowed, 3) }),
    shown: complement,
  },
];

export interface DerivedFigure {
  figure: Measure['figure'];
  /** Honest pairs that it was judged on. */
  pairs: number;
  /** In the figure's own terms: the 99.9th percentile on its bad side, and the worst pair. */
  percentile: number;
  worst: number;
}

export interface Derivation {
  thresholds: PerceptualThresholds;
  figures: DerivedFigure[];
}

/** The floors, and figures that no pair was judged on, stay as they are. @param honest at least one pair. */
export function deriveThresholds(honest: readonly MeasuredPair[], current: PerceptualThresholds): Derivation {
  const figures: DerivedFigure[] = [];
  let thresholds = current;
  for (const { figure, of, judged, least, thresholds: allowing, shown } of MEASURES) {
    const values = honest
      .flatMap(({ distances }) => distances ?? [])
      .filter((found) => judged?.(found, current) ?? true)
      .map(of)
      .sort((a, b) => a - b);
    const worst = values.at(-1);
    if (worst === undefined) continue;
    const percentile = quantile(values, INSIDE);
    figures.push({ figure, pairs: values.length, percentile: shown(percentile), worst: shown(worst) });
    thresholds = { ...thresholds, ...allowing(Math.max(least, percentile) * (1 + MARGIN)) };
  }
  return { thresholds, figures };
}

/** The least value that at least this share of them does not exceed. @param sorted ascending, not empty. */
export function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!;
}

export interface ErrorRate {
  pairs: number;
  errors: number;
  rate: number;
  /** Upper end of Wilson's interval: the rate is below it with 95 % confidence. */
  upper: number;
}

/** How many honest pairs fail. */
export function falseFailures(honest: readonly MeasuredPair[], thresholds: PerceptualThresholds): ErrorRate {
  return rateOf(honest.length, honest.filter((pair) => !passes(pair, thresholds)).length);
}

/** How many dishonest pairs pass, by kind. */
export function misses(dishonest: readonly MeasuredPair[], thresholds: PerceptualThresholds): Map<string, ErrorRate> {
  const kinds = [...new Set(dishonest.map((pair) => pair.dishonest ?? ''))].sort();
  return new Map(
    kinds.map((kind) => {
      const pairs = dishonest.filter((pair) => pair.dishonest === kind);
      return [kind, rateOf(pairs.length, pairs.filter((pair) => passes(pair, thresholds)).length)];
    }),
  );
}

function passes({ distances }: MeasuredPair, thresholds: PerceptualThresholds): boolean {
  return distances !== undefined && failedFigures(distances, thresholds).length === 0;
}

function rateOf(pairs: number, errors: number): ErrorRate {
  return { pairs, errors, rate: errors / pairs, upper: wilsonUpper(errors, pairs) };
}

/** Wilson's score interval, one-sided at 95 %. @param pairs at least 1. */
export function wilsonUpper(errors: number, pairs: number): number {
  const share = errors / pairs;
  const z2 = Z * Z;
  const spread = Z * Math.sqrt((share * (1 - share)) / pairs + z2 / (4 * pairs * pairs));
  return (share + z2 / (2 * pairs) + spread) / (1 + z2 / pairs);
}

/** Fewest pairs, none of which fails, that bring Wilson's upper end down to this rate. */
export function pairsNeeded(rate: number): number {
  return Math.ceil((Z * Z * (1 - rate)) / rate);
}
