/** What a trick is worth beside honesty, in virtual time: the turns, slots and rests are the workers' own code. */
import { DEFAULT_POLICY } from '@studio/shared/domain/policy';
import { LaneRun, type LaneOptions, type MinerFigures } from './lane-run';
import { equals, type SimMiner } from './population';

jest.setTimeout(120_000);

const JOB_MS = 10_000;
const HOUR_MS = 3_600_000;

interface Contest {
  title: string;
  miners: SimMiner[];
  /** The hotkeys with the trick. */
  tricky: readonly string[];
  options?: Partial<LaneOptions>;
}

interface Worth {
  /** As multiples of what the mean honest miner got. */
  asked: number;
  points: number;
}

async function worth({ title, miners, tricky, options }: Contest): Promise<Worth> {
  const { miners: figures } = await new LaneRun({
    lane: { kind: 'lora-inference', engine: 'flux' },
    miners,
    seed: 3,
    spanMs: HOUR_MS / 3,
    warmUpMs: HOUR_MS / 12,
    jobMs: JOB_MS,
    timeoutMs: 30 * JOB_MS,
    load: 0.1,
    workers: 2,
    policy: DEFAULT_POLICY.routing,
    loras: 0,
    transferMs: 0,
    ...options,
  }).run();
  const isTricky = ({ miner }: MinerFigures): boolean => tricky.includes(miner.hotkey);
  const sum = (of: readonly MinerFigures[], what: 'asked' | 'points'): number =>
    of.reduce((all, one) => all + one[what], 0);
  const [odd, honest] = [figures.filter(isTricky), figures.filter((one) => !isTricky(one))];
  const ratio = (what: 'asked' | 'points'): number => sum(odd, what) / (sum(honest, what) / honest.length);
  const result = { asked: ratio('asked'), points: ratio('points') };
  process.stdout.write(
    `${title}: asked ${result.asked.toFixed(2)} times as often as one honest miner, points ${result.points.toFixed(2)}\n`,
  );
  return result;
}

/** Sixteen with so many slots each, the first of them as `trick` says. */
function oneOf16(trick: Partial<SimMiner>, slots = 16): { miners: SimMiner[]; tricky: string[] } {
  const miners = equals(16, 16).map((miner) => ({ ...miner, declared: slots, actual: slots }));
  const [first, ...others] = miners;
  return { miners: [{ ...first!, ...trick }, ...others], tricky: [first!.hotkey] };
}

describe('a miner that holds its answers back to have more jobs under way', () => {
  const stretched = (slowness: number) => ({
    ...oneOf16({ declared: 256, actual: 256, slowness }),
    title: `Answers held back ${slowness} times`,
  });
  /** What the 256 slots would take of the load is not to come. */
  const load = (share: number, slowness: number) => ({ load: (share * 15 * 16) / (15 * 16 + 256 / slowness) });

  it.each([
    [0.05, 5],
    [0.1, 5],
    [0.1, 10],
    [0.4, 5],
  ])('at %p of the capacity gets less: %p times the usual', async (share, slowness) => {
    expect((await worth({ ...stretched(slowness), options: load(share, slowness) })).points).toBeLessThan(0.6);
  });

  it('gains what it can with what still passes for a slow machine, and no more', async () => {
    expect((await worth({ ...stretched(1.9), options: load(0.1, 1.9) })).points).toBeLessThan(3);
  });
});

describe('a miner that refuses the long jobs while jobs queue up', () => {
  const mixture = { load: 0.4, long: { share: 0.5, times: 10 }, timeoutMs: 6 * JOB_MS };

  it.each(['busy', 'fails'] as const)('gets less: it %s', async (refusesLong) => {
    const { points } = await worth({
      ...oneOf16({ refusesLong }, 4),
      title: `Refusing long jobs (${refusesLong})`,
      options: mixture,
    });
    expect(points).toBeLessThan(1);
  });
});

describe('ten hotkeys of one operator', () => {
  const tricky = Array.from({ length: 10 }, (_, n) => `twin-${n}`);
  const miners = [
    ...equals(20, 20),
    ...equals(10, 1).map((miner, n) => ({ ...miner, hotkey: tricky[n]!, operator: 'ten' })),
  ];

  it.each<[string, number, number]>([
    ['now and then', 0.02, HOUR_MS],
    ['so seldom that everybody waits for two minutes', 0.004, 4 * HOUR_MS],
  ])('get the turns of one when jobs come %s', async (when, load, spanMs) => {
    const { points } = await worth({ title: `Ten hotkeys, jobs ${when}`, miners, tricky, options: { load, spanMs } });
    expect(points).toBeLessThan(1.5);
  });
});
