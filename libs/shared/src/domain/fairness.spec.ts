import fc from 'fast-check';
import { gini, laneFairness, type LaneTurns } from './fairness';

const values = fc.array(fc.integer({ min: 0, max: 1_000 }), { minLength: 1, maxLength: 30 });
const hour = 3_600_000;

/** The definition, pair by pair. */
function byPairs(xs: readonly number[]): number {
  const sum = xs.reduce((a, b) => a + b, 0);
  const differences = xs.flatMap((x) => xs.map((y) => Math.abs(x - y))).reduce((a, b) => a + b, 0);
  return sum === 0 ? 0 : differences / (2 * xs.length * sum);
}

function turns(jobs: number, slots = 1, presentMs = hour, hotkey = `${jobs}/${slots}`): LaneTurns {
  return { hotkey, jobs, slots, presentMs };
}

describe('the Gini coefficient', () => {
  it('is half the relative mean absolute difference of all pairs', () => {
    fc.assert(fc.property(values, (xs) => expect(gini(xs)).toBeCloseTo(byPairs(xs), 10)));
  });

  it('is 0 when all have the same, and when nobody has anything', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1e9, noNaN: true }), fc.integer({ min: 1, max: 50 }), (x, n) =>
        expect(gini(Array<number>(n).fill(x))).toBeCloseTo(0, 12),
      ),
    );
    expect(gini([])).toBe(0);
  });

  it('is (n − 1)/n when one of n has all', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 1_000 }), (n, x) =>
        expect(gini([...Array<number>(n - 1).fill(0), x])).toBeCloseTo((n - 1) / n, 12),
      ),
    );
  });

  it('does not depend on the order or the unit of the values', () => {
    fc.assert(
      fc.property(values, fc.double({ min: 1e-3, max: 1e6, noNaN: true }), (xs, scale) => {
        const shuffled = [...xs].sort((a, b) => ((a * 7_919) % 31) - ((b * 7_919) % 31));
        expect(gini(shuffled)).toBeCloseTo(gini(xs), 10);
        expect(gini(xs.map((x) => x * scale))).toBeCloseTo(gini(xs), 10);
      }),
    );
  });

  it('counts a value of weight k like k values', () => {
    const weighted = fc.array(fc.tuple(fc.integer({ min: 0, max: 100 }), fc.integer({ min: 0, max: 6 })), {
      minLength: 1,
      maxLength: 12,
    });
    fc.assert(
      fc.property(weighted, (pairs) => {
        const repeated = pairs.flatMap(([value, weight]) => Array<number>(weight).fill(value));
        const given = gini(
          pairs.map(([value]) => value),
          pairs.map(([, weight]) => weight),
        );
        expect(given).toBeCloseTo(byPairs(repeated), 10);
      }),
    );
  });

  it('refuses what is no amount', () => {
    for (const wrong of [-1, NaN, Infinity]) {
      expect(() => gini([1, wrong])).toThrow(RangeError);
      expect(() => gini([1, 1], [1, wrong])).toThrow(RangeError);
    }
  });
});

describe('a lane', () => {
  it('is fair when jobs are in proportion to slots and to the time present', () => {
    const fair = laneFairness([turns(40, 4), turns(10, 1), turns(10, 2, hour / 2)], hour);
    expect(fair).toMatchObject({ jobs: 60, perSlot: { min: 10, median: 10, max: 10 } });
    expect(fair.gini).toBeCloseTo(0, 12);
  });

  it('tells each miner what equal slots would have brought, adding up to all jobs', () => {
    const lane = fc.uniqueArray(
      fc.record({
        hotkey: fc.string(),
        jobs: fc.integer({ min: 0, max: 500 }),
        slots: fc.integer({ min: 1, max: 64 }),
        presentMs: fc.integer({ min: 1, max: 2 * hour }),
      }),
      { minLength: 1, maxLength: 20, selector: ({ hotkey }) => hotkey },
    );
    fc.assert(
      fc.property(lane, (miners) => {
        const { fairJobs, jobs, gini: unfairness } = laneFairness(miners, hour);
        expect([...fairJobs.values()].reduce((a, b) => a + b, 0)).toBeCloseTo(jobs, 6);
        if (jobs === 0) expect(unfairness).toBeNull();
        else expect(unfairness).toBeGreaterThanOrEqual(0);
        const served = miners.map((miner) => ({ ...miner, jobs: fairJobs.get(miner.hotkey) ?? 0 }));
        expect(laneFairness(served, hour).gini ?? 0).toBeCloseTo(0, 10);
      }),
    );
  });

  it('measures a young system by its own age', () => {
    const minute = 60_000;
    const young = laneFairness([turns(6, 1, minute), turns(3, 1, minute / 2)], hour);
    expect(young.perSlot).toEqual({ min: 6, median: 6, max: 6 });
  });

  it('does not show the first minute of a newcomer as favour', () => {
    const { perSlot } = laneFairness([turns(60), turns(50), turns(1, 1, 1_000)], hour);
    expect(perSlot).toEqual({ min: 50, median: 55, max: 60 });
  });

  it('has nothing to say without jobs or without miners', () => {
    expect(laneFairness([], hour)).toEqual({ jobs: 0, gini: null, perSlot: null, fairJobs: new Map() });
    expect(laneFairness([turns(0)], hour)).toMatchObject({ jobs: 0, gini: null });
  });
});
