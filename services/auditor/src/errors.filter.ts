import { Catch, HttpException, Logger, ValidationPipe, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { isStudioError, StudioError, type ErrorCode } from '@studio/shared/domain/errors';

const BY_STATUS: Record<number, ErrorCode> = {
  400: 'MALFORMED_BODY',
  401: 'UNAUTHENTICATED',
  403: 'FORBIDDEN',
  404: 'NOT_FOUND',
  413: 'BODY_TOO_LARGE',
  415: 'MALFORMED_BODY',
};

/** The one place where errors get their outer form, `{error: {code, message, fields}}`; nothing internal leaks. */
@Catch()
export class ErrorsFilter implements ExceptionFilter {
  private readonly logger = new Logger('errors');

  catch(error: unknown, host: ArgumentsHost): void {
    const known = toStudioError(error);
    if (known.status >= 500) this.logger.error(error instanceof Error ? error : String(error));
    void host.switchToHttp().getResponse<FastifyReply>().status(known.status).send(known.toBody());
  }
}

/** For query strings: nothing that is not declared gets in. They are flat, so a field is its own path. */
export function validationPipe(): ValidationPipe {
  return new ValidationPipe({
    whitelist: true,
    forbidNonWhitelisted: true,
    transform: true,
    exceptionFactory: (errors) => {
      // The innermost complaint is the one about what it is; its bounds come after.
      const fields = errors.map(({ property, constraints }) => ({
        path: property,
        message: Object.values(constraints ?? {}).at(-1) ?? `${property} is wrong`,
      }));
      return new StudioError('INVALID_INPUT', fields.map(({ message }) => message).join('; '), fields);
    },
  });
}

function toStudioError(error: unknown): StudioError {
  if (isStudioError(error)) return error;
  const status = error instanceof HttpException ? error.getStatus() : (error as { statusCode?: number }).statusCode;
  const named = BY_STATUS[status ?? 0];
  if (named) return new StudioError(named, (error as Error).message);
  return new StudioError('INTERNAL', 'a fault of ours: it is logged, and trying again may help');
}
