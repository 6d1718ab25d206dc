import { Catch, HttpException, Logger, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import { isStudioError, StudioError, type ErrorCode } from '@studio/shared/domain/errors';
import type { FastifyReply } from 'fastify';
import { throwError, type Observable } from 'rxjs';

/** SQLSTATE classes and socket errors of a database that is away; everything else from it is a fault of ours. */
const DATABASE_AWAY = /^(08|53|57P)|^E(CONN|PIPE|TIMEDOUT|NOTFOUND|AI_AGAIN)/;
const CONNECTION_LOST =
  /connection terminated|timeout exceeded when trying to connect|client has encountered a connection error/i;

/** What Nest and Fastify refuse by themselves: unknown routes, bodies that cannot be read. */
const BY_STATUS: Record<number, ErrorCode> = {
  400: 'MALFORMED_BODY',
  404: 'NOT_FOUND',
  413: 'BODY_TOO_LARGE',
  415: 'MALFORMED_BODY',
};

/** The one place where errors get their outer form: `{error: {code, message, fields}}`, over HTTP and NATS alike. */
@Catch()
export class ErrorsFilter implements ExceptionFilter {
  private readonly logger = new Logger('errors');

  catch(error: unknown, host: ArgumentsHost): Observable<never> | void {
    const known = toStudioError(error);
    if (known.code === 'INTERNAL' || known.code === 'DEPENDENCY_DOWN') {
      this.logger.error(error instanceof Error ? error : String(error));
    }
    if (host.getType() === 'rpc') return throwError(() => known.toBody().error);
    const reply = host.switchToHttp().getResponse<FastifyReply>();
    // A stream that breaks after its head has nobody left to tell.
    if (!reply.sent) void reply.status(known.status).send(known.toBody());
  }
}

function toStudioError(error: unknown): StudioError {
  if (isStudioError(error)) return error;
  const { code, message = '', statusCode } = error as { code?: string; message?: string; statusCode?: number };
  const named = BY_STATUS[(error instanceof HttpException ? error.getStatus() : statusCode) ?? 0];
  if (named) return new StudioError(named, message);
  if (DATABASE_AWAY.test(code ?? '') || CONNECTION_LOST.test(message)) {
    return new StudioError('DEPENDENCY_DOWN', 'the database does not answer: try again in a moment');
  }
  return new StudioError('INTERNAL', 'a fault of ours: it is logged, and trying again may help');
}
