/**
 * One registry of the errors that leave the system. A service throws `StudioError`; controllers alone map it to HTTP.
 * Messages name the field and the remedy. Every code is explained in docs/errors.md (a check compares the two).
 */
export const ERRORS = {
  INVALID_INPUT: { status: 422, title: 'A field of the request is wrong' },
  MALFORMED_BODY: { status: 400, title: 'The body cannot be read' },
  BODY_TOO_LARGE: { status: 413, title: 'The body is larger than this route accepts' },
  UNKNOWN_KIND: { status: 422, title: 'No such task kind on this engine' },
  IMAGE_UNREADABLE: { status: 422, title: 'The photograph cannot be used' },
  LORA_UNREADABLE: { status: 422, title: 'The LoRA cannot be used' },
  UNSUPPORTED_URL: { status: 422, title: 'This kind of URL is not accepted here' },
  UNAUTHENTICATED: { status: 401, title: 'The API key is missing or wrong' },
  FORBIDDEN: { status: 403, title: 'This key may not do that' },
  SIGNATURE_REFUSED: { status: 401, title: 'The hotkey signature is missing, stale, replayed or wrong' },
  NOT_A_MEMBER: { status: 403, title: 'The hotkey is not in the metagraph of this subnet' },
  TOO_MANY_REQUESTS: { status: 429, title: 'Asked more often than is allowed' },
  URL_EXPIRED: { status: 403, title: 'The signed URL is wrong or has expired' },
  NOT_FOUND: { status: 404, title: 'No such thing, or not yours' },
  JOB_ARCHIVED: { status: 410, title: 'The job is so old that only its archived record is kept' },
  NOT_FINISHED: { status: 409, title: 'The job, or the epoch, is not finished' },
  ALREADY_FINISHED: { status: 409, title: 'The job is already finished' },
  IDEMPOTENCY_MISMATCH: { status: 422, title: 'The Idempotency-Key was used with a different body' },
  JOB_FAILED: { status: 500, title: 'The job failed' },
  JOB_EXPIRED: { status: 504, title: 'The job did not finish within its deadline' },
  JOB_NOT_STARTED: { status: 504, title: 'The job was not begun within the time that its client gave' },
  INPUT_REFUSED: { status: 422, title: 'Every miner that was asked refused the input' },
  JOB_CANCELLED: { status: 499, title: 'The job was cancelled' },
  NO_ELIGIBLE_MINER: { status: 503, title: 'No registered miner can do this job' },
  CALLBACK_REFUSED: { status: 401, title: 'The callback secret is wrong' },
  CALLBACK_LATE: { status: 409, title: 'The attempt is already closed' },
  EPOCH_NOT_CLOSABLE: { status: 409, title: 'The epoch cannot be closed now' },
  APPEAL_REFUSED: { status: 409, title: 'This appeal cannot be filed' },
  LEDGER_REFUSED: { status: 422, title: 'The ledger entry breaks a rule' },
  DEPENDENCY_DOWN: { status: 503, title: 'A server this service needs does not answer' },
  INTERNAL: { status: 500, title: 'A fault of ours' },
} as const;

export type ErrorCode = keyof typeof ERRORS;

/** One wrong field: `path` as the sender wrote it (`input.steps`), `message` with the remedy. */
export interface FieldProblem {
  path: string;
  message: string;
}

export interface StudioErrorOptions extends ErrorOptions {
  /** When it makes sense to ask again: the header Retry-After. */
  retryAfterS?: number;
}

export class StudioError extends Error {
  readonly retryAfterS: number | undefined;

  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly fields: readonly FieldProblem[] = [],
    options?: StudioErrorOptions,
  ) {
    super(message, options);
    this.name = 'StudioError';
    this.retryAfterS = options?.retryAfterS;
  }

  get status(): number {
    return ERRORS[this.code].status;
  }

  /** The JSON body that every door answers with. */
  toBody(): { error: { code: ErrorCode; message: string; fields: readonly FieldProblem[] } } {
    return { error: { code: this.code, message: this.message, fields: this.fields } };
  }
}

export function isStudioError(error: unknown): error is StudioError {
  return error instanceof StudioError;
}
