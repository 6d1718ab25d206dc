import * as fc from 'fast-check';
import { auditRate, isDrawn, wilsonLower } from './audit-sampling';
import { isQuarantined, step } from './cusum';
import { DEFAULT_POLICY } from './policy';

const POLICY = DEFAULT_POLICY.audit;

function after(verdicts: readonly boolean[]): number {
  return verdicts.reduce((s, failed) => step(s, failed, POLICY), 0);
}

describe('cusum', () => {
  it('takes the log-likelihood steps of 5 % against 0.1 %', () => {
    expect(POLICY.cusumFail).toBeCloseTo(Math.log(0.05 / 0.001), 3);
    expect(POLICY.cusumPass).toBeCloseTo(Math.log(0.95 / 0.999), 3);
  });

  it('quarantines at the third failure in a row and not at the second', () => {
    expect(isQuarantined(after([true, true]), POLICY)).toBe(false);
    expect(isQuarantined(after([true, true, true]), POLICY)).toBe(true);
  });

  it('forgives fourteen passes among three failures, and no more', () => {
    const passes = (n: number) => Array<boolean>(n).fill(false);
    expect(isQuarantined(after([true, ...passes(14), true, true]), POLICY)).toBe(true);
    expect(isQuarantined(after([true, ...passes(15), true, true]), POLICY)).toBe(false);
  });

  it('never falls below zero, and a miner that passes stays at zero', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean()), (verdicts) => {
        expect(after(verdicts)).toBeGreaterThanOrEqual(0);
        expect(after(verdicts.map(() => false))).toBe(0);
      }),
    );
  });

  it('never falls when a pass becomes a failure', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { minLength: 1 }), fc.nat(), (verdicts, pick) => {
        const worse = verdicts.map((failed, i) => failed || i === pick % verdicts.length);
        expect(after(worse)).toBeGreaterThanOrEqual(after(verdicts));
      }),
    );
  });
});

/** A linear congruential generator (Knuth's MMIX constants) in 64 bits: the same histories in every run. */
function generator(seed: number): () => bigint {
  let state = BigInt(seed);
  return () => (state = BigInt.asUintN(64, state * 6364136223846793005n + 1442695040888963407n));
}

/** Jobs until the quarantine of a miner that cheats at `rateAt(job)`, under the draws and verdicts of the real rules. */
function jobsUntilFlagged(next: () => bigint, rateAt: (job: number) => number): number {
  let [s, passes, audits] = [0, 0, 0];
  for (let job = 0; ; job++) {
    const bound = wilsonLower(passes, audits, POLICY.wilsonZ);
    if (!isDrawn(next(), auditRate({ jobsSeen: job, cusum: s, wilsonLower: bound }, POLICY))) continue;
    const failed = isDrawn(next(), rateAt(job));
    audits += 1;
    passes += failed ? 0 : 1;
    s = step(s, failed, POLICY);
    if (isQuarantined(s, POLICY)) return job + 1;
  }
}

function quantiles(
  histories: number,
  rateAt: (job: number) => number,
  honestJobs = 0,
): { median: number; p99: number } {
  const next = generator(42);
  const flagged = Array.from({ length: histories }, () => jobsUntilFlagged(next, rateAt) - honestJobs);
  flagged.sort((a, b) => a - b);
  const at = (share: number) => flagged[Math.floor(share * histories)] ?? NaN;
  return { median: at(0.5), p99: at(0.99) };
}

/** audit.md's figures, each to be met within 15 % (the median of 11 jobs within one job). */
describe('sampling and cusum together', () => {
  const within = (measured: number, figure: number) => {
    expect(Math.abs(measured - figure)).toBeLessThanOrEqual(Math.max(1, 0.15 * figure));
  };

  it('flag a miner that cheats on a quarter of its jobs within 11 jobs in half of all histories, 36 in 99 %', () => {
    const { median, p99 } = quantiles(4_000, () => 0.25);
    within(median, 11);
    within(p99, 36);
  });

  it('flag a miner that cheats on one job in twenty within 84 and 890 jobs', () => {
    const { median, p99 } = quantiles(2_000, () => 0.05);
    within(median, 84);
    within(p99, 890);
  });

  it('flag a miner that turns to one in ten after 500 honest jobs within 97 and 743 further jobs', () => {
    const { median, p99 } = quantiles(2_000, (job) => (job < 500 ? 0 : 0.1), 500);
    within(median, 97);
    within(p99, 743);
  });
});
