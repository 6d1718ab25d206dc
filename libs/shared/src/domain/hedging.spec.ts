import * as fc from 'fast-check';
import { earnHedge, hedgeAfterMs, spendHedge } from './hedging';
import { DEFAULT_POLICY } from './policy';

const policy = DEFAULT_POLICY.routing;

describe('the time of a hedge', () => {
  it('is the quantile of the latest results, as a share of T_max', () => {
    expect(hedgeAfterMs(10_000, { samples: 20, quantileShare: 0.3 }, policy)).toBe(3_000);
  });

  it('is the default share while there are too few results', () => {
    expect(hedgeAfterMs(10_000, { samples: 19, quantileShare: 0.3 }, policy)).toBe(5_000);
    expect(hedgeAfterMs(10_000, undefined, policy)).toBe(5_000);
  });

  it('stays between the floor and the point where a result is worth nothing', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1_000, max: 600_000 }), fc.double({ min: 0, max: 2, noNaN: true }), (t, share) => {
        const afterMs = hedgeAfterMs(t, { samples: 100, quantileShare: share }, policy);
        expect(afterMs).toBeGreaterThanOrEqual(Math.round(0.1 * t));
        expect(afterMs).toBeLessThanOrEqual(Math.round(0.9 * t));
      }),
    );
  });
});

describe('the budget of hedges', () => {
  it('never allows more than its share of the jobs and what may be saved', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 500 }), (wants) => {
        let saved = 0;
        let hedges = 0;
        for (const want of wants) {
          saved = earnHedge(saved, policy);
          const left = want ? spendHedge(saved) : undefined;
          if (left === undefined) continue;
          saved = left;
          hedges += 1;
        }
        expect(hedges).toBeLessThanOrEqual(wants.length * policy.hedgeBudget + 1e-9);
      }),
    );
  });

  it('saves ten at most', () => {
    const saved = Array.from({ length: 1_000 }).reduce<number>((sum) => earnHedge(sum, policy), 0);
    expect(saved).toBe(10);
    expect(spendHedge(0.99)).toBeUndefined();
  });
});
