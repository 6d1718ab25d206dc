import { randomBytes, randomUUID } from 'node:crypto';
import { StallWatch } from '@studio/shared/platform/stall-watch';
import { resultForm, type StubMiner } from '@studio/shared/testing/stub-miner';
import sharp from 'sharp';
import { DispatchStore } from './dispatch.store';
import { attemptStates, noise, WorkerRig, type Json } from './worker.rig';

jest.setTimeout(60_000);

/** A T_max or a deadline that is waited for: short, and enough for a slow machine to ask a miner and check its answer. */
const SHORT_MS = 3_000;

let rig: WorkerRig;
let smallImage: Buffer;

beforeAll(async () => {
  [rig, smallImage] = await Promise.all([WorkerRig.open({ rampStart: 20 }), noise(16)]);
});
afterAll(() => rig?.close());
afterEach(() => rig.clear());

const accepts: StubMiner['answer'] = () => ({ status: 202 });
const small = (): Buffer => smallImage;

describe('a worker', () => {
  it('brings a job to a miner and its checked result to the client', async () => {
    const [miner] = await rig.useMiners(1);
    await rig.startWorker();
    const id = await rig.addJob();
    const job = await rig.finished(id);
    expect(job).toMatchObject({
      state: 'succeeded',
      attempts: [{ attempt: 1, state: 'accepted', hotkey: miner!.hotkey }],
    });
    expect(job.attempts[0].net_ms).toBeGreaterThan(0);
    const result = (await (
      await fetch(`${rig.api.url}/v1/jobs/${id}/result`, { headers: rig.headers })
    ).json()) as Json;
    const file = await fetch(result.images[0].url.replace('http://studio.test', rig.api.url));
    expect(
      await sharp(await file.arrayBuffer())
        .raw()
        .toBuffer(),
    ).toEqual(await sharp(rig.image).raw().toBuffer());
    expect(miner!.asked[0]).toMatchObject({ job_id: id, attempt: 1, timeout_ms: 10_000, input: { prompt: 'a cat' } });
  });

  it('spreads jobs fairly', async () => {
    // As many slots as jobs, all believed at once: turns alone decide, and they weigh both alike.
    const [one, other] = await rig.useMiners(2, rig.works, 20);
    await rig.startWorker();
    const ids = await Promise.all(Array.from({ length: 20 }, () => rig.addJob()));
    const jobs = await Promise.all(ids.map((id) => rig.finished(id)));
    // Attempts, not requests: on a machine that stands still for a second, a new lease asks the same pair again.
    const turns = ({ hotkey }: StubMiner): number =>
      jobs.flatMap(({ attempts }) => attempts).filter((attempt: Json) => attempt.hotkey === hotkey).length;
    expect([turns(one!), turns(other!)]).toEqual([10, 10]);
  });

  it.each<[string, StubMiner['answer'], string, RegExp]>([
    [
      'an image of another size',
      (r) => ({ status: 200, form: resultForm(r, { image_0: small() }) }),
      'invalid',
      /16×16/,
    ],
    ['garbage', (r) => ({ status: 200, form: resultForm(r, { image_0: randomBytes(500) }) }), 'invalid', /not a PNG/],
    ['no file', (r) => ({ status: 200, form: resultForm(r, {}) }), 'invalid', /image_0 is missing/],
    [
      'a file too many',
      (r) => ({ status: 200, form: resultForm(r, { image_0: rig.image, x: rig.image }) }),
      'invalid',
      /nobody asked/,
    ],
    ["another job's result", (r) => ({ status: 200, form: resultForm({ ...r, job_id: randomUUID() }, { image_0: rig.image }) }), 'invalid', /another job/], // prettier-ignore
    ['a plain 200', () => ({ status: 200 }), 'invalid', /not multipart/],
    ['that it failed', (r) => ({ status: 200, form: resultForm(r, {}, { status: 'failed', error: 'no\u0000 memory' }) }), 'failed', /no memory/], // prettier-ignore
    ['HTTP 422', () => ({ status: 422 }), 'failed', /HTTP 422/],
    ['HTTP 500', () => ({ status: 500 }), 'failed', /HTTP 500/],
  ])('takes a job to another miner when one answers with %s', async (_, answer, state, reason) => {
    const [first, second] = await rig.useMiners(2, answer);
    // Whoever is asked second does it right.
    const right: StubMiner['answer'] = (r) => (r.attempt === 1 ? answer(r) : rig.works(r));
    for (const miner of [first!, second!]) miner.answer = right;
    await rig.startWorker();
    const job = await rig.finished(await rig.addJob());
    expect(attemptStates(job)).toEqual([state, 'accepted']);
    expect(job.attempts[0]).toMatchObject({ blame: 'miner', reason: expect.stringMatching(reason) });
    expect(job.attempts[1].hotkey).not.toBe(job.attempts[0].hotkey);
  });

  it('fails a job with the reasons when nobody is left', async () => {
    await rig.useMiners(2, () => ({ status: 500 }));
    await rig.startWorker();
    const id = await rig.addJob();
    const job = await rig.finished(id);
    expect(job).toMatchObject({ state: 'failed', failure: { code: 'JOB_FAILED' } });
    expect(job.failure.message).toMatch(/attempt 1 .*HTTP 500.*attempt 2 .*HTTP 500/);
    const result = await fetch(`${rig.api.url}/v1/jobs/${id}/result`, { headers: rig.headers });
    expect(result.status).toBe(500);
  });

  it('does not charge a busy miner, and asks again', async () => {
    const [miner] = await rig.useMiners(1);
    miner!.answer = (request) => (miner!.asked.length < 5 ? { status: 429 } : rig.works(request));
    await rig.startWorker();
    const job = await rig.finished(await rig.addJob());
    expect(job.state).toBe('succeeded');
    expect(job.attempts.slice(0, -1).every((a: Json) => a.state === 'busy' && a.blame === 'none')).toBe(true);
    expect(job.attempts).toHaveLength(5);
  });

  it('gives a slow miner its time, then the job to another', async () => {
    await rig.useMiners(2);
    for (const miner of rig.miners) miner.answer = (request) => (request.attempt === 1 ? 'hang' : rig.works(request));
    await rig.startWorker();
    const [stalls, sinceMs] = [new StallWatch(), performance.now()];
    stalls.start();
    const job = await rig.finished(await rig.addJob({ timeoutMs: SHORT_MS, deadlineMs: 10 * SHORT_MS }));
    expect(attemptStates(job)).toEqual(['timeout', 'accepted']);
    // Where this process stood still for a second, that excuses the miner.
    const isExcused = stalls.longestMs(sinceMs, performance.now()) > 500;
    stalls.stop();
    expect(isExcused ? 'miner' : job.attempts[0].blame).toBe('miner');
  });

  it('asks the same miner again where only that one may do the job', async () => {
    const [miner, other] = await rig.useMiners(2);
    miner!.routable.trusted = true;
    rig.announce();
    miner!.answer = (request) => (request.attempt < 3 ? { status: 500 } : rig.works(request));
    await rig.startWorker();
    const job = await rig.finished(await rig.addJob({ routing: { onlyHotkey: miner!.hotkey } }));
    expect(attemptStates(job)).toEqual(['failed', 'failed', 'accepted']);
    expect(other!.asked).toHaveLength(0);
    expect((await rig.finished(await rig.addJob())).attempts[0].hotkey).toBe(other!.hotkey);
  });

  it('fails a job at once that nobody may do any more', async () => {
    await rig.useMiners(1);
    await rig.startWorker();
    const job = await rig.finished(await rig.addJob({ routing: { onlyHotkey: 'gone' } }));
    expect(job.failure).toMatchObject({ code: 'NO_ELIGIBLE_MINER' });
  });

  it('that is killed leaves its attempt to another, which asks the same pair again', async () => {
    const [miner] = await rig.useMiners(1);
    let release: (() => void) | undefined;
    const running = new Promise<void>((resolve) => (release = resolve));
    miner!.answer = async (request) => (await running, rig.works(request));
    // Claimed and sent by a worker of which nothing is left but its rows.
    const store = new DispatchStore(rig.db, 'killed', () => undefined);
    const id = await rig.addJob();
    const [claimed] = await store.claim(10, 1, new Map());
    await store.openAttempt({
      jobId: id,
      leaseNo: claimed!.leaseNo,
      attemptNo: 1,
      hotkey: miner!.hotkey,
      operator: 'o',
      hedge: false,
      dialect: 'native',
      callbackHash: '00',
    });
    await rig.startWorker();
    const asked = await miner!.askedTimes(1);
    expect(asked).toMatchObject({ job_id: id, attempt: 1 });
    release!();
    const job = await rig.finished(id);
    expect(attemptStates(job)).toEqual(['accepted']);
    const [attempt] = await rig.db.query('SELECT void FROM studio.attempts WHERE job_id = $1', [id]);
    expect(attempt.void).toBe(true);
  });

  it('hands its jobs over when it is told to end', async () => {
    const [miner] = await rig.useMiners(1, accepts);
    let asked = 0;
    miner!.answer = (request) => (++asked === 1 ? 'hang' : rig.works(request));
    const first = await rig.startWorker();
    const id = await rig.addJob({ timeoutMs: 60_000 });
    await miner!.askedTimes(1);
    await first.close();
    rig.workers = [];
    await rig.startWorker();
    expect(attemptStates(await rig.finished(id))).toEqual(['accepted']);
    expect(miner!.asked.map(({ attempt }) => attempt)).toEqual([1, 1]);
  });
});

