/** How the miner presents itself, refuses, and keeps its connections. */
import type { MinerCapacity } from '@studio/shared/contract/miner-job';
import type { JobKind } from '@studio/shared/domain/job';
import { ENGINES, JOB_KINDS, findTaskKind } from '@studio/shared/domain/task-kinds';
import { Client } from 'undici';
import { type Check, Skip, demand } from './check';
import { type Answer, type NativeProbe, excerpt } from './native-probe';
import { testJob } from './test-jobs';

/** The orchestrator sends at most 256 KiB of JSON. */
const LARGE_BODY_BYTES = 300 * 1024;
const LARGE_HEADER_BYTES = 64 * 1024;
const REQUESTS_ON_ONE_CONNECTION = 3;

const health: Check<NativeProbe> = {
  name: 'health',
  requirement: 'GET /v1/health answers 200 with JSON, to anybody.',
  async run(probe) {
    const { status, body } = await probe.get('v1/health');
    demand(status === 200 && parse(body) !== undefined, `${status} ${excerpt(body)}`, 'answer 200 {"status":"ok"}');
  },
};

const capacity: Check<NativeProbe> = {
  name: 'capacity',
  requirement: 'GET /v1/capacity lists engines and slots by kind, and they are those registered.',
  async run(probe) {
    const { status, body } = await probe.get('v1/capacity');
    const kinds = (parse(body) as Partial<MinerCapacity> | undefined)?.kinds;
    const shape = '{"kinds":{"lora-training":{"engines":["ref-sep-v1"],"slots":1}}}';
    demand(status === 200 && kinds !== undefined, `${status} ${excerpt(body)}`, `answer 200 ${shape}`);
    const entries = Object.entries(kinds);
    demand(entries.length > 0, 'it lists no kind', 'list every kind that this miner does');
    for (const [kind, offer] of entries) {
      const known = JOB_KINDS.some((name) => name === kind);
      demand(known, `it lists the kind ${kind}`, `the kinds are ${JOB_KINDS.join(' and ')}`);
      const engines = Array.isArray(offer?.engines) ? offer.engines : [];
      const right = engines.length > 0 && engines.every((engine) => ENGINES.includes(engine)) && offer.slots >= 1;
      demand(right, `${kind}: ${JSON.stringify(offer)}`, `engines are ${ENGINES.join(' or ')}, and slots at least 1`);
    }
    return compareWithRegistration(probe, kinds);
  },
};

function compareWithRegistration(probe: NativeProbe, kinds: MinerCapacity['kinds']): string {
  const { registered } = probe.target;
  const own = Object.entries(kinds)
    .flatMap(([kind, { engines, slots }]) => engines.map((engine) => `${kind} on ${engine}: ${slots}`))
    .sort();
  if (!registered) return `${own.join(', ')} (not compared: no REGISTRY_URL)`;
  const there = registered.map(({ kind, engine, slots }) => `${kind} on ${engine}: ${slots}`).sort();
  demand(
    own.join() === there.join(),
    `it offers ${own.join(', ')}; registered is ${there.join(', ')}`,
    'register again: restart the miner with REGISTRY_URL, or run `register`',
  );
  return `${own.join(', ')}, as registered`;
}

function outOfRange(kind: JobKind, field: string, beyond: (limits: Limits) => number): Check<NativeProbe> {
  return {
    name: `${kind}-limits`,
    requirement: `A ${kind} beyond the published limits is refused with 422 that names the field.`,
    async run(probe) {
      const { engine } = await probe.offer(kind);
      const limits = findTaskKind(kind, engine)!.limits;
      const answer = await probe.post(await testJob(probe, kind, { input: { [field]: beyond(limits) } }));
      demandFields(answer, field, `refuse input.${field} = ${beyond(limits)} (docs: limits of ${engine})`);
    },
  };
}

type Limits = NonNullable<ReturnType<typeof findTaskKind>>['limits'];

