import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MinerJobRequest } from '@studio/shared/contract/miner-job';
import { hotkeyFromSeed } from '@studio/shared/protocol/hotkey';
import pino from 'pino';
import { minerEnv } from '../env';
import { type Miner, startMiner } from '../miner';
import type { ProfileName } from '../profiles';
import { CallbackListener } from './callback-listener';
import { type Check, type Finding, runChecks } from './check';
import { ADMISSION_CHECKS } from './native-admission';
import { NATIVE_CHECKS } from './native-checks';
import { FILE_CHECKS } from './native-files';
import { FLOW_CHECKS } from './native-flow';
import { MANNERS_CHECKS } from './native-manners';
import { NativeProbe, type NativeTarget } from './native-probe';
import { RESULT_CHECKS } from './native-results';
import { type Quirk, json, replaced, rewrapped, startQuirkyMiner } from './quirks';

// Real threads that compile TypeScript as they start, on machines that may be doing much else.
jest.setTimeout(120_000);

const hotkey = hotkeyFromSeed('11'.repeat(32));
const orchestrator = hotkeyFromSeed('22'.repeat(32));
const threads = {
  filename: join(__dirname, '../engine-worker.ts'),
  execArgv: [
    '--conditions=studio-src',
    '--require',
    join(__dirname, '../../../../libs/shared/src/testing/typescript-threads.cjs'),
  ],
};

/** For all that asks only for small jobs, as many at once as tests run: they wait for each other more than they compute. */
let shared: StartedMiner;

interface StartedMiner {
  miner: Miner;
  close(): Promise<void>;
}

async function start(variables: Record<string, string> = {}): Promise<StartedMiner> {
  const folder = await mkdtemp(join(tmpdir(), 'conformance-'));
  const env = minerEnv({
    MINER_SEED: '11'.repeat(32),
    MINER_PORT: '0',
    MINER_DATA_DIR: folder,
    MINER_SLOTS_INFERENCE: '2',
    MINER_ORCHESTRATOR: orchestrator.address,
    ...variables,
  });
  const miner = await startMiner({ env, hotkey, threads, log: pino({ level: 'silent' }) });
  return { miner, close: () => miner.close().then(() => rm(folder, { recursive: true })) };
}

/** A miner for one test, gone with it: a job that it still works on would take the processor from the others. */
async function withMiner<T>(variables: Record<string, string>, use: (miner: Miner) => Promise<T>): Promise<T> {
  const { miner, close } = await start(variables);
  return use(miner).finally(close);
}

beforeAll(async () => {
  shared = await start({ MINER_SLOTS_TRAINING: '8', MINER_SLOTS_INFERENCE: '8' });
});
afterAll(() => shared.close());

async function findings(
  endpoint: string,
  checks: readonly Check<NativeProbe>[] = NATIVE_CHECKS,
  target: Partial<NativeTarget> = {},
): Promise<Finding[]> {
  const listener = await CallbackListener.open('127.0.0.1', 0);
  const probe = new NativeProbe({ endpoint, hotkey, patienceMs: 20_000, ...target }, listener);
  try {
    return await runChecks(checks, probe);
  } finally {
    await probe.close();
    await listener.close();
  }
}

const url = ({ port }: Miner): string => `http://127.0.0.1:${port}`;
const failed = (all: Finding[]): string[] => all.filter(({ result }) => result === 'fail').map(({ name }) => name);

async function failedWith(
  quirk: Quirk,
  checks: readonly Check<NativeProbe>[],
  { miner = shared.miner, ...target }: Partial<NativeTarget> & { miner?: Miner } = {},
): Promise<string[]> {
  const quirky = await startQuirkyMiner(url(miner), hotkey, quirk);
  try {
    return failed(await findings(quirky.url, checks, target));
  } finally {
    await quirky.close();
  }
}

const named = (...names: string[]): Check<NativeProbe>[] => NATIVE_CHECKS.filter(({ name }) => names.includes(name));

describe('the reference miner', () => {
  it.concurrent('keeps the whole contract, and no check is skipped', async () => {
    const registered = [
      { kind: 'lora-training' as const, engine: 'ref-sep-v1' as const, slots: 1 },
      { kind: 'lora-inference' as const, engine: 'ref-sep-v1' as const, slots: 2 },
    ];
    const all = await withMiner({}, (miner) => findings(url(miner), NATIVE_CHECKS, { registered }));
    expect(all.filter(({ result }) => result !== 'pass')).toEqual([]);
    expect(all).toHaveLength(NATIVE_CHECKS.length);
  });

  it.concurrent('keeps it behind a proxy that changes nothing', async () => {
    const quick = [...MANNERS_CHECKS, ...ADMISSION_CHECKS, ...RESULT_CHECKS, ...FILE_CHECKS];
    expect(await failedWith({ callbacks: {} }, quick)).toEqual([]);
  });

  it.concurrent('that takes jobs from anybody is told so, and not failed', async () => {
    const checks = named('unsigned-refused', 'stranger-refused');
    const all = await withMiner({ MINER_ORCHESTRATOR: '' }, (miner) => findings(url(miner), checks));
    expect(all.map(({ result }) => result)).toEqual(['skip', 'skip']);
  });
});

