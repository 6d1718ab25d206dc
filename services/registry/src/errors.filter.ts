import {
  Catch,
  HttpException,
  Logger,
  type ArgumentMetadata,
  type ArgumentsHost,
  type ExceptionFilter,
  type PipeTransform,
} from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { throwError, type Observable } from 'rxjs';
import { validated } from '@studio/shared/contract/validated';
import { isStudioError, StudioError, type ErrorCode } from '@studio/shared/domain/errors';

/** SQLSTATE classes and socket errors of a database that is away; everything else from it is a fault of ours. */
const DATABASE_AWAY = /^(08|53|57P)|^E(CONN|PIPE|TIMEDOUT|NOTFOUND|AI_AGAIN)/;
const CONNECTION_LOST =
  /connection terminated|timeout exceeded when trying to connect|client has encountered a connection error/i;

/** The one place where errors get their outer form: `{error: {code, message, fields}}`, over HTTP and NATS alike. */
@Catch()
export class ErrorsFilter implements ExceptionFilter {
  private readonly logger = new Logger('errors');

  catch(error: unknown, host: ArgumentsHost): Observable<never> | void {
    const known = toStudioError(error);
    if (known.status >= 500) this.logger.error(error instanceof Error ? error : String(error));
    if (host.getType() === 'rpc') return throwError(() => known.toBody().error);
    const reply = host.switchToHttp().getResponse<FastifyReply>();
    // A stream that breaks after its head has nobody left to tell.
    if (!reply.sent) void reply.status(known.status).send(known.toBody());
  }
}

/** HTTP bodies, queries and paths, and NATS payloads, wherever a handler declares a class of contract/ for them. */
export class ContractPipe implements PipeTransform {
  transform(value: unknown, { metatype }: ArgumentMetadata): unknown {
    const isContract = metatype !== undefined && !BUILT_IN.has(metatype);
    return isContract ? validated(metatype as new () => object, value ?? {}) : value;
  }
}

/** What the compiler writes for parameters that have no class. */
const BUILT_IN: ReadonlySet<unknown> = new Set([String, Number, Boolean, Array, Object]);

const BY_STATUS: Record<number, ErrorCode> = {
  400: 'MALFORMED_BODY',
  401: 'UNAUTHENTICATED',
  403: 'FORBIDDEN',
  404: 'NOT_FOUND',
  413: 'BODY_TOO_LARGE',
  415: 'MALFORMED_BODY',
};

function toStudioError(error: unknown): StudioError {
  if (isStudioError(error)) return error;
  const { code, message = '', statusCode } = error as { code?: string; message?: string; statusCode?: number };
  const status = error instanceof HttpException ? error.getStatus() : statusCode;
  const named = BY_STATUS[status ?? 0];
  if (named) return new StudioError(named, message);
  if (DATABASE_AWAY.test(code ?? '') || CONNECTION_LOST.test(message)) {
    return new StudioError('DEPENDENCY_DOWN', 'the database does not answer: try again in a moment');
  }
  return new StudioError('INTERNAL', 'a fault of ours: it is logged, and trying again may help');
}
