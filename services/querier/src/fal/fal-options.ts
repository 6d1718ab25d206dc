/** What fal's clients say beside the input: in headers and in the query. */
import { MAX_DEADLINE_S } from '@studio/shared/contract/submit-job';
import { refusal } from '@studio/shared/contract/validated';
import type { IncomingHttpHeaders } from 'node:http';

export interface FalOptions {
  idempotencyKey: string | null;
  /** In our words (`SubmitJobBody`). */
  waits: { deadline_s?: number; start_deadline_s?: number };
  maxQueueLength?: number;
  /** As it was sent: judged with our own `webhook_url`. */
  webhook?: unknown;
}

/** fal's `startTimeout` is the first; its documentation has named both. */
const START_HEADERS = ['x-fal-request-timeout', 'x-fal-request-start-timeout'];
/** Ours: until the result, not only until it is begun. */
const DEADLINE_HEADER = 'x-studio-deadline';
const LONGEST_QUEUE = 1_000_000;

/** @throws StudioError INVALID_INPUT naming the header or the parameter. */
export function optionsOf(headers: IncomingHttpHeaders, query: Record<string, unknown>): FalOptions {
  const key = headers['idempotency-key'];
  const start = START_HEADERS.map((name) => whole(name, headers[name], MAX_DEADLINE_S, 1)).find((s) => s !== undefined);
  const deadline = whole(DEADLINE_HEADER, headers[DEADLINE_HEADER], MAX_DEADLINE_S, 1);
  const most = whole('fal_max_queue_length', query.fal_max_queue_length, LONGEST_QUEUE, 0);
  return {
    idempotencyKey: typeof key === 'string' ? key : null,
    waits: { ...(start && { start_deadline_s: start }), ...(deadline && { deadline_s: deadline }) },
    ...(most !== undefined && { maxQueueLength: most }),
    ...(query.fal_webhook !== undefined && { webhook: query.fal_webhook }),
  };
}

/** Fractions of a second, which fal's clients may send, are given in full. */
function whole(path: string, value: unknown, max: number, min: number): number | undefined {
  if (value === undefined) return undefined;
  const number = typeof value === 'string' && /^\d{1,9}(\.\d{1,9})?$/.test(value) ? Math.ceil(Number(value)) : NaN;
  if (number >= min && number <= max) return number;
  throw refusal([{ path, message: `has to be a number from ${min} to ${max}` }]);
}
