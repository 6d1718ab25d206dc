import fc from 'fast-check';
import { Batcher, BatchSizeError } from './batcher';

/** A flush that the test ends by hand, in any order. */
function manualFlush() {
  const calls: { items: number[]; finish: () => void; fail: (error: Error) => void }[] = [];
  const arrivals: (() => void)[] = [];
  const flush = (items: number[]): Promise<number[]> =>
    new Promise((resolve, reject) => {
      calls.push({ items, finish: () => resolve(items.map((item) => item * 10)), fail: reject });
      arrivals.shift()?.();
    });
  const nextCall = () => new Promise<void>((resolve) => arrivals.push(resolve));
  return { calls, flush, nextCall };
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

describe('Batcher', () => {
  it('puts items of one turn of the event loop into one flush', async () => {
    const { calls, flush } = manualFlush();
    const batcher = new Batcher(flush, { maxBatch: 10 });
    const results = [batcher.add(1), batcher.add(2)];
    await turn();
    expect(calls.map(({ items }) => items)).toEqual([[1, 2]]);
    calls[0]?.finish();
    expect(await Promise.all(results)).toEqual([10, 20]);
  });

  it('keeps two flushes in flight and gathers what arrives meanwhile', async () => {
    const { calls, flush, nextCall } = manualFlush();
    const batcher = new Batcher(flush, { maxBatch: 10 });
    void batcher.add(1);
    await turn();
    void batcher.add(2);
    await turn();
    [3, 4, 5].forEach((item) => void batcher.add(item));
    await turn();
    expect(calls.map(({ items }) => items)).toEqual([[1], [2]]);
    const third = nextCall();
    calls[1]?.finish();
    await third;
    expect(calls[2]?.items).toEqual([3, 4, 5]);
  });

  it('never gives a flush more than maxBatch', async () => {
    const { calls, flush } = manualFlush();
    const batcher = new Batcher(flush, { maxBatch: 2 });
    [1, 2, 3, 4, 5].forEach((item) => void batcher.add(item));
    await turn();
    expect(calls.map(({ items }) => items)).toEqual([
      [1, 2],
      [3, 4],
    ]);
    expect(batcher.size).toBe(1);
  });

  it('rejects the items of a failing batch and no others', async () => {
    const { calls, flush } = manualFlush();
    const batcher = new Batcher(flush, { maxBatch: 2 });
    const results = [1, 2, 3].map((item) => batcher.add(item));
    await turn();
    calls[0]?.fail(new Error('down'));
    calls[1]?.finish();
    expect(await Promise.allSettled(results)).toMatchObject([
      { reason: { message: 'down' } },
      { reason: { message: 'down' } },
      { value: 30 },
    ]);
  });

  it('saves the neighbours of poisoned items when failures may be isolated', async () => {
    const poisoned = fc.uniqueArray(fc.nat(19), { maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(poisoned, fc.integer({ min: 1, max: 20 }), async (bad, maxBatch) => {
        const flush = async (items: number[]) => {
          if (items.some((item) => bad.includes(item))) throw new Error('poison');
          return items;
        };
        const batcher = new Batcher(flush, { maxBatch, isolate: () => true });
        const settled = await Promise.allSettled(Array.from({ length: 20 }, (_, item) => batcher.add(item)));
        settled.forEach(({ status }, item) => expect(status).toBe(bad.includes(item) ? 'rejected' : 'fulfilled'));
      }),
      { numRuns: 50 },
    );
  });

  it('does not repeat a failure that isolate declines', async () => {
    let flushes = 0;
    const flush = async (): Promise<number[]> => {
      flushes += 1;
      throw new Error('connection lost');
    };
    const batcher = new Batcher(flush, { maxBatch: 10, isolate: (error) => !String(error).includes('lost') });
    await Promise.allSettled([batcher.add(1), batcher.add(2)]);
    expect(flushes).toBe(1);
  });

  it('refuses a flush whose outputs do not match its items', async () => {
    const batcher = new Batcher<number, number>(async () => [1], { maxBatch: 10, isolate: () => true });
    const results = await Promise.allSettled([batcher.add(1), batcher.add(2)]);
    results.forEach((result) => expect(result).toMatchObject({ reason: expect.any(BatchSizeError) }));
  });

  it('turns a flush that throws at once into rejections', async () => {
    const batcher = new Batcher<number, number>(
      () => {
        throw new Error('sync');
      },
      { maxBatch: 1 },
    );
    await expect(batcher.add(1)).rejects.toThrow('sync');
  });

  it('drains: resolves only when nothing waits and nothing runs', async () => {
    const { calls, flush, nextCall } = manualFlush();
    const batcher = new Batcher(flush, { maxBatch: 1, concurrency: 1 });
    await batcher.drain();
    let drained = false;
    void batcher.add(1);
    void batcher.add(2);
    const done = batcher.drain().then(() => (drained = true));
    await turn();
    const second = nextCall();
    calls[0]?.finish();
    await second;
    expect(drained).toBe(false);
    calls[1]?.finish();
    await done;
  });
});
