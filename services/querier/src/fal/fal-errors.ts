/** Errors as fal's clients know them: fields under `detail` with 422, else a text and a type. */
import type { ErrorCode, StudioError } from '@studio/shared/domain/errors';
import type { JobState } from '@studio/shared/domain/job';

export interface FalError {
  status: number;
  headers: Record<string, string>;
  body: object;
}

const TYPES: Partial<Record<ErrorCode, string>> = {
  JOB_FAILED: 'runner_server_error',
  JOB_EXPIRED: 'request_timeout',
  JOB_CANCELLED: 'client_cancelled',
  NO_ELIGIBLE_MINER: 'runner_scheduling_failure',
  DEPENDENCY_DOWN: 'internal_error',
  INTERNAL: 'internal_error',
};

const TYPE_OF_STATE: Partial<Record<JobState, string>> = {
  failed: 'runner_server_error',
  expired: 'request_timeout',
  cancelled: 'client_cancelled',
};

/** fal's clients send a request again after these. */
const RETRYABLE = new Set([429, 502, 503, 504]);

export function errorTypeOf(state: JobState): string | undefined {
  return TYPE_OF_STATE[state];
}

/**
 * @param final the request has come to its end, so that asking again changes nothing: the status is none that a client repeats
 *   a request for, which would cost it seconds.
 */
export function falError(error: StudioError, final = false): FalError {
  if (error.status === 422 && error.fields.length > 0) {
    const detail = error.fields.map(({ path, message }) => ({
      loc: ['body', ...path.split('.').map(keyOrIndex)],
      msg: message,
      type: message.startsWith('is missing') ? 'missing' : 'value_error',
      ctx: {},
    }));
    return { status: 422, headers: {}, body: { detail } };
  }
  const status = final && RETRYABLE.has(error.status) ? 500 : error.status;
  const type = TYPES[error.code];
  return {
    status,
    headers: {
      ...(type ? { 'x-fal-error-type': type } : {}),
      'x-fal-retryable': String(RETRYABLE.has(status)),
    },
    body: { detail: error.message, ...(type ? { error_type: type } : {}) },
  };
}

function keyOrIndex(part: string): string | number {
  return /^\d+$/.test(part) ? Number(part) : part;
}
