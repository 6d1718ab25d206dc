/** One after the other, in the order of asking. Who gives up while waiting leaves without disturbing the order. */
export class Turns {
  private last: Promise<unknown> = Promise.resolve();

  /** Runs `act` when everything that asked before has ended. @throws what `act` throws, or `signal`'s reason. */
  async take<T>(signal: AbortSignal, act: () => Promise<T>): Promise<T> {
    const before = this.last;
    const mine = before.then(() => {
      signal.throwIfAborted();
      return act();
    });
    this.last = mine.catch(() => undefined);
    return leaveEarly(mine, before, signal);
  }
}

/** As `mine`, but an abort counts at once as long as the turn has not come. */
function leaveEarly<T>(mine: Promise<T>, before: Promise<unknown>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const leave = (): void => reject(signal.reason as Error);
    signal.addEventListener('abort', leave, { once: true });
    // From its turn on `act` itself decides when it has ended.
    void before.then(() => signal.removeEventListener('abort', leave));
    if (signal.aborted) leave();
    mine.then(resolve, reject);
  });
}
