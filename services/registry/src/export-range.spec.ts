import type { ExportHead } from '@studio/shared/contract/exports';
import { TRANSACTION_BOUND_MS } from '@studio/shared/database/grants';
import { dueHour, hourEnd, hourOf, SETTLE_MS } from './export-range';

const at = (time: string): Date => new Date(`2026-02-03T${time}Z`);
const later = (time: Date, ms: number): Date => new Date(time.getTime() + ms);
const head = (name: string): ExportHead => ({ name }) as ExportHead;

describe('an hour', () => {
  it('is named by its beginning, and ends before the next', () => {
    expect(hourOf(at('04:59:59.999'))).toBe('2026-02-03T04Z');
    expect(hourEnd('2026-02-03T04Z')).toEqual(at('05:00:00'));
    expect(hourEnd('2026-12-31T23Z').toISOString()).toBe('2027-01-01T00:00:00.000Z');
  });

  it('is cut only when no statement can be under way any more that began in it', () => {
    expect(SETTLE_MS).toBeGreaterThan(TRANSACTION_BOUND_MS);
    const end = later(at('05:00:00'), SETTLE_MS);
    expect(dueHour(null, at('04:10:00'), later(end, -1))).toBeNull();
    expect(dueHour(null, at('04:10:00'), end)).toBe('2026-02-03T04Z');
  });

  it('without events is left out', () => {
    expect(dueHour(head('2026-02-03T04Z'), at('09:30:00'), at('23:00:00'))).toBe('2026-02-03T09Z');
  });

  it('that is exported already is followed by the next, also for an event that bears its time', () => {
    expect(dueHour(head('2026-02-03T04Z'), at('04:59:59.900'), at('23:00:00'))).toBe('2026-02-03T05Z');
    expect(dueHour(head('2026-02-03T04Z'), at('04:59:59.900'), at('05:30:00'))).toBeNull();
  });
});