describe('losing every database connection', () => {
  it('costs time, not the result', async () => {
    const [miner] = await rig.useMiners(1);
    const cut = (): Promise<unknown> =>
      rig.owner.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE datname = current_database() AND application_name LIKE 'querier-%'`);
    miner!.answer = async (request) => {
      if (miner!.asked.length === 1) await cut();
      return rig.works(request);
    };
    await rig.startWorker();
    const id = await rig.addJob();
    await miner!.askedTimes(1);
    expect(await rig.finished(id)).toMatchObject({ state: 'succeeded', attempts: [{ state: 'accepted' }] });
    expect(new Set(miner!.asked.map(({ attempt }) => attempt))).toEqual(new Set([1]));
  });
});

describe('a claim', () => {
  it('takes no more queued jobs of a lane than have a free slot, the oldest first, and all of a lane without bound', async () => {
    await rig.useMiners(0);
    const store = new DispatchStore(rig.db, 'claimer', () => undefined);
    const anyone = [await rig.addJob(), await rig.addJob(), await rig.addJob()];
    const named = [
      await rig.addJob({ routing: { onlyHotkey: 'h' } }),
      await rig.addJob({ routing: { onlyHotkey: 'h' } }),
    ];
    const unknown = [await rig.addJob({ engine: 'flux' }), await rig.addJob({ engine: 'flux' })];
    const lane = 'lora-inference|ref-sep-v1';
    const claimed = async (anyones: number, his: number): Promise<string[]> => {
      const jobs = await store.claim(100, 60_000, new Map([[lane, anyones], [`${lane}|h`, his]])); // prettier-ignore
      return jobs.map(({ id }) => id).sort();
    };
    expect(await claimed(2, 0)).toEqual([anyone[0], anyone[1], ...unknown].sort());
    expect(await claimed(0, 1)).toEqual([named[0]]);
    expect(await claimed(5, 5)).toEqual([anyone[2], named[1]].sort());
  });
});

describe('a lease', () => {
  it('that was lost writes nothing', async () => {
    await rig.useMiners(0);
    const stale = new DispatchStore(rig.db, 'stale', () => undefined);
    const fresh = new DispatchStore(rig.db, 'fresh', () => undefined);
    const id = await rig.addJob();
    const [old] = await stale.claim(10, 0, new Map());
    const [current] = await fresh.claim(10, 60_000, new Map());
    expect(current).toMatchObject({ id, leaseNo: old!.leaseNo + 1 });
    const attempt = {
      jobId: id,
      attemptNo: 1,
      hotkey: 'h',
      operator: 'o',
      hedge: false,
      dialect: 'native',
      callbackHash: '00',
    } as const;
    const end = { jobId: id, attemptNo: 1, state: 'failed', blame: 'miner', reason: 'r', next: { move: 'release', wakeMs: 0 } } as const; // prettier-ignore
    expect(await stale.openAttempt({ ...attempt, leaseNo: old!.leaseNo })).toBe(false);
    expect(await fresh.openAttempt({ ...attempt, leaseNo: current!.leaseNo })).toBe(true);
    expect(await stale.endAttempt({ ...end, leaseNo: old!.leaseNo })).toBe(false);
    expect(await stale.awaitCallback(id, old!.leaseNo, 1_000)).toBe(false);
    expect(await stale.renew([{ id, leaseNo: old!.leaseNo }], 1_000)).toEqual([id]);
    expect(await fresh.renew([{ id, leaseNo: current!.leaseNo }], 60_000)).toEqual([]);
    const [row] = await rig.db.query('SELECT state, attempt_no FROM studio.jobs WHERE id = $1', [id]);
    expect(row).toEqual({ state: 'running', attempt_no: 1 });
  });
});

describe('a callback', () => {
  it('brings the result of an accepted job', async () => {
    const [miner] = await rig.useMiners(1, accepts);
    await rig.startWorker();
    const id = await rig.addJob();
    const request = await miner!.askedTimes(1);
    await rig.untilState(id, 'awaiting-callback');
    const reply = await rig.callback(request, resultForm(request, { image_0: rig.image }));
    expect([reply.status, await reply.json()]).toEqual([200, { accepted: true }]);
    expect(await rig.finished(id)).toMatchObject({ state: 'succeeded', attempts: [{ raw_ms: expect.any(Number) }] });
  });

  it('may overtake the 202', async () => {
    const [miner] = await rig.useMiners(1);
    miner!.answer = async (request) => {
      await rig.callback(request, resultForm(request, { image_0: rig.image }));
      return { status: 202 };
    };
    await rig.startWorker();
    expect(attemptStates(await rig.finished(await rig.addJob()))).toEqual(['accepted']);
  });

  it('with a bad result may overtake the 202, and the job goes on', async () => {
    await rig.useMiners(2);
    for (const miner of rig.miners) {
      miner.answer = async (request) => {
        if (request.attempt > 1) return rig.works(request);
        await rig.callback(request, resultForm(request, { image_0: small() }));
        return { status: 202 };
      };
    }
    await rig.startWorker();
    expect(attemptStates(await rig.finished(await rig.addJob()))).toEqual(['invalid', 'accepted']);
  });

  it('with a wrong secret changes nothing', async () => {
    const [miner] = await rig.useMiners(1, accepts);
    await rig.startWorker();
    const id = await rig.addJob();
    const request = await miner!.askedTimes(1);
    await rig.untilState(id, 'awaiting-callback');
    const form = (): FormData => resultForm(request, { image_0: rig.image });
    expect((await rig.callback(request, form(), 'wrong')).status).toBe(401);
    expect((await rig.callback({ ...request, callback: { ...request.callback, url: `http://studio.test/miners/callback/${randomUUID()}/1` } }, form())).status).toBe(401); // prettier-ignore
    await rig.untilState(id, 'awaiting-callback');
    expect((await rig.callback(request, form())).status).toBe(200);
  });

  it('that is repeated a hundred times counts once', async () => {
    const [miner] = await rig.useMiners(1, accepts);
    await rig.startWorker();
    const id = await rig.addJob();
    const request = await miner!.askedTimes(1);
    const replies = await Promise.all(
      Array.from({ length: 100 }, () => rig.callback(request, resultForm(request, { image_0: rig.image }))),
    );
    expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([200, 409]));
    expect((await rig.callback(request, resultForm(request, { image_0: rig.image }))).status).toBe(200);
    expect(attemptStates(await rig.finished(id))).toEqual(['accepted']);
  });

  it('with an invalid result sends the job to another miner', async () => {
    await rig.useMiners(2, accepts);
    await rig.startWorker();
    const id = await rig.addJob();
    const first = await Promise.race(rig.miners.map((miner) => miner.askedTimes(1)));
    for (const miner of rig.miners) miner.answer = rig.works;
    const reply = await rig.callback(first, resultForm(first, { image_0: small() }));
    expect(await reply.json()).toMatchObject({ accepted: false, reason: expect.stringMatching(/16×16/) });
    expect(attemptStates(await rig.finished(id))).toEqual(['invalid', 'accepted']);
  });

  it('that never comes is a timeout, and comes too late afterwards', async () => {
    await rig.useMiners(2, (request) => (request.attempt === 1 ? { status: 202 } : rig.works(request)));
    await rig.startWorker();
    const id = await rig.addJob({ timeoutMs: SHORT_MS, deadlineMs: 10 * SHORT_MS });
    const first = await Promise.race(rig.miners.map((miner) => miner.askedTimes(1)));
    expect(attemptStates(await rig.finished(id))).toEqual(['timeout', 'accepted']);
    expect((await rig.callback(first, resultForm(first, { image_0: rig.image }))).status).toBe(409);
  });
});

