import { DatabaseClock } from './database-clock';

/** A database whose clock is an hour ahead, and a tick that the test moves. */
function clock(): {
  clock: DatabaseClock;
  asked: () => number;
  tick: (ms: number) => void;
  fail: (how: boolean) => void;
} {
  let ticks = 5_000.25;
  let asked = 0;
  let failing = false;
  const ask = async (): Promise<number> => {
    asked += 1;
    if (failing) throw new Error('away');
    return 3_600_000 + Math.floor(ticks);
  };
  return {
    clock: new DatabaseClock(ask, () => ticks),
    asked: () => asked,
    tick: (ms) => void (ticks += ms),
    fail: (how) => void (failing = how),
  };
}

describe('the clock of the database', () => {
  it('goes on by itself for a second, in whole milliseconds, and is then asked again', async () => {
    const { clock: watch, asked, tick } = clock();
    expect(await watch.nowMs()).toBe(3_605_000);
    tick(999.5);
    expect(await watch.nowMs()).toBe(3_605_999);
    expect(asked()).toBe(1);
    tick(1);
    expect(await watch.nowMs()).toBe(3_606_000);
    expect(asked()).toBe(2);
  });

  it('is asked once by many at the same moment', async () => {
    const { clock: watch, asked } = clock();
    const times = await Promise.all(Array.from({ length: 50 }, () => watch.nowMs()));
    expect(new Set(times)).toEqual(new Set([3_605_000]));
    expect(asked()).toBe(1);
  });

  it('fails those who ask while the database is away, and nobody afterwards', async () => {
    const { clock: watch, fail } = clock();
    fail(true);
    await expect(watch.nowMs()).rejects.toThrow('away');
    fail(false);
    expect(await watch.nowMs()).toBe(3_605_000);
  });
});
