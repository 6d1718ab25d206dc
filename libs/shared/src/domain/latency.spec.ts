import * as fc from 'fast-check';
import { fallbackLatencyUs, medianUs, netLatencyUs, networkCreditUs, voidLatencyUs } from './latency';
import { pointsFor } from './points';

const path = fc.record({
  rttMinUs: fc.nat(10_000_000),
  freshTls: fc.boolean(),
  canonicalBytes: fc.nat(1_000_000_000),
  tMaxMs: fc.integer({ min: 1, max: 10_000_000 }),
});

describe('network credit', () => {
  it('counts one round trip on a kept-alive connection and three on a fresh TLS one', () => {
    const base = { rttMinUs: 20_000, canonicalBytes: 0, tMaxMs: 60_000 };
    expect(networkCreditUs({ ...base, freshTls: false })).toBe(20_000);
    expect(networkCreditUs({ ...base, freshTls: true })).toBe(60_000);
  });

  it('counts the canonical bytes at 100 Mbit/s', () => {
    expect(networkCreditUs({ rttMinUs: 0, freshTls: false, canonicalBytes: 1_250_000, tMaxMs: 60_000 })).toBe(100_000);
  });

  it('caps the round trips at 250 ms and at 2 % of T_max, and the transfer at 2 % of T_max', () => {
    const slow = { rttMinUs: 10_000_000, freshTls: true, canonicalBytes: 0 };
    expect(networkCreditUs({ ...slow, tMaxMs: 600_000 })).toBe(250_000);
    expect(networkCreditUs({ ...slow, tMaxMs: 1_000 })).toBe(20_000);
    expect(networkCreditUs({ rttMinUs: 0, freshTls: false, canonicalBytes: 1e9, tMaxMs: 1_000 })).toBe(20_000);
  });

  it('never lets a miner gain more than 2.3 % of a job per term by delaying its SYN-ACKs or padding', () => {
    fc.assert(
      fc.property(path, fc.nat(10_000_000), (network, rawUs) => {
        const job = { weightMicro: 700_000, tMaxMs: network.tMaxMs };
        const gained =
          pointsFor({ ...job, latencyUs: netLatencyUs(rawUs, networkCreditUs(network)) }) -
          pointsFor({ ...job, latencyUs: rawUs });
        expect(gained).toBeGreaterThanOrEqual(0n);
        expect(gained).toBeLessThanOrEqual(BigInt(Math.ceil(2 * (0.02 / 0.9) * 700_000) + 1));
      }),
    );
  });

  it('is a whole number, and never falls when the path gets longer or the artifact larger', () => {
    fc.assert(
      fc.property(path, fc.nat(1_000_000), (network, more) => {
        const credit = networkCreditUs(network);
        expect(Number.isSafeInteger(credit)).toBe(true);
        expect(networkCreditUs({ ...network, rttMinUs: network.rttMinUs + more })).toBeGreaterThanOrEqual(credit);
        const larger = { ...network, canonicalBytes: network.canonicalBytes + more };
        expect(networkCreditUs(larger)).toBeGreaterThanOrEqual(credit);
      }),
    );
  });

  it.each([-1, NaN, Infinity])('refuses an rttMin of %p', (rttMinUs) => {
    expect(() => networkCreditUs({ rttMinUs, freshTls: false, canonicalBytes: 0, tMaxMs: 1 })).toThrow('rttMinUs');
  });
});

describe('net latency', () => {
  it('is raw minus credit, never negative', () => {
    expect(netLatencyUs(1_000, 300)).toBe(700);
    expect(netLatencyUs(100, 300)).toBe(0);
    expect(netLatencyUs(1_000.4, 0)).toBe(1_000);
  });
});

describe('void samples', () => {
  it('take the median of the latest valid samples', () => {
    expect(medianUs([5, 1, 3])).toBe(3);
    expect(medianUs([4, 1, 3, 2])).toBe(2);
    expect(medianUs([])).toBeUndefined();
    expect(voidLatencyUs([900, 100, 500], 10_000)).toBe(500);
  });

  it('read twenty samples and no older ones', () => {
    expect(voidLatencyUs([...Array<number>(20).fill(10), ...Array<number>(100).fill(9_999)], 10_000)).toBe(10);
  });

  it('score one half when the miner has no valid sample yet', () => {
    expect(fallbackLatencyUs(10_000)).toBe(4_500_000);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 10_000_000 }), (tMaxMs) => {
        const points = pointsFor({ weightMicro: 700_000, tMaxMs, latencyUs: voidLatencyUs([], tMaxMs) });
        expect(points).toBe(350_000n);
      }),
    );
  });

  it('give a median that lies among the values and does not depend on their order', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(), { minLength: 1 }), (values) => {
        const median = medianUs(values) ?? NaN;
        expect(median).toBeGreaterThanOrEqual(Math.min(...values));
        expect(median).toBeLessThanOrEqual(Math.max(...values));
        expect(medianUs([...values].reverse())).toBe(median);
      }),
    );
  });
});
