import { Catch, Logger, ValidationPipe, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { StudioError } from '@studio/shared/domain/errors';
import { outerError } from '@studio/shared/platform/outer-error';

/** The one place where errors get their outer form, `{error: {code, message, fields}}`; nothing internal leaks. */
@Catch()
export class ErrorsFilter implements ExceptionFilter {
  private readonly logger = new Logger('errors');

  catch(error: unknown, host: ArgumentsHost): void {
    const known = outerError(error);
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
