import * as fc from 'fast-check';
import { auditRate, floorDraws, isDrawn, nearest, neighbourReversals, uFrom, wilsonLower } from './audit-sampling';
import { DEFAULT_POLICY } from './policy';

const POLICY = DEFAULT_POLICY.audit;
const U_MAX = 2n ** 64n - 1n;
const anyU = fc.bigInt({ min: 0n, max: U_MAX });
const rate = fc.double({ min: 0, max: 1, noNaN: true });

describe('draw', () => {
  it('reads u as the first eight bytes, big-endian', () => {
    expect(uFrom(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8))).toBe(0x0102030405060708n);
    expect(uFrom(Uint8Array.of(0, 0, 0, 0, 0, 0, 1, 0, 99, 99))).toBe(256n);
    expect(uFrom(new Uint8Array(32).fill(255))).toBe(U_MAX);
    expect(() => uFrom(new Uint8Array(7))).toThrow('8 bytes');
  });

  it('draws every job at q = 1 and none at q = 0', () => {
    fc.assert(fc.property(anyU, (u) => expect([isDrawn(u, 1), isDrawn(u, 0)]).toEqual([true, false])));
    expect(isDrawn(U_MAX, 1)).toBe(true);
    expect(isDrawn(0n, 0)).toBe(false);
  });

  it('has its bound exactly at ⌊q·2⁶⁴⌋', () => {
    expect(isDrawn(2n ** 63n - 1n, 0.5)).toBe(true);
    expect(isDrawn(2n ** 63n, 0.5)).toBe(false);
    // 0.1 as a double is 0x1.999999999999ap-4.
    expect(isDrawn(0x1999999999999a00n - 1n, 0.1)).toBe(true);
    expect(isDrawn(0x1999999999999a00n, 0.1)).toBe(false);
  });

  it('still draws a job when q rises', () => {
    fc.assert(
      fc.property(anyU, rate, rate, (u, a, b) => {
        if (isDrawn(u, Math.min(a, b))) expect(isDrawn(u, Math.max(a, b))).toBe(true);
      }),
    );
  });

  it.each([-0.1, 1.1, NaN])('refuses q = %p', (q) => expect(() => isDrawn(0n, q)).toThrow(RangeError));
});

describe('audit rate', () => {
  const trusted = { jobsSeen: 20, cusum: 0, wilsonLower: 0.97 };

  it('is 1 in probation and under suspicion, whatever the miner has earned', () => {
    expect(auditRate({ ...trusted, jobsSeen: 19 }, POLICY)).toBe(1);
    expect(auditRate({ ...trusted, cusum: 1e-9 }, POLICY)).toBe(1);
  });

  it('falls to the base rate after it, and to the trusted rate at a Wilson bound of 0.97', () => {
    expect(auditRate({ ...trusted, wilsonLower: 0.9699 }, POLICY)).toBe(0.1);
    expect(auditRate(trusted, POLICY)).toBe(0.05);
  });
});

describe('Wilson lower bound', () => {
  it('takes 88 audits without a failure to reach 0.97', () => {
    expect(wilsonLower(87, 87, 1.645)).toBeLessThan(0.97);
    expect(wilsonLower(88, 88, 1.645)).toBeGreaterThanOrEqual(0.97);
  });

  it('solves the quadratic that defines it: (p̂ − p)² = z²·p(1 − p)/n', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 10_000 }), rate, (audits, share) => {
        const passes = Math.floor(share * audits);
        const p = wilsonLower(passes, audits, 1.645);
        expect((passes / audits - p) ** 2).toBeCloseTo((1.645 ** 2 * p * (1 - p)) / audits, 10);
        expect(p).toBeLessThanOrEqual(passes / audits);
        expect(p).toBeGreaterThanOrEqual(0);
      }),
    );
  });

  it('is 0 without audits and refuses more passes than audits', () => {
    expect(wilsonLower(0, 0, 1.645)).toBe(0);
    expect(wilsonLower(0, 7, 1.645)).toBe(0);
    expect(() => wilsonLower(2, 1, 1.645)).toThrow(RangeError);
  });
});

