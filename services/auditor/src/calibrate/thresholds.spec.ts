import fc from 'fast-check';
import { PERCEPTUAL_THRESHOLDS } from '@studio/shared/domain/perceptual-thresholds';
import type { PerceptualDistances } from '../comparators/perceptual';
import type { MeasuredPair } from './measure';
import { calibrationOf, textOf } from './report';
import {
  CONFIRMED_AIM,
  deriveThresholds,
  falseFailures,
  misses,
  pairsNeeded,
  quantile,
  wilsonUpper,
} from './thresholds';

const EQUAL: PerceptualDistances = {
  dctDistance: 0,
  ssim: 1,
  localSsim: 1,
  colourDifference: 0,
  laplacianRatio: 1,
  laplacianCosine: 1,
  detail: 500,
  fineCosine: 1,
  fineDetail: 1_000,
};

const pair = (found: Partial<PerceptualDistances>, dishonest?: string): MeasuredPair => ({
  name: 'pair',
  ...(dishonest !== undefined && { dishonest }),
  distances: { ...EQUAL, ...found },
});
const pairs = (count: number, found: (index: number) => Partial<PerceptualDistances>): MeasuredPair[] =>
  Array.from({ length: count }, (_, index) => pair(found(index)));
const derived = (honest: MeasuredPair[]) => deriveThresholds(honest, PERCEPTUAL_THRESHOLDS).thresholds;

describe('deriving thresholds', () => {
  it('takes the 99.9th percentile on the bad side of each figure, and a quarter more', () => {
    // 1,000 pairs: the percentile is the second worst of each.
    const spread = pairs(1_000, (i) => ({
      dctDistance: i === 0 ? 200 : 20,
      ssim: i === 0 ? 0 : 0.92,
      localSsim: i === 0 ? -1 : 0.6,
      colourDifference: i === 0 ? 255 : 8,
      laplacianRatio: i === 0 ? 100 : i % 2 === 0 ? 1.4 : 1 / 1.4,
      laplacianCosine: i === 0 ? 0 : 0.8,
      fineCosine: i === 0 ? 0 : 0.6,
    }));
    expect(derived(spread)).toEqual({
      dctDistance: 25,
      ssim: 0.9,
      localSsim: 0.5,
      colourDifference: 10,
      laplacianRatioMin: 0.666,
      laplacianRatioMax: 1.5,
      laplacianCosine: 0.75,
      detailFloor: PERCEPTUAL_THRESHOLDS.detailFloor,
      fineCosine: 0.5,
      fineFloor: PERCEPTUAL_THRESHOLDS.fineFloor,
    });
  });

  it('leaves at most one pair in a thousand outside, whatever the figures are', () => {
    const share = fc.double({ min: 0, max: 1, noNaN: true });
    const figures = fc.record({
      dctDistance: fc.nat(256),
      ssim: share,
      localSsim: share,
      colourDifference: share.map((value) => 255 * value),
      laplacianRatio: fc.double({ min: 0.01, max: 100, noNaN: true }),
      laplacianCosine: share,
      fineCosine: share,
    });
    fc.assert(
      fc.property(fc.array(figures, { minLength: 1, maxLength: 50 }), (list) => {
        // With fewer than a thousand pairs the percentile is the worst of them.
        expect(
          falseFailures(
            list.map((found) => pair(found)),
            derived(list.map((found) => pair(found))),
          ).errors,
        ).toBe(0);
      }),
    );
  });

  it('does not go below what ±1 noise does, for pairs that are equal', () => {
    const { dctDistance, ssim, laplacianRatioMax, laplacianCosine } = derived(pairs(10, () => ({})));
    expect({ dctDistance, ssim, laplacianRatioMax, laplacianCosine }).toEqual({
      dctDistance: 3,
      ssim: 0.993,
      laplacianRatioMax: 1.13,
      laplacianCosine: 0.937,
    });
  });

  it('learns of detail from pairs that have some, and keeps the threshold where none has', () => {
    const soft = { detail: 10, fineDetail: 0, laplacianRatio: 9, laplacianCosine: -1, fineCosine: -1 };
    const { laplacianCosine, laplacianRatioMax, fineCosine } = derived([pair(soft)]);
    expect([laplacianCosine, laplacianRatioMax, fineCosine]).toEqual([0.65, 1.6, 0.37]);
    const mixed = deriveThresholds([pair(soft), pair({ laplacianCosine: 0.6 })], PERCEPTUAL_THRESHOLDS);
    expect(mixed.thresholds.laplacianCosine).toBe(0.5);
    expect(mixed.figures.find(({ figure }) => figure === 'laplacianCosine')).toMatchObject({ pairs: 1, worst: 0.6 });
  });

  it('counts ranks as the definition of a percentile does', () => {
    const values = Array.from({ length: 3_000 }, (_, i) => i + 1);
    expect([quantile(values, 0.999), quantile([7], 0.999), quantile(values.slice(0, 10), 0.5)]).toEqual([2_997, 7, 5]);
  });
});

