import { StallWatch } from './stall-watch';

describe('StallWatch', () => {
  let nowMs: number;
  let watch: StallWatch;

  beforeEach(() => {
    jest.useFakeTimers();
    nowMs = 1_000;
    watch = new StallWatch({ now: () => nowMs, keepMs: 1_000 });
    watch.start();
  });
  afterEach(() => {
    watch.stop();
    jest.useRealTimers();
  });

  /** One look at the loop, `ms` after the previous one. */
  const tickAfter = (ms: number) => {
    nowMs += ms;
    jest.advanceTimersByTime(10);
  };

  it('sees nothing in a loop that turns', () => {
    for (let tick = 0; tick < 20; tick += 1) tickAfter(10);
    expect(watch.overlapped(0, Infinity)).toBe(false);
  });

  it.each([
    [60, false],
    [61, true],
  ])('calls a tick %d ms after the previous one a stall: %p', (ms, stalled) => {
    tickAfter(ms);
    expect(watch.overlapped(0, Infinity)).toBe(stalled);
  });

  it('tells the longest stall that an interval has met', () => {
    tickAfter(200);
    tickAfter(100);
    tickAfter(10);
    expect(watch.longestMs(0, Infinity)).toBe(200);
    expect(watch.longestMs(1_250, 1_260)).toBe(100);
    expect(watch.longestMs(1_305, 1_310)).toBe(0);
  });

  it('voids exactly the samples that share an instant with the stall', () => {
    tickAfter(100);
    expect(watch.overlapped(0, 999)).toBe(false);
    expect(watch.overlapped(900, 1_000)).toBe(true);
    expect(watch.overlapped(1_040, 1_050)).toBe(true);
    expect(watch.overlapped(1_100, 1_200)).toBe(true);
    expect(watch.overlapped(1_101, 1_200)).toBe(false);
  });

  it('knows a stall before the timer has run again', () => {
    nowMs += 500;
    expect(watch.overlapped(1_200, 1_300)).toBe(true);
  });

  it('forgets what is too old to matter', () => {
    tickAfter(100);
    for (let tick = 0; tick < 110; tick += 1) tickAfter(10);
    expect(watch.overlapped(0, Infinity)).toBe(false);
  });
});
