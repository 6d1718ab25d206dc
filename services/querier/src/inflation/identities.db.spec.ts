import type { StubMiner } from '@studio/shared/testing/stub-miner';
import { attemptStates, WorkerRig } from '../worker.rig';
import { meanHonest, openFront, print, runJobs, setRouting, takings, worksFor, type Front } from './contest.rig';

jest.setTimeout(120_000);

const TIMEOUT_MS = 10_000;
/** More than jobs can be under way, and believed at once: turns alone decide. */
const SLOTS = 60;
const jobs = (count: number): number[] => Array<number>(count).fill(TIMEOUT_MS);

let rig: WorkerRig;
const fronts: Front[] = [];

beforeAll(async () => (rig = await WorkerRig.open()));
afterAll(() => rig?.close());
afterEach(async () => {
  await rig.clear();
  await Promise.all(fronts.splice(0).map((front) => front.close()));
});

const works = (): StubMiner['answer'] => worksFor(rig, () => 30);

describe('ten hotkeys of one operator', () => {
  /** Four honest operators with one miner each; the ten have one name. */
  async function useTen(): Promise<(hotkey: string) => string> {
    const miners = await rig.useMiners(14, works(), SLOTS);
    const [ten, honest] = [miners.slice(0, 10), miners.slice(10).map(({ hotkey }) => hotkey)];
    for (const { routable } of ten) routable.operator = 'ten hotkeys';
    rig.announce();
    return (hotkey) => (honest.includes(hotkey) ? `honest ${1 + honest.indexOf(hotkey)}` : 'ten hotkeys');
  }

  it.each<[string, number, number]>([
    ['one job comes after the other', 600_000, 150],
    ['so few come that nobody is asked for long', 500, 150],
  ])('get the turns of one while %s', async (when, exploreAfterMs, everyMs) => {
    // One LoRA for all jobs: who has it may not be preferred besides.
    await setRouting(rig, { exploreAfterMs, rampStart: SLOTS, loraLeadTurns: -1, hedgeBudget: 0 });
    const nameOf = await useTen();
    await rig.startWorker();
    const all = await takings(rig, await runJobs(rig, jobs(60), everyMs), nameOf);
    print(`Ten hotkeys of one operator, while ${when}`, all);
    expect(all['ten hotkeys']!.points).toBeLessThan(1.5 * meanHonest(all, ({ points }) => points));
  });
});

describe('one endpoint under several hotkeys', () => {
  const SPELLINGS = ['127.0.0.1', 'localhost', '127.1', '0x7f000001', 'LOCALHOST.', '[::ffff:127.0.0.1]'];

  it('gets the turns of one operator, however it is spelled and whatever operators are named', async () => {
    await setRouting(rig, { exploreAfterMs: 600_000, rampStart: SLOTS, loraLeadTurns: -1, hedgeBudget: 0 });
    const miners = await rig.useMiners(SPELLINGS.length + 2, works(), SLOTS);
    const [many, honest] = [miners.slice(0, SPELLINGS.length), miners.slice(SPELLINGS.length)];
    const front = await openFront(many);
    fronts.push(front);
    many.forEach(({ routable }, n) => (routable.endpoint = `http://${SPELLINGS[n]}:${front.port}${n % 2 ? '' : '/'}`));
    rig.announce();
    await rig.startWorker();
    const askedAt = (): number[] => many.map(({ asked }) => asked.length);
    // From the first connects on the address is somebody's: soon only one of them is asked.
    for (let before = askedAt(); ; before = askedAt()) {
      await runJobs(rig, jobs(8), 100);
      if (askedAt().filter((count, n) => count > before[n]!).length <= 1) break;
    }
    const hotkeys = honest.map(({ hotkey }) => hotkey);
    const nameOf = (hotkey: string): string => hotkeys.includes(hotkey) ? `honest ${1 + hotkeys.indexOf(hotkey)}` : 'one endpoint'; // prettier-ignore
    const all = await takings(rig, await runJobs(rig, jobs(45), 60), nameOf);
    print(`One endpoint under ${SPELLINGS.length} hotkeys, each with an operator of its own`, all);
    expect(all['one endpoint']!.points).toBeLessThan(1.3 * meanHonest(all, ({ points }) => points));
    expect(many[SPELLINGS.length - 1]!.asked).toEqual([]);
  });
});

describe('two miners of one operator', () => {
  it('may both be asked for one job, and one of them is paid', async () => {
    await setRouting(rig, { hedgeBudget: 1, hedgeDefaultShare: 0.05, hedgeFloorShare: 0.05 });
    const [first, second] = await rig.useMiners(2);
    first!.routable.operator = second!.routable.operator;
    rig.announce();
    let both: (() => void) | undefined;
    const asked = new Promise<void>((resolve) => (both = resolve));
    for (const miner of [first!, second!]) {
      miner.answer = async (request) => {
        if (request.attempt > 1) both!();
        return (await asked, rig.works(request));
      };
    }
    await rig.startWorker();
    const job = await rig.finished(await rig.addJob({ timeoutMs: TIMEOUT_MS }));
    expect(attemptStates(job).sort()).toEqual(['accepted', 'superseded']);
    const all = await takings(rig, [job.id], () => 'two miners');
    expect(all['two miners']).toMatchObject({ asked: 2, accepted: 1 });
    expect(all['two miners']!.points).toBeLessThanOrEqual(0.3);
  });
});
