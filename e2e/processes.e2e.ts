/** Processes come and go under load, as a cluster replaces and scales them, and the servers that they need go away and return. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { JobView } from '@studio/shared/contract/job-view';
import { imagePart } from '@studio/shared/contract/miner-job';
import type { JobKind } from '@studio/shared/domain/job';
import { DEMO_POLICY, type Policy } from '@studio/shared/domain/policy';
import { until } from '@studio/shared/testing/registry-ground';
import { someAdapter } from '@studio/shared/testing/some-adapter';
import { resultForm, signedCallback, type StubMiner } from '@studio/shared/testing/stub-miner';
import sharp from 'sharp';
import { health, ProcessRig, ROLES, type Role, type Running } from './process-rig';

jest.setTimeout(180_000);

const POLICY: Policy = {
  ...DEMO_POLICY,
  version: 9_101,
  // Nobody is asked twice for being slow: what is asked twice here was lost by us.
  routing: { ...DEMO_POLICY.routing, hedgeBudget: 0 },
  audit: { ...DEMO_POLICY.audit, probationJobs: 0, baseRate: 0, trustedRate: 0, floorPerEpoch: 0 },
};
const COUNTS: Record<Role, number> = { registry: 1, auditor: 1, api: 2, worker: 2 };
/** Longer than an inference, shorter than a training: those are handed on. */
const GRACE_MS = 1_500;
const INFERENCE_MS = 300;
const TRAINING_MS = 4_000;
/** Clients that each wait for one job after the other. */
const CLIENTS = 8;
const TRAINING_CLIENTS = 4;

let rig: ProcessRig;
let loraUrl: string;
let photo: string;

beforeAll(async () => {
  photo = `data:image/png;base64,${(await noise()).toString('base64')}`;
  rig = await ProcessRig.open(POLICY, { WORKER_GRACE_MS: String(GRACE_MS), WORKER_CONCURRENCY: '32', SWEEP_MS: '200' });
  await Promise.all(ROLES.flatMap((role) => Array.from({ length: COUNTS[role] }, () => rig.start(role))));
  for (const name of ['ann', 'bob', 'cleo']) await rig.enter(name, 16, works);
  ({ url: loraUrl } = await rig.api.upload(someAdapter(4, 64), 'application/octet-stream'));
});
afterAll(() => rig?.close());

function noise(): Promise<Buffer> {
  const gaussian = { type: 'gaussian' as const, mean: 128, sigma: 40 };
  return sharp({ create: { width: 64, height: 64, channels: 3, background: '#000', noise: gaussian } })
    .png()
    .toBuffer();
}

/** Renders while the request is open; trains while it is open too, or says 202 and calls back, by turns. */
function works(miner: StubMiner): StubMiner['answer'] {
  /** The stored result of an attempt, as the contract asks for it: a repeated request joins the running one. */
  const begun = new Map<string, Promise<FormData>>();
  return async (request) => {
    const key = `${request.job_id} ${request.attempt}`;
    const isTraining = request.kind === 'lora-training';
    const made = begun.get(key) ?? sleep(isTraining ? TRAINING_MS : INFERENCE_MS).then(() => formOf(request));
    const isNew = !begun.has(key);
    begun.set(key, made);
    if (!isTraining || request.input.seed % 2 === 0) return { status: 200, form: await made };
    if (isNew) void made.then((form) => deliver(request, form, miner));
    return { status: 202 };
  };
}

/** Another picture each time: the same one twice would be looked into by audits. */
const formOf = async (request: Parameters<StubMiner['answer']>[0]): Promise<FormData> =>
  request.kind === 'lora-training'
    ? resultForm(request, { lora: someAdapter(request.input && 'rank' in request.input ? request.input.rank : 4, 64) })
    : resultForm(request, { [imagePart(0)]: await noise() });

/** Until somebody takes it, as a miner does. */
async function deliver(request: Parameters<StubMiner['answer']>[0], form: FormData, miner: StubMiner): Promise<void> {
  for (let n = 0; n < 50; n += 1) {
    const { headers, body } = await signedCallback(request, form, miner.key);
    const status = await fetch(request.callback.url, { method: 'POST', headers, body: new Uint8Array(body) }).then((reply) => reply.status, () => 0); // prettier-ignore
    if (status !== 0 && status < 500) return;
    await sleep(200);
  }
}

