import type { DrawExportRow } from '@studio/shared/contract/draws';
import { DEFAULT_POLICY } from '@studio/shared/domain/policy';
import { DrawExport } from './draw-export';
import type { DrawnEpoch, DrawPage } from './draw-export.store';

const CLOSED: DrawnEpoch = {
  epoch: 3,
  state: 'closed',
  commitment: 'c',
  policy: DEFAULT_POLICY,
  secret: 's',
  settledAt: '2026-01-01T00:00:00Z',
};

/** An epoch of this many rows, whose pages are handed over when the test says so. */
class HeldStore {
  readonly asked: DrawPage[] = [];
  inside = 0;
  atOnce = 0;
  failing = false;

  constructor(
    private readonly count: number,
    private readonly epoch = CLOSED,
  ) {}

  find = async (): Promise<DrawnEpoch> => this.epoch;
  counted = async () => ({ rows: this.count, rewrites: [] });

  page = async (page: DrawPage): Promise<DrawExportRow[]> => {
    this.asked.push(page);
    this.inside += 1;
    this.atOnce = Math.max(this.atOnce, this.inside);
    await turns(1);
    this.inside -= 1;
    if (this.failing) throw new Error('the database is away');
    const first = this.row(page.after) + 1;
    const length = Math.max(0, Math.min(page.limit, this.count + 1 - first));
    return Array.from({ length }, (_, index) => ({ job_id: jobId(first + index) }) as DrawExportRow);
  };

  private row(id: string): number {
    return Number(id.slice(-12));
  }
}

const jobId = (n: number): string => `00000000-0000-0000-0000-${String(n).padStart(12, '0')}`;

/** Lets everything that is ready go on, so many times over. */
async function turns(count: number): Promise<void> {
  for (let n = 0; n < count; n += 1) await new Promise((resolve) => setImmediate(resolve));
}

async function linesOf(stream: AsyncIterable<unknown>): Promise<string[]> {
  let text = '';
  for await (const chunk of stream) text += String(chunk);
  return text.split('\n').slice(0, -1);
}

describe('an export of draws', () => {
  it('is read a page at a time, the header first, each row once', async () => {
    const store = new HeldStore(25);
    const lines = await linesOf(await new DrawExport(store, 10).open(3));
    expect(JSON.parse(lines[0]!)).toMatchObject({ epoch: 3, rows: 25, secret: 's' });
    expect(lines.slice(1).map((line) => (JSON.parse(line) as DrawExportRow).job_id)).toEqual(
      Array.from({ length: 25 }, (_, index) => jobId(index + 1)),
    );
    expect(store.asked.every(({ limit }) => limit === 10)).toBe(true);
  });

  it('is refused while the snapshot is awaited, although the secret is out', async () => {
    const draws = new DrawExport(new HeldStore(25, { ...CLOSED, state: 'closing' }));
    await expect(draws.open(3)).rejects.toMatchObject({ code: 'NOT_FINISHED' });
  });

  it('is not read on while its reader is slow', async () => {
    const store = new HeldStore(1_000);
    const stream = await new DrawExport(store, 1).open(3);
    await stream[Symbol.asyncIterator]().next();
    await turns(100);
    expect(store.asked.length).toBeLessThanOrEqual(3);
    stream.destroy();
  });

  it('is not read on when its reader has gone', async () => {
    const store = new HeldStore(1_000);
    const stream = await new DrawExport(store, 1).open(3);
    stream.destroy();
    await turns(100);
    expect(store.asked.length).toBeLessThanOrEqual(1);
  });

  it('takes turns with others, one page at a time among them all', async () => {
    const store = new HeldStore(40);
    const draws = new DrawExport(store, 5);
    const all = await Promise.all([1, 2, 3].map(async () => linesOf(await draws.open(3))));
    expect(all.map(({ length }) => length)).toEqual([41, 41, 41]);
    expect(store.atOnce).toBe(1);
  });

  it('that breaks off for a fault of ours ends as an error, and the next is not held up', async () => {
    const store = new HeldStore(5);
    const draws = new DrawExport(store, 5);
    store.failing = true;
    await expect(linesOf(await draws.open(3))).rejects.toThrow('the database is away');
    store.failing = false;
    expect(await linesOf(await draws.open(3))).toHaveLength(6);
  });

  it('ends for every reader when the server closes, however slow they are', async () => {
    const draws = new DrawExport(new HeldStore(1_000), 1);
    const [idle, reading] = [await draws.open(3), await draws.open(3)];
    const read = linesOf(reading);
    const ended = new Promise((resolve) => idle.once('error', resolve));
    draws.close();
    await expect(read).rejects.toThrow('aborted');
    expect(await ended).toMatchObject({ name: 'AbortError' });
  });
});