const on422 = (from: string, to: string): Quirk['reply'] => {
  return (message) => (message.status === 422 ? replaced(message, from, to) : message);
};
const notFound = json(404, {});

describe('a miner without manners fails exactly', () => {
  it.concurrent.each<[string, Quirk, string]>([
    [
      'whose health is no JSON',
      {
        reply: (message, _, path) =>
          path === '/v1/health' && message.status === 200 ? { ...message, body: Buffer.from('fine') } : message,
      },
      'health',
    ],
    [
      'that offers unknown kinds',
      { reply: (message) => replaced(message, '"kinds":{', '"kinds":{"video":{"engines":["ref-sep-v1"],"slots":1},') },
      'capacity',
    ],
    [
      'that offers unknown engines',
      {
        reply: (message, _, path) =>
          path === '/v1/capacity' ? replaced(message, '["ref-sep-v1"]', '["ref-sep-v1","sd15"]') : message,
      },
      'capacity',
    ],
    ['that does not name a field of a training', { reply: on422('steps', 'field') }, 'lora-training-limits'],
    ['that does not name a field of an inference', { reply: on422('num_images', 'field') }, 'lora-inference-limits'],
    ['that does not name the engine', { reply: on422('"engine"', '"motor"') }, 'unknown-engine'],
    ['that closes its connections', { closesConnections: true }, 'keep-alive'],
    ['that cuts large bodies', { cuts: 'bodies' }, 'large-body'],
    ['that cuts large headers', { cuts: 'headers' }, 'large-header'],
  ])('where it should: %s', async (_, quirk, name) => {
    expect(await failedWith(quirk, MANNERS_CHECKS)).toEqual([name]);
  });

  it.concurrent('where it should: that is registered with other slots', async () => {
    const registered = [{ kind: 'lora-training' as const, engine: 'ref-sep-v1' as const, slots: 7 }];
    expect(failed(await findings(url(shared.miner), MANNERS_CHECKS, { registered }))).toEqual(['capacity']);
  });

  it.concurrent('everything where nobody answers', async () => {
    const all = await findings('http://127.0.0.1:9', named('health', 'keep-alive'));
    expect(all).toMatchObject([{ result: 'fail' }, { result: 'fail' }]);
  });
});

describe('a miner that does not look who asks fails exactly', () => {
  it.concurrent.each<[string, Quirk, string[]]>([
    ['unsigned requests', { tolerates: 'missing' }, ['unsigned-refused']],
    ['strangers', { tolerates: 'wrong-signer' }, ['stranger-refused']],
    ['requests for others', { tolerates: 'wrong-recipient' }, ['wrong-recipient-refused']],
    ['old requests', { tolerates: 'stale' }, ['stale-refused']],
    ['requests from the future', { tolerates: 'future' }, ['future-refused']],
    ['wrong signatures', { tolerates: 'bad-signature' }, ['changed-body-refused', 'other-path-refused']],
    ['replays', { tolerates: 'replayed' }, ['replay-refused']],
    ['nobody, and does not sign its refusals', { unsignedReplies: 422 }, ['refusals-signed']],
  ])('where it lets through: %s', async (_, quirk, names) => {
    expect(await failedWith(quirk, ADMISSION_CHECKS)).toEqual(names);
  });
});

const inForm = (from: string, to: string): Quirk => ({ callback: (message) => replaced(message, from, to) });
const trainingOnly =
  (change: (request: MinerJobRequest) => MinerJobRequest): Quirk['job'] =>
  (request) =>
    request.kind === 'lora-training' ? change(request) : request;

