import { Sweeper } from './sweeper';

/** Runs that the test ends by hand. */
function manualRuns() {
  const ends: { resolve: (more?: boolean) => void; reject: (error: Error) => void }[] = [];
  const signals: AbortSignal[] = [];
  const run = (signal: AbortSignal): Promise<boolean | void> => {
    signals.push(signal);
    return new Promise((resolve, reject) => ends.push({ resolve, reject }));
  };
  return { ends, run, signals };
}

const everyMs = 1_000;

describe('Sweeper', () => {
  beforeEach(() => jest.useFakeTimers());
  afterEach(() => jest.useRealTimers());

  function sample(extra: { maxBackoffMs?: number; restMs?: number } = {}) {
    const { ends, run, signals } = manualRuns();
    const error = jest.fn();
    const sweeper = new Sweeper({ name: 'relay', everyMs, run, log: { error }, ...extra });
    return { sweeper, ends, error, signals };
  }
  const pass = (ms: number) => jest.advanceTimersByTimeAsync(ms);

  it('runs at once and then everyMs after the end of the previous run', async () => {
    const { sweeper, ends } = sample();
    sweeper.start();
    expect(ends).toHaveLength(1);
    await pass(5 * everyMs);
    expect(ends).toHaveLength(1);
    ends[0]?.resolve();
    await pass(everyMs - 1);
    expect(ends).toHaveLength(1);
    await pass(1);
    expect(ends).toHaveLength(2);
  });

  it('runs on a hint without waiting', async () => {
    const { sweeper, ends } = sample();
    sweeper.start();
    ends[0]?.resolve();
    await pass(1);
    sweeper.hint();
    expect(ends).toHaveLength(2);
  });

  it('lets the hints of its rest share one run, and runs at once when it has rested', async () => {
    const { sweeper, ends } = sample({ restMs: 50 });
    sweeper.start();
    sweeper.hint();
    ends[0]?.resolve();
    await pass(49);
    sweeper.hint();
    expect(ends).toHaveLength(1);
    await pass(1);
    expect(ends).toHaveLength(2);
    ends[1]?.resolve();
    await pass(10);
    sweeper.hint();
    sweeper.hint();
    await pass(39);
    expect(ends).toHaveLength(2);
    await pass(1);
    expect(ends).toHaveLength(3);
    ends[2]?.resolve();
    await pass(60);
    sweeper.hint();
    expect(ends).toHaveLength(4);
  });

  it('does not rest while more work is known to wait', async () => {
    const { sweeper, ends } = sample({ restMs: 50 });
    sweeper.start();
    ends[0]?.resolve(true);
    await pass(1);
    expect(ends).toHaveLength(2);
  });

  it('turns any number of hints during a run into one more run', async () => {
    const { sweeper, ends } = sample();
    sweeper.start();
    sweeper.hint();
    sweeper.hint();
    expect(ends).toHaveLength(1);
    ends[0]?.resolve();
    await pass(1);
    expect(ends).toHaveLength(2);
    ends[1]?.resolve();
    await pass(everyMs - 2);
    expect(ends).toHaveLength(2);
  });

  it('goes on at once while a run says there is more', async () => {
    const { sweeper, ends } = sample();
    sweeper.start();
    ends[0]?.resolve(true);
    await pass(1);
    expect(ends).toHaveLength(2);
  });

  it('logs a failure and doubles its pause up to the bound, whatever the hints', async () => {
    const { sweeper, ends, error } = sample({ maxBackoffMs: 300 });
    sweeper.start();
    for (const pause of [100, 200, 300, 300]) {
      const runs = ends.length;
      ends.at(-1)?.reject(new Error('down'));
      await pass(pause - 1);
      sweeper.hint();
      expect(ends).toHaveLength(runs);
      await pass(1);
      expect(ends).toHaveLength(runs + 1);
    }
    expect(error).toHaveBeenCalledTimes(4);
    expect(error).toHaveBeenLastCalledWith(expect.objectContaining({ sweeper: 'relay', failures: 4 }), 'sweep failed');
    ends.at(-1)?.resolve();
    await pass(everyMs);
    expect(ends).toHaveLength(6);
  });

  it('stops: aborts the signal, waits for the run, begins no other', async () => {
    const { sweeper, ends, signals, error } = sample();
    sweeper.start();
    let stopped = false;
    const stopping = sweeper.stop().then(() => (stopped = true));
    expect(signals[0]?.aborted).toBe(true);
    await pass(10);
    expect(stopped).toBe(false);
    ends[0]?.reject(new Error('aborted'));
    await stopping;
    sweeper.hint();
    await pass(10 * everyMs);
    expect(ends).toHaveLength(1);
    expect(error).not.toHaveBeenCalled();
  });
});