describe('floor of audits', () => {
  const jobs = [
    { jobId: 'c', u: 5n },
    { jobId: 'b', u: 1n },
    { jobId: 'a', u: 5n },
    { jobId: 'd', u: 9n },
  ];

  it('takes the lowest u, then the lower job id, up to the floor', () => {
    expect(floorDraws(jobs, 0, 3).map(({ jobId }) => jobId)).toEqual(['b', 'a', 'c']);
    expect(floorDraws(jobs, 2, 3).map(({ jobId }) => jobId)).toEqual(['b']);
    expect(floorDraws(jobs, 4, 3)).toEqual([]);
    expect(floorDraws([], 0, 3)).toEqual([]);
  });

  it('chooses the same jobs in whatever order they are listed', () => {
    const list = fc.uniqueArray(fc.record({ jobId: fc.uuid(), u: fc.bigInt({ min: 0n, max: 9n }) }), {
      selector: ({ jobId }) => jobId,
    });
    fc.assert(
      fc.property(list, fc.nat(5), (undrawn, floor) => {
        expect(floorDraws([...undrawn].reverse(), 0, floor)).toEqual(floorDraws(undrawn, 0, floor));
      }),
    );
  });
});

describe('reversal of neighbours', () => {
  it('takes ⌈3 / (q·κ)⌉ awards along', () => {
    expect(neighbourReversals(0.1, 1)).toBe(30);
    expect(neighbourReversals(0.05, 1)).toBe(60);
    expect(neighbourReversals(1, 1)).toBe(3);
    expect(neighbourReversals(0.05, 0.51)).toBe(118);
  });

  it('never takes fewer than three times what one detection stands for, nor one more than needed', () => {
    const micro = fc.integer({ min: 1, max: 1_000_000 });
    fc.assert(
      fc.property(micro, micro, (q, kappa) => {
        const count = BigInt(neighbourReversals(q / 1e6, kappa / 1e6));
        const parts = BigInt(q) * BigInt(kappa);
        expect(count * parts >= 3n * 10n ** 12n && (count - 1n) * parts < 3n * 10n ** 12n).toBe(true);
      }),
    );
  });

  it.each([
    [0, 1],
    [1, 0],
    [1.1, 1],
    [NaN, 1],
  ])('refuses q = %p with κ = %p', (q, kappa) => expect(() => neighbourReversals(q, kappa)).toThrow(RangeError));

  it('chooses the nearest awards, the earlier of two at the same distance', () => {
    const awards = [10, 20, 30, 40, 50].map((at) => ({ jobId: `job-${99 - at}`, at }));
    expect(nearest(awards, 30, 3).map(({ at }) => at)).toEqual([30, 20, 40]);
    expect(nearest(awards, 30, 2).map(({ at }) => at)).toEqual([30, 20]);
    expect(nearest(awards, 0, 99)).toHaveLength(5);
  });

  it('leaves no award out that is nearer than a chosen one', () => {
    const list = fc.uniqueArray(fc.record({ jobId: fc.uuid(), at: fc.nat(100) }), { selector: ({ jobId }) => jobId });
    fc.assert(
      fc.property(list, fc.nat(100), fc.nat(10), (awards, around, count) => {
        const chosen = nearest(awards, around, count);
        const farthest = Math.max(...chosen.map(({ at }) => Math.abs(at - around)), -1);
        expect(chosen).toHaveLength(Math.min(count, awards.length));
        for (const award of awards) {
          if (!chosen.includes(award)) expect(Math.abs(award.at - around)).toBeGreaterThanOrEqual(farthest);
        }
        expect(nearest([...awards].reverse(), around, count)).toEqual(chosen);
      }),
    );
  });
});