describe('a miner with wrong results fails exactly', () => {
  // The longest wait first: the others go on beside it.
  it.concurrent('where it should: profile slow', async () => {
    const target = { patienceMs: 10_000 };
    const all = await withMiner({ MINER_PROFILE: 'slow' }, (miner) => findings(url(miner), named('in-time'), target));
    expect(failed(all)).toEqual(['in-time']);
  });

  const seen = new Map<string, number>();
  const timesSeen = (request: MinerJobRequest): number => {
    const input = JSON.stringify(request.input);
    seen.set(input, (seen.get(input) ?? 0) + 1);
    return seen.get(input)!;
  };
  it.concurrent.each<[string, Quirk, string[]]>([
    [
      'fails its trainings',
      {
        job: trainingOnly((job) => ({
          ...job,
          input: { ...job.input, image: { url: 'http://127.0.0.1:9', sha256: 'ab'.repeat(32), bytes: 1 } },
        })),
      },
      ['lora-training'],
    ],
    ['names another attempt', inForm('"attempt":1', '"attempt":2'), ['lora-training']],
    [
      'accepts in other words',
      { reply: (message) => (message.status === 202 ? json(202, { ok: true }) : message) },
      ['acceptance'],
    ],
    ['does not sign what it accepts', { unsignedReplies: 202 }, ['acceptance']],
    ['does not sign its callbacks', { callbacks: { unsigned: true } }, ['callback-signed']],
    [
      'forgets the secret',
      { callback: ({ headers, ...rest }) => ({ ...rest, headers: { 'content-type': headers['content-type']! } }) },
      ['callback-signed'],
    ],
    ['does not sign its results', { unsignedReplies: 200 }, ['result-signed']],
    ['names the parts as it likes', inForm('name="lora"', 'name="LORA"'), ['part-names']],
    [
      'renders another size',
      { job: (job) => ('width' in job.input ? { ...job, input: { ...job.input, width: job.input.width + 1 } } : job) },
      ['png-size'],
    ],
    [
      'gives other results the second time',
      { job: (job) => (timesSeen(job) > 1 ? { ...job, input: { ...job.input, seed: 99 } } : job) },
      ['deterministic'],
    ],
  ])('where it should: it %s', async (_, quirk, names) => {
    expect(await failedWith(quirk, [...RESULT_CHECKS, ...FILE_CHECKS])).toEqual(names);
  });

  it.concurrent.each<[ProfileName, string[]]>([
    ['half-size', ['image-exact']],
    ['stale-lora', ['lora-exact']],
    ['dishonest', ['lora-exact', 'image-exact']],
    ['fewer-steps', ['lora-exact']],
    ['stale-image', ['image-exact', 'deterministic']],
    ['noise', ['image-exact']],
    ['empty', ['lora-valid', 'image-exact']],
    ['rescaled-lora', ['lora-exact']],
    ['garbage', ['lora-valid', 'png-size']],
  ])('where it should: profile %s', async (profile, names) => {
    const checks = [...RESULT_CHECKS, ...FILE_CHECKS];
    const all = await withMiner({ MINER_PROFILE: profile }, (miner) => findings(url(miner), checks));
    expect(failed(all)).toEqual(names);
  });

  it.concurrent('where it should: profile silent', async () => {
    const checks = [...RESULT_CHECKS, ...FILE_CHECKS];
    const target = { patienceMs: 1_000 };
    const all = await withMiner({ MINER_PROFILE: 'silent' }, (miner) => findings(url(miner), checks, target));
    expect(failed(all)).toEqual(['lora-inference', 'lora-training']);
    expect(all.filter(({ result }) => result === 'pass')).toEqual([]);
  });
});

describe('a miner that confuses its jobs fails exactly', () => {
  const isImages = (message: { body: Buffer }): boolean => message.body.includes('image_0');
  it.concurrent.each<[string, Quirk, string]>([
    // The longest wait first: the others go on beside it.
    ['calls back once', { callbacks: { once: true } }, 'callback-retried'],
    [
      'runs finished jobs again',
      { reply: (message) => (isImages(message) ? rewrapped(message) : message) },
      'repeat-stored',
    ],
    ['calls back twice', { callbacks: { twice: true } }, 'duplicates-join'],
    [
      'takes more than its slots',
      { reply: (message, _, path) => (message.status === 429 ? json(202, { path }) : message) },
      'busy',
    ],
    ['knows no cancel', { instead: (method) => (method === 'DELETE' ? notFound : undefined) }, 'cancel'],
    [
      'says it cancels',
      { instead: (method) => (method === 'DELETE' ? json(200, { cancelled: 1 }) : undefined) },
      'cancel',
    ],
    ['works on after the deadline', { job: (job) => ({ ...job, timeout_ms: job.timeout_ms + 60_000 }) }, 'deadline'],
    ['repeats its signature', { callbacks: { staleSignature: true } }, 'callback-retried'],
  ])('where it should: it %s', async (_, quirk, name) => {
    // What these leave behind takes the slots of the checks after them; and what never settles need not be given long.
    const unsettled = ['busy', 'cancel', 'deadline'].includes(name);
    const checks = unsettled ? named(name) : FLOW_CHECKS;
    // A callback that never comes again is awaited for the job's whole time.
    const target = unsettled ? { settleMs: 1_000 } : quirk.callbacks?.once ? { patienceMs: 6_000 } : {};
    expect(await withMiner({}, (miner) => failedWith(quirk, checks, { miner, ...target }))).toEqual([name]);
  });
});
