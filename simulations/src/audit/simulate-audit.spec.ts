import * as fc from 'fast-check';
import { DEFAULT_POLICY } from '@studio/shared/domain/policy';
import { Chance } from '../chance';
import { playedUntilFlagged } from './detection';
import { filedDraws, seededDraws } from './draws';
import { flaggedAt, steady, type History } from './flag-times';
import { calibrated, confirmedFailureRate } from './judges';
import { brokenPromises, notBelow } from './promises';
import { PRODUCTION_FACTOR } from './reversal-factor';
import { RULES } from './rules';
import type { Size } from './setting';
import { simulateAudit, STAGES, type Results } from './simulate-audit';

const TINY: Size = {
  name: 'tiny',
  flagHistories: 3_000,
  filedHistories: 1_500,
  delayedHistories: 10,
  honestHistories: 1_000,
  drawSamples: 2_000,
  miners: 5,
  epochs: 40,
  searchMiners: 1,
  finalistMiners: 10,
  factorMiners: 1,
  comparedMiners: 6,
  honestMiners: 8,
  quorumAudits: 500,
};

const setting = { size: TINY, seed: 3, cheatCost: 0, reversalFactor: PRODUCTION_FACTOR };

describe('the audit in virtual time', () => {
  let results: Results;

  beforeAll(() => {
    results = simulateAudit(setting, () => undefined);
  });

  it('keeps its promises, and names what pays where none is made', () => {
    expect(brokenPromises(results)).toEqual([]);
    expect(notBelow(results).join('\n')).toContain('NOT below: hit and run, 2 jobs earns');
  });

  it('breaks its promise to honest miners when a conviction takes no neighbours', () => {
    const members = STAGES.members({ ...setting, reversalFactor: 0, chance: new Chance(3) });
    const broken = brokenPromises({ ...results, members });
    expect(broken.join('\n')).toMatch(/cheating pays: careful.* at a cost of 0\.95/);
  });

  it('breaks its promises when cheaters are found later, or honest miners lose anything', () => {
    const [late, ...others] = results.flagTimes.filter(({ promised }) => promised);
    const flagTimes = [{ ...late!, found: { median: 84, most: 1_030 } }, ...others, ...results.flagTimes];
    expect(brokenPromises({ ...results, flagTimes })).toEqual([
      'cheats on 5 %: jobs until 99 % are flagged: 1030, promised are 890 within 15 %',
    ]);
    const [exact, ...tolerant] = results.losses;
    const losses = [{ ...exact!, lost: { mean: 1e-6, error: 0 } }, ...tolerant];
    expect(brokenPromises({ ...results, losses })).toHaveLength(1);
  });
});

/** The greatest distance between two samples' distributions, and what it stays below in 999 of 1,000 pairs (Kolmogorov, Smirnov). */
function distance(a: number[], b: number[]): { found: number; bound: number } {
  const share = (of: number[], value: number): number => of.filter((other) => other <= value).length / of.length;
  const found = Math.max(...new Set([...a, ...b].map((value) => Math.abs(share(a, value) - share(b, value)))));
  return { found, bound: 1.95 * Math.sqrt((a.length + b.length) / (a.length * b.length)) };
}

describe('time to detection', () => {
  const turning: History = { failing: 0, turnsAfter: 60, failingThen: 0.3, jobsPerEpoch: 20, length: 2_000 };

  it.each([
    ['a steady cheater', steady(0.1, 100, 2_000)],
    ['one whose floor of audits adds to the draw', steady(0.05, 10, 2_000)],
    ['one that turns', turning],
  ])('is the same when the jobs that are not drawn are skipped: %s', (_, history) => {
    const chance = new Chance(11);
    const several = (one: () => number): number[] => Array.from({ length: 800 }, one);
    const skipping = several(() => flaggedAt(history, DEFAULT_POLICY, chance) - history.turnsAfter);
    const atOnce = { ...RULES, replayMs: null };
    const { found, bound } = distance(
      skipping,
      several(() => playedUntilFlagged(history, atOnce, chance)),
    );
    expect(found).toBeLessThan(bound);
  });

  it('needs a miner that turns with an epoch', () => {
    const history = { ...turning, turnsAfter: 65 };
    expect(() => flaggedAt(history, DEFAULT_POLICY, new Chance(1))).toThrow(RangeError);
  });
});

describe('draws', () => {
  it('go by the rate and bound of the production’s filing, whatever the record', () => {
    const record = fc
      .record({ jobsSeen: fc.nat(40), audits: fc.nat(200), failed: fc.nat(3), cusum: fc.constantFrom(0, 0, 1.5) })
      .map(({ failed, ...rest }) => ({ ...rest, passes: Math.max(0, rest.audits - failed) }));
    fc.assert(
      fc.property(record, fc.uuid(), fc.nat(50), (known, jobId, epoch) => {
        const job = { jobId, hotkey: 'miner', epoch, record: known };
        const filed = filedDraws(DEFAULT_POLICY, 'test')(job, new Chance(1));
        const chance = new Chance(1);
        chance.u64 = () => filed.u;
        expect(seededDraws(DEFAULT_POLICY)(job, chance)).toEqual(filed);
      }),
    );
  });
});

describe('calibration', () => {
  it('finds the most false differences that keep confirmed failures within their bound', () => {
    const most = calibrated(0.0003);
    expect(confirmedFailureRate(most)).toBeLessThanOrEqual(0.0003);
    expect(confirmedFailureRate(most * 1.01)).toBeGreaterThan(0.0003);
    expect(confirmedFailureRate(0)).toBe(0);
  });
});
