/** The one way in for data from another process: HTTP bodies and NATS payloads become classes of contract/ here. */
import 'reflect-metadata';
import { plainToInstance } from 'class-transformer';
import { validateSync, type ValidationError } from 'class-validator';
import { StudioError, type FieldProblem } from '../domain/errors';

/** Deeper data is no message of ours; class-transformer recurses. */
const MAX_PROBLEMS = 20;

/**
 * `value` as an instance of `Class`: unknown fields are refused, not dropped, because a misspelt field that is silently
 * ignored gives the sender a job it did not ask for.
 * @param path where `value` lies in what the sender wrote (`input`): every problem's path begins with it.
 * @param unknown `drop` for doors that promise another service's manners.
 * @throws StudioError INVALID_INPUT naming every wrong field.
 */
export function validated<T extends object>(
  Class: new () => T,
  value: unknown,
  path = '',
  unknown: 'refuse' | 'drop' = 'refuse',
): T {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw refusal([{ path: path || 'body', message: 'has to be a JSON object' }]);
  }
  const instance = plainToInstance(Class, value);
  const errors = validateSync(instance, {
    whitelist: true,
    forbidNonWhitelisted: unknown === 'refuse',
    forbidUnknownValues: true,
    stopAtFirstError: true,
  });
  if (errors.length > 0) throw refusal(errors.flatMap((error) => problems(error, path)).slice(0, MAX_PROBLEMS));
  return instance;
}

/** One message for people, the fields for programs. */
export function refusal(fields: readonly FieldProblem[]): StudioError {
  return new StudioError('INVALID_INPUT', fields.map(({ path, message }) => `${path}: ${message}`).join('; '), fields);
}

function problems(error: ValidationError, parent: string): FieldProblem[] {
  const path = parent ? `${parent}.${error.property}` : error.property;
  const own = Object.entries(error.constraints ?? {}).map(([rule, message]) => ({
    path,
    message: remedy(rule, message, error),
  }));
  return [...own, ...(error.children ?? []).flatMap((child) => problems(child, path))];
}

function remedy(rule: string, message: string, { property, value }: ValidationError): string {
  if (rule === 'whitelistValidation') return 'is not a field of this request: remove it';
  // The first rule that an absent value breaks may be any, its length for one: that would not tell what is wrong.
  if (value === undefined || value === null) return 'is missing: it has to be given';
  return say(message, property);
}

/** class-validator begins its messages with the property's name, which the path already says. */
function say(message: string, property: string): string {
  return message.startsWith(`${property} `) ? message.slice(property.length + 1) : message;
}
