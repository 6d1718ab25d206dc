import * as fc from 'fast-check';
import { cutoffUs, pointsFor } from './points';

const job = fc.record({
  weightMicro: fc.constantFrom(700_000, 300_000),
  tMaxMs: fc.integer({ min: 1, max: 100_000_000 }),
});

describe('points', () => {
  it('give exactly ten for ten trainings and ten inferences at zero latency', () => {
    let sum = 0n;
    for (let i = 0; i < 10; i++) {
      sum += pointsFor({ weightMicro: 700_000, tMaxMs: 112_400, latencyUs: 0 });
      sum += pointsFor({ weightMicro: 300_000, tMaxMs: 10_000, latencyUs: 0 });
    }
    expect(sum).toBe(10_000_000n);
  });

  it('fall in a straight line to nothing at 90 % of T_max', () => {
    const at = (latencyUs: number) => pointsFor({ weightMicro: 700_000, tMaxMs: 10_000, latencyUs });
    expect(cutoffUs(10_000)).toBe(9_000_000);
    expect(at(4_500_000)).toBe(350_000n);
    expect(at(8_999_999)).toBe(0n);
    expect(at(8_999_987)).toBe(1n);
    expect(at(9_000_000)).toBe(0n);
    expect(at(10_000_000)).toBe(0n);
    expect(pointsFor({ weightMicro: 700_000, tMaxMs: 1, latencyUs: 901 })).toBe(0n);
  });

  it('equal the floor of the exact fraction where floats would not', () => {
    // In doubles 700000 · (1 − 2682/9000) is 491399.99999999994.
    expect(pointsFor({ weightMicro: 700_000, tMaxMs: 10, latencyUs: 2_682 })).toBe(491_400n);
  });

  it('are nothing at or beyond the cutoff, full at zero, and never rise with the latency', () => {
    fc.assert(
      fc.property(job, fc.nat(1_000_000_000), fc.nat(1_000_000), ({ weightMicro, tMaxMs }, latencyUs, more) => {
        const points = pointsFor({ weightMicro, tMaxMs, latencyUs });
        expect(pointsFor({ weightMicro, tMaxMs, latencyUs: 0 })).toBe(BigInt(weightMicro));
        expect(pointsFor({ weightMicro, tMaxMs, latencyUs: latencyUs + more })).toBeLessThanOrEqual(points);
        expect(pointsFor({ weightMicro, tMaxMs, latencyUs: cutoffUs(tMaxMs) + more })).toBe(0n);
      }),
    );
  });

  it('lie within one millionth below the exact fraction', () => {
    fc.assert(
      fc.property(job, fc.double({ min: 0, max: 1, noNaN: true }), ({ weightMicro, tMaxMs }, share) => {
        const cutoff = BigInt(cutoffUs(tMaxMs));
        const latency = BigInt(Math.floor(share * Number(cutoff)));
        const points = pointsFor({ weightMicro, tMaxMs, latencyUs: Number(latency) });
        const exact = BigInt(weightMicro) * (cutoff - latency);
        expect(points * cutoff <= exact && exact < (points + 1n) * cutoff).toBe(true);
      }),
    );
  });

  it('follow the cutoff of the policy', () => {
    expect(cutoffUs(10_000, 0.5)).toBe(5_000_000);
    expect(pointsFor({ weightMicro: 700_000, tMaxMs: 10_000, latencyUs: 2_500_000, cutoffShare: 0.5 })).toBe(350_000n);
  });

  it('have a cutoff that is exactly nine tenths for every whole T_max', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e9 }), (tMaxMs) => {
        expect(cutoffUs(tMaxMs)).toBe(tMaxMs * 900);
      }),
    );
  });

  it.each([
    [{ weightMicro: 0.7, tMaxMs: 10, latencyUs: 0 }, 'weightMicro'],
    [{ weightMicro: 1, tMaxMs: 10, latencyUs: -1 }, 'latencyUs'],
    [{ weightMicro: 1, tMaxMs: 10, latencyUs: NaN }, 'latencyUs'],
    [{ weightMicro: 1, tMaxMs: 0, latencyUs: 0 }, 'T_max'],
    [{ weightMicro: 1, tMaxMs: 10.5, latencyUs: 0 }, 'T_max'],
    [{ weightMicro: 1, tMaxMs: 10, latencyUs: 0, cutoffShare: 1.1 }, 'share'],
  ])('refuse %p', (timed, field) => {
    expect(() => pointsFor(timed)).toThrow(field);
  });
});
