/** Small pieces that the stores' statements share. */
import { statesAllowing, type JobEvent } from '@studio/shared/domain/job-state';

/** `'queued', 'running'`: literals, not a parameter, because only then does Postgres use a partial index on the states. */
export function statesFor(...events: JobEvent[]): string {
  const states = new Set(events.flatMap((event) => statesAllowing(event)));
  return [...states].map((state) => `'${state}'`).join(', ');
}

/** `RETURNING` of an UPDATE comes from the driver as `[rows, count]`. */
export type Updated<Row> = [rows: Row[], count: number];

/** Text that jsonb and text columns can hold: no NUL, no half of a surrogate pair. */
export function isStorable(text: string): boolean {
  return !text.includes('\0') && !/\p{Surrogate}/u.test(text);
}

/** A sentence from outside, made safe to store and show. */
export function storable(text: string, maxLength = 500): string {
  return text
    .slice(0, maxLength)
    .replace(/[\p{Cc}\p{Surrogate}\s]+/gu, ' ')
    .trim();
}

/** Data exceptions and broken constraints (SQLSTATE classes 22 and 23): one row's fault, and nothing was written. */
export function isRowFault(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' && /^2[23]/.test(code);
}

/** A use is noted once in so long: finer would be a write for each job. What removes unused files allows for it. */
export const USE_NOTED_MS = 3_600_000;

/** Of an insert into `artifacts`: what is there already was used just now. */
export const OR_RENEW = `ON CONFLICT (sha256) DO UPDATE SET used_at = studio.now()
         WHERE artifacts.used_at < studio.now() - interval '${USE_NOTED_MS} ms'`;
