import { Catch, Logger, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import { outerError } from '@studio/shared/platform/outer-error';
import type { FastifyReply } from 'fastify';
import { falError } from './fal/fal-errors';
import { isFalPath } from './fal/fal-hosts';
import { throwError, type Observable } from 'rxjs';

/** The one place where errors get their outer form: `{error: {code, message, fields}}` over HTTP and NATS alike, fal's under its paths. */
@Catch()
export class ErrorsFilter implements ExceptionFilter {
  private readonly logger = new Logger('errors');

  catch(error: unknown, host: ArgumentsHost): Observable<never> | void {
    const known = outerError(error);
    if (known.code === 'INTERNAL' || known.code === 'DEPENDENCY_DOWN') {
      this.logger.error(error instanceof Error ? error : String(error));
    }
    if (host.getType() === 'rpc') return throwError(() => known.toBody().error);
    const reply = host.switchToHttp().getResponse<FastifyReply>();
    // A stream that breaks after its head has nobody left to tell.
    if (reply.sent) return;
    if (known.retryAfterS !== undefined) void reply.header('retry-after', known.retryAfterS);
    if (!isFalPath(reply.request.url)) return void reply.status(known.status).send(known.toBody());
    const { status, headers, body } = falError(known);
    void reply.status(status).headers(headers).send(body);
  }
}
