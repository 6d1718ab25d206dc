import { readFileSync } from 'node:fs';
import { Expose, Transform, plainToInstance } from 'class-transformer';
import {
  IsBoolean,
  IsIn,
  IsInt,
  IsUrl,
  Matches,
  Max,
  Min,
  MinLength,
  getMetadataStorage,
  registerDecorator,
  validateSync,
  type ValidationArguments,
  type ValidationError,
} from 'class-validator';
import { REDACTED, isSecretName, redactText } from './redact';

/**
 * The environment is read once, at boot, into a class whose fields are the variables' own names with their defaults:
 *
 *     class QuerierEnv extends ProcessEnv {
 *       @PortVar() PORT = 3000;
 *       @UrlVar(['postgres', 'postgresql']) DATABASE_URL!: string;   // no default: required
 *       @OptionalVar() @TextVar() EGRESS_PROXY_URL?: string;
 *     }
 *
 * An empty variable counts as unset (compose files and manifests write `X=`). Variables without a field are ignored.
 * Instead of any variable X the name of a file that holds its value may be given as X_FILE, as secrets are mounted; unless
 * X_FILE is a variable of its own.
 */
export class EnvError extends Error {
  constructor(readonly problems: readonly string[]) {
    const title =
      problems.length === 1 ? '1 environment variable is wrong' : `${problems.length} environment variables are wrong`;
    super([`${title}:`, ...problems.map((line) => `  ${line}`)].join('\n'));
    this.name = 'EnvError';
  }
}

/** sysexits.h EX_CONFIG: supervisors can tell a wrong configuration, which no restart heals, from a crash. */
const EX_CONFIG = 78;

/**
 * @param read what is in a file, for variables that are given as one.
 * @throws EnvError listing every wrong variable at once: its name, what it is now, what is expected, an example.
 */
export function loadEnv<T extends object>(
  Class: new () => T,
  source: NodeJS.ProcessEnv = process.env,
  read: (path: string) => string = (path) => readFileSync(path, 'utf8'),
): T {
  const set: Record<string, string> = {};
  for (const [name, value] of Object.entries(source)) if (value) set[name] = value;
  const wrongFiles = takeFiles(variablesOf(Class), set, read);
  if (wrongFiles.length > 0) throw new EnvError(wrongFiles);
  const env = plainToInstance(Class, set, { excludeExtraneousValues: true, exposeDefaultValues: true });
  const errors = validateSync(env, {
    skipMissingProperties: false,
    forbidUnknownValues: false,
    stopAtFirstError: true,
  });
  if (errors.length > 0) throw new EnvError(errors.map((error) => describe(error, set[error.property])));
  return env;
}

/** Names of the variables that `Class` reads; each of them has a rule. */
export function variablesOf(Class: new () => object): Set<string> {
  const rules = getMetadataStorage().getTargetValidationMetadatas(Class, '', false, false);
  return new Set(rules.map(({ propertyName }) => propertyName));
}

/** Puts the content of files into `set`. @returns what is wrong with them. */
function takeFiles(names: Set<string>, set: Record<string, string>, read: (path: string) => string): string[] {
  return [...names].flatMap((name) => {
    const variable = `${name}_FILE`;
    const path = set[variable];
    if (path === undefined || names.has(variable)) return [];
    if (set[name] !== undefined) return [`${name} and ${variable} are both set: unset one of them`];
    const text = contentOf(path, read);
    if (text) set[name] = text;
    const found = text === undefined ? 'which cannot be read' : 'which is empty';
    return text ? [] : [`${variable} is ${JSON.stringify(path)}, ${found}: expected a file that holds ${name}`];
  });
}

/** Without the line's end that editors and `echo` add. */
function contentOf(path: string, read: (path: string) => string): string | undefined {
  try {
    return read(path).trim();
  } catch {
    return undefined;
  }
}