/** Hands in one job after the other until told to stop. @returns their last views. */
async function client(n: number, goOn: () => boolean): Promise<JobView[]> {
  const jobs: JobView[] = [];
  while (goOn()) {
    const seed = jobs.length * CLIENTS + n;
    const common = { engine: 'ref-sep-v1' } as const;
    const body =
      n < TRAINING_CLIENTS
        ? { ...common, kind: 'lora-training' as const, input: { image_url: photo, steps: 10, rank: 4, seed } }
        : { ...common, kind: 'lora-inference' as const, input: { lora_url: loraUrl, prompt: 'x', width: 64, height: 64, seed } }; // prettier-ignore
    const { id } = await rig.api.submit(body, randomUUID());
    jobs.push(await rig.api.finished(id));
  }
  return jobs;
}

it('loses nothing, asks nobody twice, and ends every process in order, when each of every service is replaced', async () => {
  let goOn = true;
  const clients = Array.from({ length: CLIENTS }, (_, n) => client(n, () => goOn));
  const exits: [Role, number | null, number][] = [];
  for (const role of ROLES) {
    for (const old of rig.of(role)) {
      await rig.start(role);
      // The load is on it before the next one goes.
      await sleep(300);
      if (role === 'worker') await until(() => holdsTraining(old));
      const begunMs = performance.now();
      exits.push([role, await rig.stop(old), performance.now() - begunMs]);
    }
  }
  goOn = false;
  const jobs = (await Promise.all(clients)).flat();
  const ended = exits.map(([role, code, ms]) => `${role} ${code} in ${Math.round(ms)} ms`).join(', ');
  process.stdout.write(`${jobs.length} jobs while every process was replaced: ${ended}\n`);

  if (exits.some(([, code]) => code !== 0))
    throw new Error(`not every process ended in order:\n${rig.errors.join('')}`);
  expect(new Set(jobs.map(({ state }) => state))).toEqual(new Set(['succeeded']));
  expect(jobs.length).toBeGreaterThan(100);
  // A training longer than a worker's patience is joined by the next worker: the same attempt, not another.
  expect(jobs.filter(({ attempts }) => attempts.length > 1).map(({ attempts }) => attempts)).toEqual([]);
  const ids = jobs.map(({ id }) => id);
  expect(handedOn('lora-training')).toBeGreaterThan(0);
  expect(handedOn('lora-inference')).toBe(0);
  await until(async () => (await awarded(ids)) === ids.length);
  const { rows } = await rig.owner.query<{ awards: string; seqs: string; last: string }>(
    `SELECT (SELECT count(*) FROM studio.ledger WHERE type = 'award' AND job_id = ANY($1)) AS awards,
            (SELECT count(*) FROM studio.score_events) AS seqs, (SELECT max(seq) FROM studio.score_events) AS last`,
    [ids],
  );
  expect(Number(rows[0]!.awards)).toBe(ids.length);
  expect(rows[0]!.seqs).toBe(rows[0]!.last);
});

/** As deploy/k8s scales workers: 0.7 of what each may hold. */
const SMALL = { WORKER_CONCURRENCY: '8' };
const WANTED_PER_WORKER = 0.7 * 8;

/** What the autoscaler reads, over a second as it does over its period. */
async function demandOfLate(): Promise<number> {
  let sum = 0;
  for (let n = 0; n < 5; n += 1) {
    sum += await demandNow();
    await sleep(200);
  }
  return sum / 5;
}

async function demandNow(): Promise<number> {
  const text = await (await fetch(`${rig.of('api')[0]!.url}/metrics`)).text();
  return Number(/^studio_worker_demand(?:\{[^}]*\})? (\d+)/m.exec(text)![1]);
}

