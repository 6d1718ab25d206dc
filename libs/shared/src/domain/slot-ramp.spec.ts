import * as fc from 'fast-check';
import { provenAfter, type HoldEnd, type RampStep } from './slot-ramp';

const ENDS: HoldEnd[] = ['success', 'busy', 'failed', 'unreachable', 'late', 'released'];
const step = fc.record<RampStep>({
  proven: fc.integer({ min: 1, max: 64 }),
  declared: fc.integer({ min: 1, max: 64 }),
  filled: fc.boolean(),
  beside: fc.nat(64),
});
const STEP: RampStep = { proven: 4, declared: 8, filled: false, beside: 3 };

/** A miner that really has `actual` slots, with always one job more than it is believed to have. */
function ramped(actual: number, declared: number, jobs: number): number[] {
  const seen: number[] = [];
  let proven = 1;
  for (let job = 0; job < jobs; job += 1) {
    const beside = Math.min(proven, actual);
    const end = proven > actual ? 'busy' : 'success';
    proven = provenAfter(end, { proven, declared, filled: true, beside });
    seen.push(proven);
  }
  return seen;
}

describe('slot ramp', () => {
  it('grows by one with a success that was sent into the last proven slot, and by no other', () => {
    expect(provenAfter('success', { ...STEP, filled: true })).toBe(5);
    expect(provenAfter('success', STEP)).toBe(4);
    expect(provenAfter('success', { ...STEP, proven: 8, filled: true })).toBe(8);
  });

  it('falls to what was under way when the miner was busy', () => {
    expect(provenAfter('busy', { ...STEP, beside: 2 })).toBe(2);
    expect(provenAfter('busy', { ...STEP, beside: 0 })).toBe(1);
  });

  it('is halved by a failure and by losing late against a hedge', () => {
    expect(provenAfter('failed', STEP)).toBe(2);
    expect(provenAfter('late', { ...STEP, proven: 5 })).toBe(2);
    expect(provenAfter('failed', { ...STEP, proven: 1 })).toBe(1);
  });

  it('learns nothing from what says nothing about the miner', () => {
    expect(provenAfter('released', { ...STEP, filled: true })).toBe(4);
    expect(provenAfter('unreachable', { ...STEP, filled: true })).toBe(4);
  });

  it('never leaves 1 to declared, and only a filled success raises it', () => {
    fc.assert(
      fc.property(fc.constantFrom(...ENDS), step, (end, given) => {
        const after = provenAfter(end, given);
        expect(after).toBeGreaterThanOrEqual(1);
        expect(after).toBeLessThanOrEqual(given.declared);
        if (after > given.proven) expect([end, given.filled, after]).toEqual(['success', true, given.proven + 1]);
      }),
    );
  });

  it('finds out what a miner really has, whatever it declares, and then never exceeds it by more than one', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 16 }), fc.integer({ min: 16, max: 64 }), (actual, declared) => {
        const seen = ramped(actual, declared, 3 * actual + 4);
        expect(Math.max(...seen)).toBeLessThanOrEqual(actual + 1);
        expect(Math.min(...seen.slice(actual))).toBeGreaterThanOrEqual(actual);
      }),
    );
  });
});
