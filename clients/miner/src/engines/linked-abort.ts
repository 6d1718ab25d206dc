/** An end that follows another and has a time of its own. Whoever makes one releases it when the work is over. */
export interface LinkedAbort {
  readonly signal: AbortSignal;
  abort(reason: unknown): void;
  release(): void;
}

/** setTimeout's longest delay. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * Aborts when `parent` does, with its reason, or after `timeoutMs` with the reason `late` gives. Not AbortSignal.any with
 * AbortSignal.timeout: in Node 20 the collector may take the timer's signal away before it fires.
 */
export function linkAbort(
  parent: AbortSignal | undefined,
  timeoutMs: number | undefined,
  late: () => Error,
): LinkedAbort {
  const own = new AbortController();
  const follow = (): void => own.abort(parent?.reason);
  const timer =
    timeoutMs === undefined
      ? undefined
      : setTimeout(() => own.abort(late()), Math.min(timeoutMs, LONGEST_TIMER_MS)).unref();
  if (parent?.aborted) follow();
  else parent?.addEventListener('abort', follow, { once: true });
  return {
    signal: own.signal,
    abort: (reason) => own.abort(reason),
    release: () => {
      clearTimeout(timer);
      parent?.removeEventListener('abort', follow);
    },
  };
}

/**
 * The job's own time. The desk ends an attempt at its deadline already; an engine keeps the time by itself as well,
 * because a program that nobody stops holds a GPU for ever.
 */
export function linkJob(signal: AbortSignal, timeoutMs: number): LinkedAbort {
  return linkAbort(signal, timeoutMs, () => new Error(`the job was not done within its ${timeoutMs} ms`));
}
