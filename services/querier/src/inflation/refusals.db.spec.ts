import type { RoutingPolicy } from '@studio/shared/domain/policy';
import type { StubMiner } from '@studio/shared/testing/stub-miner';
import { WorkerRig } from '../worker.rig';
import { meanHonest, print, runJobs, setRouting, takings, worksFor, type Takings } from './contest.rig';

jest.setTimeout(120_000);
// These contests run in real time: a machine that stands still for a second spoils one. A rule that is broken loses every time.
jest.retryTimes(2, { logErrorsBeforeRetry: true });

/** Two kinds of job in one lane, told apart by their T_max: who works takes a twentieth of it. */
const [SHORT_MS, LONG_MS] = [2_000, 20_000];
const SHARE = 0.05;
/** In a rhythm that no number of miners shares, so that none gets the short ones by chance. */
const MIXTURE = [LONG_MS, SHORT_MS, LONG_MS, SHORT_MS, SHORT_MS];
const mixture = (count: number): number[] => Array.from({ length: count }, (_, n) => MIXTURE[n % MIXTURE.length]!);
const isLong = ({ timeout_ms }: { timeout_ms: number }): boolean => timeout_ms > SHORT_MS;

let rig: WorkerRig;

/** Nobody is asked before others out of neglect. */
const ROUTING = { exploreAfterMs: 600_000 };
const UNHEDGED = { ...ROUTING, hedgeBudget: 0 };
/** One for every job, once it takes twice as long as it should. */
const HEDGED = { ...ROUTING, hedgeBudget: 1, hedgeDefaultShare: 2 * SHARE, hedgeFloorShare: 2 * SHARE };

beforeAll(async () => (rig = await WorkerRig.open()));
afterAll(() => rig?.close());
afterEach(() => rig.clear());

/** Three honest miners, and one that answers as `trick` says and otherwise works. */
async function contest(
  routing: Partial<RoutingPolicy>,
  {
    slots,
    trick,
  }: { slots: number; trick: (request: { timeout_ms: number }) => ReturnType<StubMiner['answer']> | null },
  { jobs, everyMs = 0 }: { jobs: readonly number[]; everyMs?: number },
): Promise<Record<string, Takings>> {
  const works = worksFor(rig, (timeoutMs) => timeoutMs * SHARE);
  await setRouting(rig, { ...routing, rampStart: slots });
  const [odd, ...others] = await rig.useMiners(4, works, slots);
  odd!.answer = (request) => trick(request) ?? works(request);
  const honest = others.map(({ hotkey }) => hotkey);
  await rig.startWorker();
  const ids = await runJobs(rig, jobs, everyMs);
  return takings(rig, ids, (hotkey) => (hotkey === odd!.hotkey ? 'trick' : `honest ${1 + honest.indexOf(hotkey)}`));
}

describe('a miner that refuses the long jobs', () => {
  it.each<[string, number, string]>([
    ['with 429', 429, 'busy'],
    ['with 422, which is held against it', 422, 'failed'],
  ])('%s has no time for more short ones while jobs queue up', async (how, status, state) => {
    const trick = (request: { timeout_ms: number }) => (isLong(request) ? { status } : null);
    const all = await contest(UNHEDGED, { slots: 1, trick }, { jobs: mixture(30) });
    print(`Refusing long jobs ${how}, all queued at once`, all);
    expect(all.trick!.states[state]).toBeGreaterThan(0);
    expect(all.trick!.points).toBeLessThan(meanHonest(all, ({ points }) => points));
  });

  it('uses its turns up where there is room for all', async () => {
    const trick = (request: { timeout_ms: number }) => (isLong(request) ? { status: 429 } : null);
    const all = await contest(UNHEDGED, { slots: 1, trick }, { jobs: mixture(30), everyMs: 300 });
    print('Refusing long jobs with 429, at low load', all);
    expect(all.trick!.points).toBeLessThan(0.8 * meanHonest(all, ({ points }) => points));
  });
});

describe('a miner that accepts a job and lets a hedge do it', () => {
  it('when it is long, loses its slots, and is asked less and earns less', async () => {
    const trick = (request: { timeout_ms: number }) => (isLong(request) ? ('hang' as const) : null);
    const all = await contest(HEDGED, { slots: 4, trick }, { jobs: mixture(40), everyMs: 150 });
    print('Hanging at long jobs', all);
    expect(all.trick!.asked).toBeLessThan(meanHonest(all, ({ asked }) => asked));
    expect(all.trick!.points).toBeLessThan(0.7 * meanHonest(all, ({ points }) => points));
  });

  it('every time, is asked less and earns nothing', async () => {
    const all = await contest(
      HEDGED,
      { slots: 4, trick: () => 'hang' },
      { jobs: Array<number>(40).fill(SHORT_MS), everyMs: 150 },
    );
    print('Hanging at every job', all);
    expect(all.trick!.points).toBe(0);
    expect(all.trick!.asked).toBeLessThan(meanHonest(all, ({ asked }) => asked));
    // Whoever lost against a hedge is not said to have failed; whoever nobody stood in for is.
    const blamed = await rig.db.query<{ state: string; blame: string }[]>(
      'SELECT DISTINCT state, blame FROM studio.attempts WHERE hotkey = $1',
      [rig.miners[0]!.hotkey],
    );
    for (const { state, blame } of blamed) expect([state, blame]).toEqual(state === 'timeout' ? ['timeout', 'miner'] : ['superseded', 'none']); // prettier-ignore
  });
});
