import { lineOf, summaryOf } from './self-test';

const requirement = 'It is kept.';

describe('a finding', () => {
  it('that fails says what was seen and what to change', () => {
    const text = lineOf({ name: 'busy', requirement, result: 'fail', seen: 'no 429', change: 'refuse' });
    expect(text).toMatch(/FAIL.*busy.*It is kept\.\n +seen: +no 429\n +change: +refuse/s);
  });

  it('counts, and decides the verdict only by failing', () => {
    const pass = { name: 'a', requirement, result: 'pass' as const };
    const skip = { name: 'b', requirement, result: 'skip' as const, why: 'not offered' };
    const fail = { name: 'c', requirement, result: 'fail' as const, seen: 's', change: 'c' };
    expect(summaryOf([pass, skip])).toContain('1 passed, 0 failed, 1 skipped. The miner keeps the contract.');
    expect(summaryOf([pass, fail])).toContain('does not keep the contract yet');
  });
});
