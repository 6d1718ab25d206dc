import * as fc from 'fast-check';
import { MAX_TEMPERATURE, MIN_TEMPERATURE, shares } from './temperature';

const rates = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 50 });
const temperature = fc.double({ min: MIN_TEMPERATURE, max: MAX_TEMPERATURE, noNaN: true });

function ranks(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i / (n - 1));
}

/** Neumaier's sum: the test must not add an error of its own. */
function sum(values: readonly number[]): number {
  let total = 0;
  let lost = 0;
  for (const value of values) {
    const next = total + value;
    lost += Math.abs(total) >= Math.abs(value) ? total - next + value : value - next + total;
    total = next;
  }
  return total + lost;
}

describe('temperature', () => {
  it.each([
    [10, 0.77],
    [64, 0.19],
    [256, 0.051],
  ])('gives the top of %i miners a share of %d at T = 0.075', (n, share) => {
    expect(Math.max(...shares(ranks(n), 0.075))).toBeCloseTo(share, 2);
  });

  it('makes shares that sum to 1 within 1e-12', () => {
    fc.assert(
      fc.property(rates, temperature, (r, t) => expect(Math.abs(sum(shares(r, t)) - 1)).toBeLessThanOrEqual(1e-12)),
    );
    // Plainly added, a hundred thousand equal terms are all rounded the same way: 1.3e-12 off.
    const tied = Array<number>(100_000).fill(0.3).concat(1);
    for (const field of [tied, ranks(100_000)]) {
      expect(Math.abs(sum(shares(field, 0.075)) - 1)).toBeLessThanOrEqual(1e-12);
    }
  });

  it('gives the same bits to the same miner however the miners are listed', () => {
    fc.assert(
      fc.property(rates, temperature, fc.nat(), (r, t, offset) => {
        const k = offset % r.length;
        const turned = [...r.slice(k), ...r.slice(0, k)];
        const expected = shares(r, t);
        expect(shares(turned, t)).toEqual([...expected.slice(k), ...expected.slice(0, k)]);
      }),
    );
  });

  it('keeps neighbours of 10 000 apart at both ends of the range', () => {
    for (const t of [MIN_TEMPERATURE, MAX_TEMPERATURE]) {
      const parts = shares(ranks(10_000), t);
      for (let i = 1; i < parts.length; i++) expect(parts[i]).toBeGreaterThan(parts[i - 1] ?? NaN);
    }
  });

  it('tends to equal shares when it is high, and to the best alone when it is low', () => {
    for (const share of shares(ranks(10), MAX_TEMPERATURE)) expect(share).toBeCloseTo(0.1, 3);
    expect(shares(ranks(10), MIN_TEMPERATURE)[9]).toBeCloseTo(1, 12);
  });

  it('has nothing to share among nobody, and all of it for one', () => {
    expect(shares([], 0.075)).toEqual([]);
    expect(shares([1], 0.075)).toEqual([1]);
    expect(shares([0], 0.075)).toEqual([1]);
  });

  it.each([0, 0.0014, 1_001, NaN, -1])('refuses T = %p', (t) => {
    expect(() => shares([1], t)).toThrow('temperature');
  });

  it.each([-0.1, 1.1, NaN])('refuses a win rate of %p', (rate) => {
    expect(() => shares([rate], 0.075)).toThrow('win rate');
  });
});