/** For main.ts: a wrong environment ends the process with the message alone; a stack would only hide it. */
export function loadEnvOrExit<T extends object>(Class: new () => T): T {
  try {
    return loadEnv(Class);
  } catch (error) {
    if (!(error instanceof EnvError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(EX_CONFIG);
  }
}

function describe({ property, constraints = {} }: ValidationError, raw: string | undefined): string {
  const expected = Object.values(constraints)[0] ?? 'another value';
  if (raw === undefined) return `${property} is not set: expected ${expected}`;
  const shown = isSecretName(property) ? `${REDACTED} (${raw.length} characters)` : JSON.stringify(redactText(raw));
  return `${property} is ${shown}: expected ${expected}`;
}

type Parse = (text: string) => unknown;

/** Unparsable text is kept as it is, so that the validator refuses it. */
function variable(parse: Parse, ...validators: PropertyDecorator[]): PropertyDecorator {
  const read = Transform(({ value }: { value: unknown }) => (typeof value === 'string' ? parse(value.trim()) : value));
  return (target, property) => [Expose(), read, ...validators].forEach((decorate) => decorate(target, property));
}

const toInteger: Parse = (text) => (/^-?\d{1,15}$/.test(text) ? Number(text) : text);
const asText: Parse = (text) => text;

export function PortVar(): PropertyDecorator {
  const message = 'a TCP port from 0 (any free one) to 65535, for example 3000';
  return variable(toInteger, IsInt({ message }), Min(0, { message }), Max(65_535, { message }));
}

export function IntegerVar({ min, max, example }: { min: number; max: number; example: number }): PropertyDecorator {
  const message = `a whole number from ${min} to ${max}, for example ${example}`;
  return variable(toInteger, IsInt({ message }), Min(min, { message }), Max(max, { message }));
}

/** `true` or `false`, nothing else: `0`, `no` and `off` read as true in too many programs. */
export function FlagVar(): PropertyDecorator {
  const words: Record<string, boolean> = { true: true, false: false };
  return variable((text) => words[text] ?? text, IsBoolean({ message: 'true or false' }));
}

export function UrlVar(protocols: readonly [string, ...string[]]): PropertyDecorator {
  const schemes = protocols.map((protocol) => `${protocol}://`).join(' or ');
  const message = `a URL starting with ${schemes}, for example ${protocols[0]}://127.0.0.1:4000`;
  // No TLD: service names inside a cluster have none.
  return variable(
    asText,
    IsUrl({ protocols: [...protocols], require_protocol: true, require_tld: false }, { message }),
  );
}

const UNIT_MS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** Written with a unit (`250ms`, `15s`, `2m`, `1h`), held in milliseconds: a bare number is refused as ambiguous. */
export function DurationVar({
  minMs = 1,
  maxMs = 24 * 3_600_000,
}: { minMs?: number; maxMs?: number } = {}): PropertyDecorator {
  const message = `a duration with its unit between ${minMs}ms and ${maxMs}ms, for example 250ms, 15s or 2m`;
  const parse: Parse = (text) => {
    const [, amount, unit] = /^(\d{1,9})(ms|s|m|h)$/.exec(text) ?? [];
    return amount && unit ? Number(amount) * (UNIT_MS[unit] ?? NaN) : text;
  };
  return variable(parse, IsInt({ message }), Min(minMs, { message }), Max(maxMs, { message }));
}

export function ChoiceVar(choices: readonly [string, ...string[]]): PropertyDecorator {
  return variable(asText, IsIn([...choices], { message: `one of ${choices.join(', ')}, for example ${choices[0]}` }));
}

export function TextVar({
  minLength = 1,
  what = 'text',
  example,
}: { minLength?: number; what?: string; example?: string } = {}): PropertyDecorator {
  const size = minLength > 1 ? ` of at least ${minLength} characters` : '';
  const message = `${what}${size}${example === undefined ? '' : `, for example ${example}`}`;
  return variable(asText, MinLength(minLength, { message }));
}

/** At least 256 bits, because these protect artifacts and callbacks against offline guessing. */
export function SecretVar(): PropertyDecorator {
  const message = 'at least 32 random bytes in hex, for example the output of `openssl rand -hex 32`';
  return variable(asText, Matches(/^(?:[0-9a-fA-F]{2}){32,}$/, { message }));
}

export { IsOptional as OptionalVar } from 'class-validator';

/**
 * For values that take a protection away. The class has to have `NODE_ENV` (extend `ProcessEnv`).
 * @param expected what production wants instead, and why.
 */
export function NotInProduction(
  forbidden: unknown = true,
  expected = 'false when NODE_ENV=production',
): PropertyDecorator {
  return (target, property) =>
    registerDecorator({
      name: 'notInProduction',
      target: target.constructor,
      propertyName: String(property),
      options: { message: expected },
      validator: {
        validate: (value: unknown, { object }: ValidationArguments) =>
          value !== forbidden || ('NODE_ENV' in object && object.NODE_ENV !== 'production'),
      },
    });
}

/** What every process of ours has. */
export class ProcessEnv {
  @ChoiceVar(['development', 'test', 'production'])
  NODE_ENV = 'development';

  @ChoiceVar(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
  LOG_LEVEL = 'info';
}
