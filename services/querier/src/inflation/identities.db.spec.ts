import type { StubMiner } from '@studio/shared/testing/stub-miner';
import { MeasurementStore } from '../measurement.store';
import { MIN_SAMPLES } from '../rtt-probe';
import { attemptStates, WorkerRig } from '../worker.rig';
import { meanHonest, openFront, print, runJobs, setRouting, takings, worksFor, type Front } from './contest.rig';

jest.setTimeout(120_000);

const TIMEOUT_MS = 10_000;
/** More than jobs can be under way, and believed at once: turns alone decide. */
const SLOTS = 60;
/** Of nearly a second each, where the owners are looked at every two: the contest then says who has got more. */
const MAX_ROUNDS = 30;
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
    // Not their points: a sample that a pause of this process spoiled counts otherwise.
    expect(all['ten hotkeys']!.accepted).toBeLessThan(1.5 * meanHonest(all, ({ accepted }) => accepted));
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
    // Whoever is measured at the address first has it for good; a change during the contest would let the next one catch up.
    const measured = { hotkey: many[0]!.hotkey, rttMinUs: 1, samples: MIN_SAMPLES, address: `127.0.0.1:${front.port}` };
    await new MeasurementStore(rig.db).recordAll([measured]);
    rig.announce();
    await rig.startWorker();
    const askedAt = (): number[] => many.map(({ asked }) => asked.length);
    // Each of the others is met there at its first connect: soon only the one who has the address is asked.
    for (let [rounds, before] = [0, askedAt()]; rounds < MAX_ROUNDS; [rounds, before] = [rounds + 1, askedAt()]) {
      await runJobs(rig, jobs(8), 100);
      if (askedAt().filter((count, n) => count > before[n]!).length <= 1) break;
    }
    const hotkeys = honest.map(({ hotkey }) => hotkey);
    const nameOf = (hotkey: string): string => hotkeys.includes(hotkey) ? `honest ${1 + hotkeys.indexOf(hotkey)}` : 'one endpoint'; // prettier-ignore
    const all = await takings(rig, await runJobs(rig, jobs(45), 60), nameOf);
    print(`One endpoint under ${SPELLINGS.length} hotkeys, each with an operator of its own`, all);
    // Alone it has a third of the jobs, as each of the honest; five of the spellings together would have five sevenths.
    expect(all['one endpoint']!.accepted).toBeLessThan(1.5 * meanHonest(all, ({ accepted }) => accepted));
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
