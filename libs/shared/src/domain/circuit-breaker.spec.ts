import * as fc from 'fast-check';
import { afterFailure, afterSuccess, breakerState, CLOSED_BREAKER, type Breaker } from './circuit-breaker';

const POLICY = { breakerFailures: 3, breakerOpenMs: 1_000, breakerMaxMs: 5_000 };

function failed(breaker: Breaker, times: number, nowMs: number): Breaker {
  return times === 0 ? breaker : failed(afterFailure(breaker, nowMs, POLICY), times - 1, nowMs);
}

describe('circuit breaker', () => {
  it('opens after so many failures in a row, and not before', () => {
    expect(breakerState(failed(CLOSED_BREAKER, 2, 10), 10)).toBe('closed');
    const open = failed(CLOSED_BREAKER, 3, 10);
    expect(breakerState(open, 1_009)).toBe('open');
    expect(breakerState(open, 1_010)).toBe('half-open');
  });

  it('forgets the failures at a success', () => {
    expect(afterSuccess()).toEqual(CLOSED_BREAKER);
    expect(breakerState(failed(afterSuccess(), 2, 10), 10)).toBe('closed');
  });

  it('stays open for twice as long after each failed probe, up to the longest', () => {
    let breaker = failed(CLOSED_BREAKER, 3, 0);
    const lengths = [1, 2, 3, 4].map(() => {
      const fromMs = breaker.openUntilMs;
      breaker = afterFailure(breaker, fromMs, POLICY);
      return breaker.openUntilMs - fromMs;
    });
    expect(lengths).toEqual([2_000, 4_000, 5_000, 5_000]);
  });

  it('is not prolonged by failures of jobs that were sent before it opened', () => {
    const open = failed(CLOSED_BREAKER, 3, 10);
    expect(failed(open, 4, 500)).toEqual(open);
  });

  it('is open exactly within the periods that a replay of its failures gives', () => {
    const steps = fc.array(fc.record({ waitMs: fc.nat(2_000), success: fc.boolean() }), { maxLength: 40 });
    fc.assert(
      fc.property(steps, (list) => {
        let [nowMs, inRow, untilMs, lengthMs] = [1, 0, 0, 0];
        let breaker = CLOSED_BREAKER;
        for (const { waitMs, success } of list) {
          nowMs += waitMs;
          const isOpen = nowMs < untilMs;
          expect(breakerState(breaker, nowMs) === 'open').toBe(isOpen);
          breaker = success ? afterSuccess() : afterFailure(breaker, nowMs, POLICY);
          if (success) [inRow, untilMs, lengthMs] = [0, 0, 0];
          else if (!isOpen && (lengthMs > 0 || ++inRow === 3)) {
            lengthMs = lengthMs === 0 ? 1_000 : Math.min(5_000, lengthMs * 2);
            untilMs = nowMs + lengthMs;
          }
        }
      }),
    );
  });
});
