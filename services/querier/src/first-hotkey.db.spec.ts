import type { StubMiner } from '@studio/shared/testing/stub-miner';
import { attemptStates, WorkerRig, type Json } from './worker.rig';

jest.setTimeout(60_000);

let rig: WorkerRig;

beforeAll(async () => {
  // All jobs of the rig render one LoRA: who has it may not be preferred besides.
  // Nor may a slot rest after a refusal: whose turn it is then would be a matter of milliseconds.
  rig = await WorkerRig.open({ rampStart: 20, loraLeadTurns: -1, hedgeFloorShare: 0 });
});
afterAll(() => rig?.close());
afterEach(() => rig.clear());

const first = ({ hotkey }: StubMiner) => ({ routing: { firstHotkey: hotkey } });
const asked = (job: Json): string[] => job.attempts.map(({ hotkey }: { hotkey: string }) => hotkey);

describe('a job that prefers a miner', () => {
  it('goes to it, whoever would be next, and counts as its turn', async () => {
    const [one, other] = await rig.useMiners(2, rig.works, 20);
    await rig.startWorker();
    const preferring: string[] = [];
    for (let n = 0; n < 4; n += 1) preferring.push(await rig.addJob(first(one!)));
    for (const id of preferring) expect(asked(await rig.finished(id))).toEqual([one!.hotkey]);
    const ordinary = await Promise.all(Array.from({ length: 4 }, () => rig.addJob()));
    for (const id of ordinary) expect(asked(await rig.finished(id))).toEqual([other!.hotkey]);
  });

  it('tells the miner nothing of it', async () => {
    const [one] = await rig.useMiners(1);
    await rig.startWorker();
    const [preferring, ordinary] = [await rig.addJob(first(one!)), await rig.addJob()];
    await Promise.all([preferring, ordinary].map((id) => rig.finished(id)));
    const words = one!.asked.map((request) => JSON.stringify(request));
    expect(words).toHaveLength(2);
    const [a, b] = one!.asked.map((request) => Object.keys(request).sort());
    expect(a).toEqual(b);
    for (const text of words) expect(text).not.toMatch(/first|routing|hotkey/i);
  });

  it.each<[string, number, string]>([
    ['fails it', 500, 'failed'],
    ['is busy', 429, 'busy'],
  ])('goes to another miner when that one %s, as any job does', async (_, status, state) => {
    const [one, other] = await rig.useMiners(2);
    one!.answer = () => ({ status });
    await rig.startWorker();
    const job = await rig.finished(await rig.addJob(first(one!)));
    expect(attemptStates(job)).toEqual([state, 'accepted']);
    expect(asked(job)).toEqual([one!.hotkey, other!.hotkey]);
  });

  it('prefers it for the first attempt alone: when all were busy, it is again asked in turn', async () => {
    const [one, other] = await rig.useMiners(2);
    await rig.startWorker();
    for (let n = 0; n < 2; n += 1) await rig.finished(await rig.addJob(first(one!)));
    for (const miner of [one!, other!]) {
      miner.answer = (request) => (request.attempt <= 2 ? { status: 429 } : rig.works(request));
    }
    const job = await rig.finished(await rig.addJob(first(one!)));
    expect(asked(job)).toEqual([one!.hotkey, other!.hotkey, other!.hotkey]);
  });

  it('does not wait for it: without a free slot, or gone, its turn is somebody else’s', async () => {
    const [one, other] = await rig.useMiners(2, rig.works, 1);
    one!.answer = () => 'hang';
    await rig.startWorker();
    const holding = await rig.addJob(first(one!));
    await one!.askedTimes(1);
    expect(asked(await rig.finished(await rig.addJob(first(one!))))).toEqual([other!.hotkey]);
    const gone = { routing: { firstHotkey: 'nobody' } };
    expect(asked(await rig.finished(await rig.addJob(gone)))).toEqual([other!.hotkey]);
    expect(holding).toBe(one!.asked[0]!.job_id);
  });

  it('never reaches a reference that it prefers: only the rule that names it alone does', async () => {
    const [one, reference] = await rig.useMiners(2);
    reference!.routable.trusted = true;
    rig.announce();
    await rig.startWorker();
    expect(asked(await rig.finished(await rig.addJob(first(reference!))))).toEqual([one!.hotkey]);
    expect(reference!.asked).toEqual([]);
  });
});