const unknownEngine: Check<NativeProbe> = {
  name: 'unknown-engine',
  requirement: 'A job on an engine that the miner does not offer is refused with 422 that names the field.',
  async run(probe) {
    const kind = await anyKind(probe);
    const job = await testJob(probe, kind);
    const request = { ...job.request, engine: 'none' };
    const answer = await probe.signed('POST', 'v1/jobs', JSON.stringify(request));
    demandFields(answer, 'engine', 'refuse engines other than those in GET /v1/capacity');
  },
};

const keepAlive: Check<NativeProbe> = {
  name: 'keep-alive',
  requirement: 'One connection serves many requests: setting up each anew costs latency.',
  async run(probe) {
    const client = new Client(new URL(probe.target.endpoint).origin);
    let connections = 0;
    client.on('connect', () => connections++);
    try {
      for (let i = 0; i < REQUESTS_ON_ONE_CONNECTION; i++) await probe.get('v1/health', client);
    } finally {
      await client.destroy();
    }
    demand(
      connections === 1,
      `${REQUESTS_ON_ONE_CONNECTION} requests took ${connections} connections`,
      'keep connections open (no `connection: close`; a proxy in front: keep-alive on)',
    );
  },
};

const largeBody: Check<NativeProbe> = {
  name: 'large-body',
  requirement: 'A body beyond 256 KiB is refused with 4xx, and the miner goes on.',
  async run(probe) {
    const body = JSON.stringify({ filler: 'x'.repeat(LARGE_BODY_BYTES) });
    await demandPolite(probe, () => probe.signed('POST', 'v1/jobs', body), 'bodies at 256 KiB, with 413');
  },
};

const largeHeader: Check<NativeProbe> = {
  name: 'large-header',
  requirement: 'A header of 64 KiB is refused with 4xx, and the miner goes on.',
  async run(probe) {
    const headers = { 'x-filler': 'x'.repeat(LARGE_HEADER_BYTES) };
    await demandPolite(probe, () => probe.get('v1/health', undefined, headers), 'headers at some 16 KiB, with 431');
  },
};

async function demandPolite(probe: NativeProbe, ask: () => Promise<Answer>, limit: string): Promise<void> {
  const answer = await ask().catch((error: Error) => error);
  if (answer instanceof Error) {
    demand(
      false,
      `the connection ended without a reply (${answer.message})`,
      `limit ${limit}, and answer before closing`,
    );
  }
  demand(answer.status >= 400 && answer.status < 500, `it was answered ${answer.status}`, `limit ${limit}`);
  const { status } = await probe.get('v1/health');
  demand(status === 200, `afterwards GET /v1/health answers ${status}`, 'survive it');
}

function demandFields(answer: Answer, field: string, change: string): void {
  demand(answer.status === 422, `it was answered ${answer.status} ${excerpt(answer.body)}`, `${change} with 422`);
  const fields = (parse(answer.body) as { error?: { fields?: { path?: unknown }[] } } | undefined)?.error?.fields ?? [];
  const named = fields.some(({ path }) => typeof path === 'string' && path.split('.').includes(field));
  demand(named, `422 ${excerpt(answer.body)}`, `name the field: {"error":{"message","fields":[{"path":"…${field}"}]}}`);
}

/** @throws Skip where the miner offers nothing. */
export async function anyKind(probe: NativeProbe): Promise<JobKind> {
  for (const kind of JOB_KINDS) {
    const offer = await probe.offer(kind).catch(() => undefined);
    if (offer) return kind;
  }
  throw new Skip('the miner offers nothing');
}

function parse(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString());
  } catch {
    return undefined;
  }
}

export const MANNERS_CHECKS: readonly Check<NativeProbe>[] = [
  health,
  capacity,
  outOfRange('lora-training', 'steps', ({ steps }) => steps[1] + 1),
  outOfRange('lora-inference', 'num_images', ({ numImages }) => numImages[1] + 1),
  unknownEngine,
  keepAlive,
  largeBody,
  largeHeader,
];
