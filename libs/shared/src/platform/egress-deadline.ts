/** The end of a request, whoever brings it about. Caller: egress.ts. */
export interface Deadline {
  signal: AbortSignal;
  /** Rejects when the request is given up: undici hears the signal only once it is connected. */
  givenUp: Promise<never>;
  abortedBy(): 'deadline' | 'caller' | undefined;
  /** The request is over. May be called again. */
  release(): void;
}

/**
 * `onEnd` is called once, when the request is over or given up. Not AbortSignal.any: on Node 20 it stays attached to a
 * caller's long-lived signal after the request has ended.
 */
export function startDeadline(ms: number, caller: AbortSignal | undefined, onEnd: () => void): Deadline {
  const controller = new AbortController();
  const givenUp = new Promise<never>((_, reject) =>
    controller.signal.addEventListener('abort', () => reject(controller.signal.reason as Error), { once: true }),
  );
  // Nobody waits for it once the reply has begun.
  givenUp.catch(() => undefined);
  let abortedBy: 'deadline' | 'caller' | undefined;
  let ended = false;
  const release = (): void => {
    clearTimeout(timer);
    caller?.removeEventListener('abort', onCaller);
    if (ended) return;
    ended = true;
    onEnd();
  };
  const abort = (by: 'deadline' | 'caller') => (): void => {
    abortedBy ??= by;
    controller.abort();
    // Nobody may ever read the reply that waits.
    release();
  };
  const timer = setTimeout(abort('deadline'), ms);
  const onCaller = abort('caller');
  caller?.addEventListener('abort', onCaller, { once: true });
  if (caller?.aborted) onCaller();
  return { signal: controller.signal, givenUp, abortedBy: () => abortedBy, release };
}