it('follows the load from one worker to four and back by the metric alone, and loses nothing by it', async () => {
  for (const old of rig.of('worker')) await rig.stop(old);
  await rig.start('worker', SMALL);
  for (const miner of rig.miners) miner.asked.length = 0;
  const rows: string[] = [];
  const jobs: JobView[] = [];
  for (const [clients, workers] of [
    [3, 1],
    [28, 4],
    [3, 1],
  ] as const) {
    let goOn = true;
    const load = Array.from({ length: clients }, (_, n) => client(TRAINING_CLIENTS + n, () => goOn));
    await until(async () => {
      const demand = await demandOfLate();
      const now = rig.of('worker').length;
      const wanted = Math.min(4, Math.max(1, Math.ceil(demand / WANTED_PER_WORKER)));
      rows.push(`${clients} clients: demand ${demand}, ${now} workers, ${wanted} wanted`);
      if (wanted > now) await rig.start('worker', SMALL);
      else if (wanted < now) expect(await rig.stop(rig.of('worker')[0]!)).toBe(0);
      return rig.of('worker').length === workers && wanted === workers;
    });
    goOn = false;
    jobs.push(...(await Promise.all(load)).flat());
  }
  process.stdout.write(`${rows.join('\n')}\n${jobs.length} jobs while workers came and went\n`);
  expect(new Set(jobs.map(({ state }) => state))).toEqual(new Set(['succeeded']));
  expect(jobs.filter(({ attempts }) => attempts.length > 1)).toEqual([]);
  expect(handedOn('lora-inference')).toBe(0);
});

/** Whether this worker waits for a training that takes longer than its patience. */
async function holdsTraining({ process: { pid } }: Running): Promise<boolean> {
  const held = `SELECT 1 FROM studio.jobs j JOIN studio.attempts a ON a.job_id = j.id AND a.state = 'open'
                 WHERE j.kind = 'lora-training' AND j.state = 'running' AND j.worker LIKE '%-' || $1::text
                   AND (j.input->>'seed')::bigint % 2 = 0
                   AND a.sent_at > studio.now() - interval '1 s'`;
  return (await rig.owner.query(held, [pid])).rowCount !== 0;
}

/** Attempts that a second worker took up: it sends the same request again, and the miner joins it to the one that runs. */
function handedOn(kind: JobKind): number {
  const asked = rig.miners.flatMap((miner) => miner.asked.filter((request) => request.kind === kind));
  return asked.length - new Set(asked.map(({ job_id, attempt }) => `${job_id} ${attempt}`)).size;
}

/** Whether every process answers so. */
async function all(what: 'live' | 'ready', status: number): Promise<boolean> {
  const answers = await Promise.all(rig.running.map((each) => health(each, what)));
  return answers.every((answer) => answer === status);
}

it.each(['postgres', 'nats'] as const)(
  'is not ready while %s is away, is not restarted for it, and goes on when it is back',
  async (store) => {
    const body = { kind: 'lora-inference', engine: 'ref-sep-v1', input: { lora_url: loraUrl, prompt: store, width: 64, height: 64 } } as const; // prettier-ignore
    expect(await all('ready', 200)).toBe(true);
    const before = await rig.api.submit(body, randomUUID());
    rig.edges[store].cut();
    await until(() => all('ready', 503));
    expect(await all('live', 200)).toBe(true);
    rig.edges[store].heal();
    await until(() => all('ready', 200));
    expect((await rig.api.finished(before.id)).state).toBe('succeeded');
    const { id } = await rig.api.submit(body, randomUUID());
    expect((await rig.api.finished(id)).state).toBe('succeeded');
  },
);

it('is ready and does jobs while Redis is away', async () => {
  const body = { kind: 'lora-inference', engine: 'ref-sep-v1', input: { lora_url: loraUrl, prompt: 'redis', width: 64, height: 64 } } as const; // prettier-ignore
  rig.edges.redis.cut();
  const { id } = await rig.api.submit(body, randomUUID());
  expect((await rig.api.finished(id)).state).toBe('succeeded');
  expect([await all('ready', 200), await all('live', 200)]).toEqual([true, true]);
  rig.edges.redis.heal();
});

async function awarded(ids: string[]): Promise<number> {
  const { rows } = await rig.owner.query<{ jobs: string }>(
    'SELECT count(DISTINCT job_id) AS jobs FROM studio.ledger WHERE job_id = ANY($1)',
    [ids],
  );
  return Number(rows[0]!.jobs);
}
