/** Errors as fal's clients know them: fields under `detail` with 422, else a text and a type. */
import type { ErrorCode, StudioError } from '@studio/shared/domain/errors';

export interface FalError {
  status: number;
  headers: Record<string, string>;
  body: object;
}

const TYPES: Partial<Record<ErrorCode, string>> = {
  JOB_FAILED: 'runner_server_error',
  JOB_EXPIRED: 'request_timeout',
  JOB_NOT_STARTED: 'startup_timeout',
  JOB_CANCELLED: 'client_cancelled',
  INPUT_REFUSED: 'runner_server_error',
  NO_ELIGIBLE_MINER: 'runner_scheduling_failure',
  DEPENDENCY_DOWN: 'internal_error',
  INTERNAL: 'internal_error',
};

/** With this, fal's clients take a 504 for an answer: their user set the time. */
const SET_BY_USER = { 'x-fal-request-timeout-type': 'user' };

/** fal's clients send a request again after these. */
const RETRYABLE = new Set([429, 502, 503, 504]);

export function errorTypeOf(code: ErrorCode): string | undefined {
  return TYPES[code];
}

/**
 * @param final the request has come to its end, so that asking again changes nothing: the status is none that a client repeats
 *   a request for, which would cost it seconds.
 */
export function falError(error: StudioError, final = false): FalError {
  if (error.status === 422 && error.fields.length > 0) {
    const detail = error.fields.map(({ path, message }) => ({
      // A refusal of the whole input has no field.
      loc: [path === 'fal_webhook' ? 'query' : 'body', ...(path === 'input' ? [] : path.split('.').map(keyOrIndex))],
      msg: message,
      type: message.startsWith('is missing') ? 'missing' : 'value_error',
      ctx: {},
    }));
    return { status: 422, headers: {}, body: { detail } };
  }
  const isSetByUser = error.code === 'JOB_NOT_STARTED';
  const status = final && RETRYABLE.has(error.status) && !isSetByUser ? 500 : error.status;
  const type = TYPES[error.code];
  return {
    status,
    headers: {
      ...(type ? { 'x-fal-error-type': type } : {}),
      ...(isSetByUser ? SET_BY_USER : {}),
      'x-fal-retryable': String(RETRYABLE.has(status) && !isSetByUser),
    },
    body: { detail: error.message, ...(type ? { error_type: type } : {}) },
  };
}

function keyOrIndex(part: string): string | number {
  return /^\d+$/.test(part) ? Number(part) : part;
}