describe('error rates', () => {
  it('count honest pairs that fail, and dishonest ones that pass by kind', () => {
    const honest = [...pairs(99, () => ({})), pair({ ssim: 0.5 })];
    expect(falseFailures(honest, PERCEPTUAL_THRESHOLDS)).toMatchObject({ pairs: 100, errors: 1, rate: 0.01 });
    const dishonest: MeasuredPair[] = [
      pair({}, 'noise'),
      pair({ ssim: 0.5 }, 'half-size'),
      pair({}, 'half-size'),
      // Another size is noticed.
      { name: 'pair', dishonest: 'half-size', distances: undefined },
    ];
    const found = misses(dishonest, PERCEPTUAL_THRESHOLDS);
    expect([...found].map(([kind, { pairs: count, errors }]) => [kind, count, errors])).toEqual([
      ['half-size', 3, 1],
      ['noise', 1, 1],
    ]);
  });

  it('are below Wilson’s upper end, which is where the rate would be just rejected', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5_000 }), fc.double({ min: 0, max: 1, noNaN: true }), (count, share) => {
        const errors = Math.floor(share * count);
        const upper = wilsonUpper(errors, count);
        // The score test's statistic at the upper end is the quantile itself.
        const score = (upper - errors / count) / Math.sqrt((upper * (1 - upper)) / count);
        // Where all are errors the two are 1, but for the last bit.
        expect(upper).toBeGreaterThanOrEqual(errors / count - 1e-12);
        if (upper < 1 - 1e-9) expect(score).toBeCloseTo(1.645, 6);
      }),
    );
  });

  it('are brought under the aim by so many pairs and no fewer', () => {
    for (const rate of [CONFIRMED_AIM, Math.sqrt(CONFIRMED_AIM)]) {
      expect(wilsonUpper(0, pairsNeeded(rate))).toBeLessThanOrEqual(rate);
      expect(wilsonUpper(0, pairsNeeded(rate) - 1)).toBeGreaterThan(rate);
    }
  });
});

describe('the report of a calibration', () => {
  const report = (count: number, found: (index: number) => Partial<PerceptualDistances> = () => ({})) =>
    calibrationOf([...pairs(count, found), pair({}, 'noise')], PERCEPTUAL_THRESHOLDS);

  it('says whether the pairs are enough for the percentile', () => {
    expect(textOf(report(2_999))).toContain(
      '2,999 honest pairs are too few for a stable 99.9th percentile: derive thresholds from 3,000 or more.',
    );
    expect(textOf(report(3_000))).toContain('The 99.9th percentile has 3 pairs beyond it.');
  });

  it('says for which assumption the aim is shown', () => {
    expect(textOf(report(153))).toContain('are not shown to keep it');
    expect(textOf(report(154))).toContain('keep it as far as the two comparisons err independently');
    expect(textOf(report(9_018))).toContain('keep it, whether or not the two comparisons err together');
  });

  it('gives a confirmed rate between both failing by chance and both failing always', () => {
    const { current } = report(1_000, (i) => ({ ssim: i < 10 ? 0.1 : 1 }));
    expect(current.confirmed.together).toBe(current.falseFailures.upper);
    expect(current.confirmed.independent).toBeCloseTo(current.falseFailures.upper ** 2, 12);
  });

  it('names pairs that fail now, and what is missed', () => {
    const text = textOf(report(8, (i) => (i < 7 ? { ssim: 0.1, localSsim: 0.1 } : {})));
    expect(text.match(/fails now: pair \(ssim, localSsim\)/g)).toHaveLength(5);
    expect(text).toContain('and 2 more');
    expect(text).toMatch(/noise +│ 1 +│ 1/);
  });

  it('is one JSON object for programs', () => {
    expect(JSON.parse(JSON.stringify(report(10)))).toMatchObject({
      pairs: { honest: 10, dishonest: 1 },
      enough: false,
      current: { thresholds: PERCEPTUAL_THRESHOLDS, falseFailures: { pairs: 10, errors: 0 }, failing: [] },
      derived: { missed: { noise: { errors: 1 } } },
    });
  });
});
