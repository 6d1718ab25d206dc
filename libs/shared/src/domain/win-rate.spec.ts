import * as fc from 'fast-check';
import { winRates } from './win-rate';

/** The definition, pair by pair: O(n²). */
function oracle(scores: readonly bigint[]): number[] {
  if (scores.length === 1) return [1];
  return scores.map((own, i) => {
    let halfWins = 0;
    scores.forEach((other, j) => {
      if (j !== i) halfWins += other < own ? 2 : other === own ? 1 : 0;
    });
    return halfWins / (2 * (scores.length - 1));
  });
}

/** Few distinct values, so that ties are common, or any exact double. */
const scores = fc.oneof(
  fc.array(fc.bigInt({ min: 0n, max: 8n }), { maxLength: 40 }),
  fc.array(fc.bigInt({ min: 1n - 2n ** 53n, max: 2n ** 53n - 1n }), { maxLength: 40 }),
);

describe('win rate', () => {
  it('is 1 for a single miner and empty for none', () => {
    expect(winRates([5n])).toEqual([1]);
    expect(winRates([])).toEqual([]);
  });

  it('gives half a win for a tie', () => {
    expect(winRates([3n, 1n, 3n])).toEqual([0.75, 0, 0.75]);
    expect(winRates([0n, 0n, 0n, 0n])).toEqual([0.5, 0.5, 0.5, 0.5]);
  });

  it('equals the comparison of every miner with every other, to the bit', () => {
    fc.assert(fc.property(scores, (s) => expect(winRates(s)).toEqual(oracle(s))));
  });

  it('hands out n(n − 1) half wins in all', () => {
    fc.assert(
      fc.property(scores, (s) => {
        fc.pre(s.length > 1);
        const halfWins = winRates(s).map((rate) => Math.round(rate * 2 * (s.length - 1)));
        expect(halfWins.reduce((a, b) => a + b, 0)).toBe(s.length * (s.length - 1));
      }),
    );
  });

  it('does not change under a strictly increasing transform of the scores', () => {
    const small = fc.array(fc.bigInt({ min: 0n, max: 100_000n }), { maxLength: 40 });
    fc.assert(
      fc.property(small, (s) => {
        expect(winRates(s.map((x) => x * x * x + 7n * x - 5n))).toEqual(winRates(s));
      }),
    );
  });

  it('refuses a score that a double cannot hold instead of rounding it into a tie', () => {
    expect(() => winRates([2n ** 53n, 0n])).toThrow('2^53');
  });
});
