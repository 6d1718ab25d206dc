/** What an error becomes before it leaves a service: one of the errors of domain/errors.ts, with nothing internal in it. */
import { isStudioError, StudioError, type ErrorCode } from '../domain/errors';

/** What the frameworks refuse by themselves: unknown routes, bodies that cannot be read. */
const BY_STATUS: Record<number, ErrorCode> = {
  400: 'MALFORMED_BODY',
  401: 'UNAUTHENTICATED',
  403: 'FORBIDDEN',
  404: 'NOT_FOUND',
  413: 'BODY_TOO_LARGE',
  415: 'MALFORMED_BODY',
};

/**
 * SQLSTATE classes and socket errors of a database that is away, or that did not come to an end within our own bounds on
 * statements and transactions (57014, 25P03); everything else from it is a fault of ours.
 */
const DATABASE_AWAY = /^(08|53|57P|57014|25P03)|^E(CONN|PIPE|TIMEDOUT|NOTFOUND|AI_AGAIN)/;
const CONNECTION_LOST =
  /connection terminated|timeout exceeded when trying to connect|client has encountered a connection error/i;

/** A pool that was full has room again in a moment; a database that was restarted takes a few of them. */
const AWAY_RETRY_S = 1;

/** The fields by which Fastify, Nest, Postgres and sockets tell what went wrong. */
interface ForeignError {
  message?: string;
  code?: string;
  statusCode?: number;
  getStatus?: () => number;
}

export function outerError(error: unknown): StudioError {
  if (isStudioError(error)) return error;
  const foreign = (error ?? {}) as ForeignError;
  const { code, message = '' } = foreign;
  const named = BY_STATUS[foreign.getStatus?.() ?? foreign.statusCode ?? 0];
  if (named) return new StudioError(named, message);
  if (DATABASE_AWAY.test(code ?? '') || CONNECTION_LOST.test(message)) {
    const remedy = 'the database does not answer: try again in a moment';
    return new StudioError('DEPENDENCY_DOWN', remedy, [], { retryAfterS: AWAY_RETRY_S });
  }
  return new StudioError('INTERNAL', 'a fault of ours: it is logged, and trying again may help');
}
