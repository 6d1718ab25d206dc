/** Jobs over time: repeated, too many, cancelled, too late, and an orchestrator that is not there. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { JobKind } from '@studio/shared/domain/job';
import { JOB_KINDS } from '@studio/shared/domain/task-kinds';
import { verifyRequest } from '@studio/shared/protocol/signatures';
import { type Check, Skip, demand } from './check';
import { anyKind } from './native-manners';
import type { Answer, NativeProbe, TestJob } from './native-probe';
import { givenResult } from './native-results';
import { testJob } from './test-jobs';

/** More long jobs at once than this would trouble the machine that is tested. */
const MOST_SLOTS = 16;
const DUPLICATES = 4;
/** How long a slot may take to be free again after a cancel or a deadline, and to fill at first. */
const SETTLE_MS = 5_000;
const POLL_MS = 100;
const SHORT_TIMEOUT_MS = 1_000;

const repeatStored: Check<NativeProbe> = {
  name: 'repeat-stored',
  requirement: 'A finished (job, attempt) that is asked for again gets the stored result: 200 and the same bytes.',
  async run(probe) {
    const all = await Promise.all(JOB_KINDS.map((kind) => givenResult(probe, kind).catch(() => undefined)));
    const results = all.filter((done) => done !== undefined);
    if (results.length === 0) throw new Skip('there is no result to ask for again');
    for (const done of results) {
      const { kind } = done.job.request;
      const again = await probe.post(done.job);
      demand(
        again.status === 200 && again.body.equals(done.body),
        `${kind}: the repeat was answered ${again.status} with ${again.body.equals(done.body) ? 'the same' : 'other'} bytes`,
        'keep every result under job_id + attempt for three hours, and answer repeats from there: no second run',
      );
    }
  },
};

const duplicatesJoin: Check<NativeProbe> = {
  name: 'duplicates-join',
  requirement: 'Equal requests at the same time join one run: one result, at most one callback.',
  async run(probe) {
    const job = await testJob(probe, await anyKind(probe), { variant: 1 });
    const answers = await Promise.all(Array.from({ length: DUPLICATES }, () => probe.post(job)));
    const { timeout_ms } = job.request;
    const seen = `${DUPLICATES} equal requests were answered ${answers.map(({ status }) => status).join(', ')}`;
    const change = 'decide by job_id + attempt before anything is awaited';
    demand(
      answers.every(({ status }) => status === 200 || status === 202),
      seen,
      change,
    );
    const bodies = answers.filter(({ status }) => status === 200).map(({ body }) => body);
    if (answers.some(({ status }) => status === 202)) {
      const callback = await job.awaited.arrival(1, timeout_ms);
      if (callback) bodies.push(callback.body);
    }
    const last = await probe.post(job);
    if (last.status === 200) bodies.push(last.body);
    demand(
      bodies.every((body) => body.equals(bodies[0]!)),
      `${seen}, with different results`,
      change,
    );
    demand(job.awaited.arrivals.length <= 1, `${job.awaited.arrivals.length} callbacks came`, change);
  },
};

/** Takes every slot of a kind with long jobs, and one more. */
async function overfill(probe: NativeProbe, kind: JobKind, slots: number, timeoutMs?: number): Promise<Flood> {
  const jobs: TestJob[] = [];
  for (let i = 0; i < slots; i++)
    jobs.push(await testJob(probe, kind, { long: true, ...(timeoutMs && { timeoutMs }) }));
  const answers: (Answer | undefined)[] = jobs.map(() => undefined);
  const all = jobs.map(async (job, i) => {
    answers[i] = await probe.post(job).catch(() => undefined);
  });
  return { jobs, answers, all: Promise.all(all).then(() => undefined) };
}

interface Flood {
  jobs: TestJob[];
  /** By job; undefined while there is none. */
  answers: (Answer | undefined)[];
  all: Promise<void>;
}

/** The first kind whose slots can be filled. */
async function fillable(probe: NativeProbe): Promise<{ kind: JobKind; slots: number }> {
  const kind = await anyKind(probe);
  const { slots } = await probe.offer(kind);
  if (slots > MOST_SLOTS) throw new Skip(`${slots} slots are too many to fill: try with ${MOST_SLOTS} at most`);
  return { kind, slots };
}

const busy: Check<NativeProbe> = {
  name: 'busy',
  requirement: 'As many jobs as slots are taken; the next is answered 429 at once.',
  async run(probe) {
    const { kind, slots } = await fillable(probe);
    const flood = await overfill(probe, kind, slots + 1);
    try {
      await until(probe, () => flood.answers.some((answer) => answer?.status === 429));
    } finally {
      await Promise.all(flood.jobs.map((job) => probe.cancel(job).catch(() => undefined)));
    }
    await Promise.race([flood.all, sleep(settleMsOf(probe))]);
    const statuses = flood.answers.map((answer) => answer?.status ?? 'nothing');
    if (statuses.includes(200)) throw new Skip(`the longest ${kind} ended before the slots were full`);
    const refused = statuses.filter((status) => status === 429).length;
    const seen = `of ${slots + 1} jobs for ${slots} ${kind} slots, ${refused} were answered 429 (all: ${statuses.join(', ')})`;
    demand(refused === 1, seen, 'take as many as GET /v1/capacity says, and refuse the rest with 429 without queueing');
  },
};