describe('the end of a job', () => {
  it('by cancelling reaches the miner, and is not held against it', async () => {
    const [miner] = await rig.useMiners(1, accepts);
    await rig.startWorker();
    const id = await rig.addJob();
    const request = await miner!.askedTimes(1);
    await rig.untilState(id, 'awaiting-callback');
    const cancelled = await fetch(`${rig.api.url}/v1/jobs/${id}/cancel`, { method: 'POST', headers: rig.headers });
    expect(cancelled.status).toBe(202);
    const job = await rig.finished(id);
    expect(job).toMatchObject({ state: 'cancelled', attempts: [{ state: 'cancelled', blame: 'none' }] });
    expect((await rig.callback(request, resultForm(request, { image_0: rig.image }))).status).toBe(409);
    expect(miner!.cancelled).toEqual([id]);
  });

  it('comes at its deadline', async () => {
    await rig.useMiners(1, () => 'hang');
    await rig.startWorker();
    const id = await rig.addJob({ timeoutMs: 20_000, deadlineMs: SHORT_MS });
    const job = await rig.finished(id);
    expect(job).toMatchObject({ state: 'expired', failure: { code: 'JOB_EXPIRED' } });
    expect(job.attempts).toMatchObject([{ state: 'timeout', blame: 'none' }]);
    expect((await fetch(`${rig.api.url}/v1/jobs/${id}/result`, { headers: rig.headers })).status).toBe(504);
  });

  it('leaves a bystander alone', async () => {
    const [bystander] = await rig.db.query(`SELECT * FROM studio.jobs WHERE state = 'succeeded' LIMIT 1`);
    await expect(rig.db.query(`UPDATE studio.jobs SET worker = 'x' WHERE id = $1`, [bystander.id])).rejects.toThrow(
      'final',
    );
  });
});
