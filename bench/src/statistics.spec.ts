import { median, medianRatio, percentile, rotated } from './statistics';

describe('statistics', () => {
  it('takes percentiles by nearest rank, in any order of the values', () => {
    const values = Array.from({ length: 100 }, (_, i) => 100 - i);
    expect([percentile(values, 0.5), percentile(values, 0.95), percentile(values, 0.99)]).toEqual([50, 95, 99]);
    expect(percentile([7], 0.99)).toBe(7);
  });

  it('has the mean of the two middle values as the median of an even number', () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([9, 1, 5, 7])).toBe(6);
  });

  it('compares round by round, so that a slow round cancels out', () => {
    expect(medianRatio([200, 20, 200], [100, 10, 100])).toBe(2);
  });

  it('lets every contender begin once', () => {
    const rounds = [0, 1, 2, 3].map((round) => rotated(['a', 'b', 'c'], round).join(''));
    expect(rounds).toEqual(['abc', 'bca', 'cab', 'abc']);
  });

  it('says that there is nothing to measure', () => {
    expect([median([]), percentile([], 0.5)]).toEqual([Number.NaN, Number.NaN]);
  });
});
