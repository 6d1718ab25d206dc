import type { MinerJobRequest } from '@studio/shared/contract/miner-job';
import { startStubMiner, type StubMiner } from '@studio/shared/testing/stub-miner';
import { attemptStates, WorkerRig, type Json } from './worker.rig';

jest.setTimeout(60_000);

const TIMEOUT_MS = 10_000;

let rig: WorkerRig;

// One hedge per job may be afforded, after a tenth of T_max: budget and times are domain/hedging.spec.ts's.
beforeAll(async () => (rig = await WorkerRig.open({ hedgeBudget: 1, hedgeDefaultShare: 0.1 })));
afterAll(() => rig?.close());
afterEach(() => rig.clear());

/** Two miners, of which the one that is asked first answers as `slow` does and the other as `quick`. */
async function useTwo(slow: StubMiner['answer'], quick: StubMiner['answer']): Promise<void> {
  await rig.useMiners(2);
  for (const miner of rig.miners) miner.answer = (request) => (request.attempt === 1 ? slow(request) : quick(request));
}

const asked = (attempt: number): StubMiner | undefined =>
  rig.miners.find((miner) => miner.asked.some((request) => request.attempt === attempt));

async function runJob(): Promise<Json> {
  await rig.startWorker();
  return rig.finished(await rig.addJob({ timeoutMs: TIMEOUT_MS }));
}

async function untilCancelled(miner: StubMiner, id: string): Promise<void> {
  while (!miner.cancelled.includes(id)) await new Promise((resolve) => setTimeout(resolve, 20));
}

describe('a hedge', () => {
  it('brings the result when the first miner hangs, which is cancelled and not charged', async () => {
    await useTwo(() => 'hang', rig.works);
    const job = await runJob();
    expect(attemptStates(job)).toEqual(['superseded', 'accepted']);
    expect(job.attempts).toMatchObject([
      { hedge: false, blame: 'none', reason: 'another attempt was first' },
      { hedge: true, hotkey: asked(2)!.hotkey },
    ]);
    await untilCancelled(asked(1)!, job.id);
    const [start, hedged, end] = [job.attempts[0].sent_at, job.attempts[1].sent_at, job.finished_at].map(Date.parse);
    process.stdout.write(
      `hedging: the first miner hangs from 0 ms; the second is asked after ${hedged! - start!} ms and brings the result ` +
        `after ${end! - start!} ms, where T_max is ${TIMEOUT_MS} ms\n`,
    );
  });

  it('brings the result when the first miner accepted the job and stays silent', async () => {
    await useTwo(() => ({ status: 202 }), rig.works);
    const job = await runJob();
    expect(attemptStates(job)).toEqual(['superseded', 'accepted']);
    await untilCancelled(asked(1)!, job.id);
  });

  it('that is slower than the first miner after all is cancelled without blame', async () => {
    let release: (() => void) | undefined;
    const hedged = new Promise<void>((resolve) => (release = resolve));
    await useTwo(
      async (request) => (await hedged, rig.works(request)),
      () => (release!(), 'hang'),
    );
    const job = await runJob();
    expect(attemptStates(job)).toEqual(['accepted', 'superseded']);
    expect(job.attempts[1]).toMatchObject({ hedge: true, blame: 'none' });
    await untilCancelled(asked(2)!, job.id);
  });

  it('that fails costs the job nothing: the first miner goes on', async () => {
    let release: (() => void) | undefined;
    const hedged = new Promise<void>((resolve) => (release = resolve));
    await useTwo(
      async (request) => (await hedged, rig.works(request)),
      () => (release!(), { status: 500 }),
    );
    expect(attemptStates(await runJob())).toEqual(['accepted', 'failed']);
  });

  it('may win by callback, and the late callback of the first is refused', async () => {
    await useTwo(
      () => ({ status: 202 }),
      () => ({ status: 202 }),
    );
    await rig.startWorker();
    const id = await rig.addJob({ timeoutMs: TIMEOUT_MS });
    const requests = new Map<number, MinerJobRequest>();
    while (requests.size < 2) {
      for (const request of rig.miners.flatMap((miner) => miner.asked)) requests.set(request.attempt, request);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect((await rig.callback(requests.get(2)!)).status).toBe(200);
    expect(attemptStates(await rig.finished(id))).toEqual(['superseded', 'accepted']);
    expect((await rig.callback(requests.get(1)!)).status).toBe(409);
    await untilCancelled(asked(1)!, id);
  });

  it('gives one result and one accepted attempt when both answer at the same time', async () => {
    let release: (() => void) | undefined;
    const hedged = new Promise<void>((resolve) => (release = resolve));
    await useTwo(
      async (request) => (await hedged, rig.works(request)),
      (request) => (release!(), rig.works(request)),
    );
    expect(attemptStates(await runJob()).sort()).toEqual(['accepted', 'superseded']);
  });

  it('is not sent where only one miner may do the job', async () => {
    await useTwo(() => 'hang', rig.works);
    await rig.startWorker();
    const [only] = rig.miners;
    const id = await rig.addJob({ timeoutMs: 1_500, deadlineMs: 3_000, routing: { onlyHotkey: only!.hotkey } });
    const job = await rig.finished(id);
    expect(job.attempts.every(({ hedge, hotkey }: Json) => !hedge && hotkey === only!.hotkey)).toBe(true);
  });
});

describe('blame', () => {
  it('is the network’s when the only miner cannot be reached, and the job waits for it', async () => {
    const [miner] = await rig.useMiners(1);
    const { endpoint } = miner!.routable;
    miner!.routable.endpoint = await nobodysEndpoint();
    rig.announce();
    await rig.startWorker();
    const id = await rig.addJob({ timeoutMs: 20_000 });
    while ((await failures(id)).length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    miner!.routable.endpoint = endpoint;
    rig.announce();
    const job = await rig.finished(id);
    expect(job.state).toBe('succeeded');
    expect(job.attempts[0]).toMatchObject({ state: 'failed', blame: 'network' });
  });

  it('is the miner’s when others can be reached', async () => {
    const [dead] = await rig.useMiners(2);
    await rig.startWorker();
    // One each: the turns see to it.
    await Promise.all([await rig.addJob(), await rig.addJob()].map((id) => rig.finished(id)));
    dead!.routable.endpoint = await nobodysEndpoint();
    rig.announce();
    const ids = await Promise.all(Array.from({ length: 4 }, () => rig.addJob()));
    const jobs = await Promise.all(ids.map((id) => rig.finished(id)));
    const failed = jobs.flatMap((job) => job.attempts).filter(({ state }: Json) => state === 'failed');
    expect(jobs.every(({ state }) => state === 'succeeded')).toBe(true);
    expect(failed.length).toBeGreaterThan(0);
    expect(failed.every(({ blame }: Json) => blame === 'miner')).toBe(true);
  });
});

/** Where a server was a moment ago. */
async function nobodysEndpoint(): Promise<string> {
  const gone = await startStubMiner('gone');
  await gone.close();
  return gone.routable.endpoint;
}

async function failures(id: string): Promise<unknown[]> {
  return rig.db.query(`SELECT 1 FROM studio.attempts WHERE job_id = $1 AND state = 'failed'`, [id]);
}
