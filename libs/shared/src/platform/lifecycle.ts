import type { Logger } from 'pino';

/** What of `process` is used; tests pass an emitter of their own. */
export interface ProcessLike {
  on(event: string, listener: (...args: unknown[]) => void): unknown;
  exit(code: number): void;
  /** True when a parent holds an IPC channel to this process. */
  readonly connected?: boolean;
}

export interface LifecycleOptions {
  log: Pick<Logger, 'info' | 'fatal'>;
  /** Ends the service in order: stop taking work, finish what is in flight, close connections. */
  close: () => Promise<void>;
  /** Longest time `close` may take. Kubernetes kills after 30 s by default: stay below. */
  graceMs: number;
  process?: ProcessLike;
}

/** sysexits.h EX_SOFTWARE: a fault of ours, not of the configuration. */
export const EX_SOFTWARE = 70;

/**
 * Ends the process on SIGTERM, SIGINT and the death of the parent (its IPC channel closes), at most `graceMs` later.
 * An exception nobody caught ends it at once: what the memory holds is unknown then, and every job survives a kill.
 */
export function installLifecycle({ log, close, graceMs, process: host = process }: LifecycleOptions): void {
  let closing = false;

  const end = async (reason: string): Promise<void> => {
    // A terminal's Ctrl-C reaches children directly and again through the launcher: the second is not an order to abort.
    if (closing) return;
    closing = true;
    log.info({ reason, graceMs }, 'closing');
    const bound = setTimeout(() => fatal(`not closed after ${graceMs} ms`, undefined), graceMs);
    bound.unref();
    try {
      await close();
      clearTimeout(bound);
      host.exit(0);
    } catch (error) {
      fatal('closing failed', error);
    }
  };

  const fatal = (message: string, error: unknown): void => {
    log.fatal({ err: error }, message);
    host.exit(EX_SOFTWARE);
  };

  for (const signal of ['SIGTERM', 'SIGINT'] as const) host.on(signal, () => void end(signal));
  if (host.connected) host.on('disconnect', () => void end('parent is gone'));
  host.on('uncaughtException', (error: unknown) => fatal('uncaught exception', error));
  host.on('unhandledRejection', (error: unknown) => fatal('unhandled rejection', error));
}
