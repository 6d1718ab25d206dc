/** Which events of the log an export holds. Pure. */
import type { ExportHead, ExportKind } from '@studio/shared/contract/exports';
import { TRANSACTION_BOUND_MS } from '@studio/shared/database/grants';

export interface ExportRange {
  kind: ExportKind;
  name: string;
  fromSeq: number;
  toSeq: number;
}

const HOUR_MS = 3_600_000;

/**
 * How long after its end an hour is cut. An event bears the time at which its statement began, and no statement of a service
 * lasts longer than the bound: by then nothing of the hour can still be on its way. Four times, because nobody waits for it.
 */
export const SETTLE_MS = 4 * TRANSACTION_BOUND_MS;

/** `2026-02-03T04Z`. */
export function hourOf(time: Date): string {
  return `${time.toISOString().slice(0, '2026-02-03T04'.length)}Z`;
}

/** The first moment after the hour. */
export function hourEnd(name: string): Date {
  return new Date(Date.parse(name.replace('Z', ':00:00Z')) + HOUR_MS);
}

/**
 * The hour after `last` that the log goes on in, if it is over. Hours without an event have no export. The log is cut at the
 * first event of a later hour: one that was numbered after it, and began before it, belongs to the next export.
 * @param nextAt time of the first event after those of the last export.
 */
export function dueHour(last: ExportHead | null, nextAt: Date, now: Date): string | null {
  const earliest = last === null ? nextAt : hourEnd(last.name);
  const name = hourOf(nextAt < earliest ? earliest : nextAt);
  return now.getTime() >= hourEnd(name).getTime() + SETTLE_MS ? name : null;
}

export function rangeOf({ kind, name, from_seq: fromSeq, to_seq: toSeq }: ExportHead): ExportRange {
  return { kind, name, fromSeq, toSeq };
}