const cancels: Check<NativeProbe> = {
  name: 'cancel',
  requirement: 'DELETE /v1/jobs/{id} ends the job: 200, its slot is free, and no callback comes.',
  async run(probe) {
    const { kind, slots } = await fillable(probe);
    const flood = await overfill(probe, kind, slots);
    const statuses: number[] = [];
    for (const job of flood.jobs) statuses.push(await cancelled(probe, job));
    demand(
      statuses.every((status) => status >= 200 && status < 300),
      `DELETE of a running job was answered ${statuses.join(', ')}`,
      'end the work and answer 200',
    );
    await demandFree(probe, kind, 'DELETE', 'stop the engine when a job is cancelled, and free the slot');
    const called = flood.jobs.filter(({ awaited }) => awaited.arrivals.length > 0).length;
    demand(called === 0, `${called} cancelled jobs called back`, 'say nothing of cancelled jobs');
  },
};

/** The request may still be on its way in: asked again until it is known. */
async function cancelled(probe: NativeProbe, job: TestJob): Promise<number> {
  let status = 404;
  await until(probe, async () => (status = (await probe.cancel(job)).status) !== 404);
  return status;
}

const deadline: Check<NativeProbe> = {
  name: 'deadline',
  requirement: 'A job ends when its timeout_ms is over: the slot is free, nothing comes late.',
  async run(probe) {
    const { kind, slots } = await fillable(probe);
    const flood = await overfill(probe, kind, slots, SHORT_TIMEOUT_MS);
    await sleep(SHORT_TIMEOUT_MS);
    try {
      await demandFree(
        probe,
        kind,
        `${SHORT_TIMEOUT_MS} ms`,
        'stop the engine when timeout_ms is over, and free the slot',
      );
    } finally {
      await Promise.all(flood.jobs.map((job) => probe.cancel(job).catch(() => undefined)));
    }
  },
};

/** A small job is taken soon. */
async function demandFree(probe: NativeProbe, kind: JobKind, after: string, change: string): Promise<void> {
  let status = 429;
  await until(probe, async () => {
    const job = await testJob(probe, kind);
    status = (await probe.post(job)).status;
    if (status === 202) await job.awaited.arrival(1, job.request.timeout_ms);
    return status !== 429;
  });
  const seen = `${settleMsOf(probe)} ms after ${after} a new job is answered ${status}`;
  demand(status === 200 || status === 202, seen, change);
}

const callbackRetried: Check<NativeProbe> = {
  name: 'callback-retried',
  requirement: 'A callback that is answered 503 is sent again, signed afresh, until it is taken.',
  async run(probe) {
    const job = await testJob(probe, await anyKind(probe), { statuses: [503, 503] });
    const { status } = await probe.post(job);
    if (status === 200) throw new Skip('this miner answers at once');
    const { timeout_ms } = job.request;
    const first = await job.awaited.arrival(1, timeout_ms);
    if (!first) throw new Skip('no callback came at all: see lora-training');
    const third = await job.awaited.arrival(3, timeout_ms);
    const change = 'send it again after a pause that grows, while the job has time left';
    demand(third !== undefined, `after two 503 it was sent ${job.awaited.arrivals.length} times, not 3`, change);
    const nonces = new Set(job.awaited.arrivals.map(({ headers }) => headers['x-studio-nonce']));
    const verdict = verifyRequest({ ...third, nowMs: third.atMs, recipient: probe.target.hotkey.address });
    const fresh = nonces.size === job.awaited.arrivals.length && verdict.ok;
    demand(fresh, 'the repeated callback has the signature of the first', 'sign every try: new nonce, new timestamp');
  },
};

function settleMsOf({ target }: NativeProbe): number {
  return target.settleMs ?? SETTLE_MS;
}

/** Polls, because the miner is another process: until it holds or has not for as long as things may take to settle. */
async function until(probe: NativeProbe, holds: () => boolean | Promise<boolean>): Promise<void> {
  const over = AbortSignal.timeout(settleMsOf(probe));
  while (!(await holds()) && !over.aborted) await sleep(POLL_MS);
}

export const FLOW_CHECKS: readonly Check<NativeProbe>[] = [
  repeatStored,
  duplicatesJoin,
  busy,
  cancels,
  deadline,
  callbackRetried,
];
