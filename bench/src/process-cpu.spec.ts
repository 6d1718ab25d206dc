import { parseStat } from './process-cpu';

describe('parseStat', () => {
  it('finds the fields behind a name with spaces and parentheses', () => {
    const line = '42 (postgres: a (b) c) S 7 42 42 0 -1 4194304 100 0 0 0 11 22 33 44 20 0 1 0 555';
    expect(parseStat(line)).toEqual({ parent: 7, ownTicks: 33, ticks: 110 });
  });
});
