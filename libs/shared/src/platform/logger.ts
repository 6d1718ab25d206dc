import pino, { type Bindings, type ChildLoggerOptions, type DestinationStream, type Logger } from 'pino';
import { redact, redactText } from './redact';

export type { Logger } from 'pino';

export interface LoggerOptions {
  /** The process: `querier-api`, `auditor` … */
  name: string;
  level?: string;
  /** `json` for collectors (production), `line` for people. */
  format: 'json' | 'line';
  /** Standard output unless a test listens. */
  destination?: DestinationStream;
}

/** Every line passes both nets of redact.ts: fields by name before, text by shape after serialisation. */
export function createLogger({ name, level = 'info', format, destination }: LoggerOptions): Logger {
  const sink = destination ?? pino.destination({ dest: 1, sync: true });
  const print = format === 'json' ? redactText : (json: string) => readableLine(redactText(json));
  const logger = pino(
    {
      name,
      level,
      base: { pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }), log: redactRecord },
      hooks: { streamWrite: print },
    },
    sink,
  );
  return withRedactedChildren(logger);
}

/** pino applies no formatter of its parent to a child's bindings. */
function withRedactedChildren<L extends string>(logger: Logger<L>): Logger<L> {
  const child = logger.child.bind(logger);
  logger.child = <C extends string = never>(bindings: Bindings, options?: ChildLoggerOptions<C>) =>
    withRedactedChildren(child(redactRecord(bindings), options));
  return logger;
}

function redactRecord(record: Record<string, unknown>): Record<string, unknown> {
  return redact(record) as Record<string, unknown>;
}

/** `10:20:30.123 WARN  querier  text  field=value …`, the stack on lines of its own. */
function readableLine(json: string): string {
  const { time, level, name, pid: _pid, msg = '', err, ...fields } = JSON.parse(json) as Record<string, unknown>;
  const clock = String(time).slice(11, 23);
  const details = Object.entries(fields).map(
    ([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  const head = `${clock} ${String(level).toUpperCase().padEnd(5)} ${String(name)}`;
  const line = [head, String(msg), ...details].filter((part) => part !== '').join('  ');
  return `${line}${errorText(err)}\n`;
}

function errorText(err: unknown): string {
  if (typeof err !== 'object' || err === null) return '';
  const { stack, message } = err as { stack?: string; message?: string };
  return `\n    ${(stack ?? message ?? '').replaceAll('\n', '\n    ')}`;
}

/** The methods Nest calls on its logger; structural, because platform files do not import Nest. */
export interface FrameworkLogger {
  log(message: unknown, ...rest: unknown[]): void;
  error(message: unknown, ...rest: unknown[]): void;
  warn(message: unknown, ...rest: unknown[]): void;
  debug(message: unknown, ...rest: unknown[]): void;
  verbose(message: unknown, ...rest: unknown[]): void;
  fatal(message: unknown, ...rest: unknown[]): void;
}

/** Pass as `logger` to `NestFactory.create`. Nest's last argument is the context, before it an error's stack. */
export function frameworkLogger(logger: Logger): FrameworkLogger {
  const at =
    (level: 'info' | 'error' | 'warn' | 'debug' | 'trace' | 'fatal') =>
    (message: unknown, ...rest: unknown[]): void => {
      const context = rest.at(-1);
      const detail = rest.length > 1 ? rest[0] : undefined;
      const fields = { context, ...(detail === undefined ? {} : { detail }) };
      if (message instanceof Error) logger[level]({ ...fields, err: message }, message.message);
      else logger[level](fields, typeof message === 'string' ? message : JSON.stringify(redact(message)));
    };
  return {
    log: at('info'),
    error: at('error'),
    warn: at('warn'),
    debug: at('debug'),
    verbose: at('trace'),
    fatal: at('fatal'),
  };
}
