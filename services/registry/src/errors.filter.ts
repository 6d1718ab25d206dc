import {
  Catch,
  Logger,
  type ArgumentMetadata,
  type ArgumentsHost,
  type ExceptionFilter,
  type PipeTransform,
} from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { throwError, type Observable } from 'rxjs';
import { validated } from '@studio/shared/contract/validated';
import { isStudioError } from '@studio/shared/domain/errors';
import { outerError } from '@studio/shared/platform/outer-error';

/** The one place where errors get their outer form: `{error: {code, message, fields}}`, over HTTP and NATS alike. */
@Catch()
export class ErrorsFilter implements ExceptionFilter {
  private readonly logger = new Logger('errors');

  catch(error: unknown, host: ArgumentsHost): Observable<never> | void {
    const known = outerError(error);
    if (known.status >= 500) this.report(error);
    if (host.getType() === 'rpc') return throwError(() => known.toBody().error);
    const reply = host.switchToHttp().getResponse<FastifyReply>();
    // A stream that breaks after its head has nobody left to tell.
    if (!reply.sent) void reply.status(known.status).send(known.toBody());
  }

  /** What we refuse on purpose (too much waits, something has not been read yet) needs no stack, and may come often. */
  private report(error: unknown): void {
    if (isStudioError(error)) this.logger.warn(error.message);
    else this.logger.error(error instanceof Error ? error : String(error));
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
