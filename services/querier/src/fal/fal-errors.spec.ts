import { StudioError, type ErrorCode } from '@studio/shared/domain/errors';
import { falError } from './fal-errors';

const RETRIED = [429, 502, 503, 504];

describe('an error in the form of fal', () => {
  it('names each wrong field as a location in the body', () => {
    const fields = [
      { path: 'loras.0.path', message: 'is not a URL of this service' },
      { path: 'prompt', message: 'is missing: it has to be given' },
    ];
    expect(falError(new StudioError('INVALID_INPUT', 'two fields', fields))).toEqual({
      status: 422,
      headers: {},
      body: {
        detail: [
          { loc: ['body', 'loras', 0, 'path'], msg: fields[0]!.message, type: 'value_error', ctx: {} },
          { loc: ['body', 'prompt'], msg: fields[1]!.message, type: 'missing', ctx: {} },
        ],
      },
    });
  });

  it.each<[ErrorCode, string, number, number]>([
    ['JOB_FAILED', 'runner_server_error', 500, 500],
    ['JOB_EXPIRED', 'request_timeout', 504, 500],
    ['JOB_CANCELLED', 'client_cancelled', 499, 499],
    ['NO_ELIGIBLE_MINER', 'runner_scheduling_failure', 503, 500],
  ])('%s is %s, and as a result never a status after which the client asks again', (code, type, status, asResult) => {
    const error = new StudioError(code, 'why');
    const headers = { 'x-fal-error-type': type, 'x-fal-retryable': String(RETRIED.includes(status)) };
    expect(falError(error)).toEqual({ status, headers, body: { detail: 'why', error_type: type } });
    expect(falError(error, true)).toMatchObject({ status: asResult, headers: { 'x-fal-retryable': 'false' } });
  });
});
