import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { type AddressInfo, type Server, type Socket, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import pino from 'pino';
import type { RenderWork, TrainingWork } from '../craft';
import { render, train } from '../engine-worker';
import type { CommandJob } from './command-job';
import { type ChosenEngine, type EngineSettings, createCraft } from './engine-choice';
import { EngineEnv } from './env';
import { WORK_DIR_VARIABLE, WorkFolders } from './work-folders';

// The example compiles TypeScript as it starts, on machines that may be doing much else.
jest.setTimeout(60_000);

const NODE = process.execPath;
const ROOT = join(__dirname, '../../../..');
const TYPESCRIPT = [
  '--conditions=studio-src',
  '--require',
  join(ROOT, 'libs/shared/src/testing/typescript-threads.cjs'),
];
const EXAMPLE = JSON.stringify([NODE, ...TYPESCRIPT, join(ROOT, 'clients/miner/examples/ref-sep-program.cjs')]);
const NEVER = new AbortController().signal;

let folder: string;
let lines: Record<string, unknown>[];
let wake: () => void;
let doorbell: Server;
const visitors: Socket[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'command-'));
  [lines, wake] = [[], () => undefined];
  doorbell = createServer((socket) => {
    visitors.push(socket.on('error', () => undefined));
    wake();
  });
  doorbell.listen(0, '127.0.0.1');
  await once(doorbell, 'listening');
});

afterEach(async () => {
  for (const visitor of visitors.splice(0)) visitor.destroy();
  doorbell.close();
  await rm(folder, { recursive: true, force: true });
});

/** The miner's log, which tells the test as well that something happened. */
const log = () =>
  pino(
    { level: 'debug' },
    new Writable({
      write(chunk: Buffer, _, done) {
        lines.push(JSON.parse(chunk.toString()) as Record<string, unknown>);
        wake();
        done();
      },
    }),
  );

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise<void>((resolve) => (wake = resolve));
}

async function engine(over: Partial<EngineSettings>): Promise<ChosenEngine> {
  const env = Object.assign(new EngineEnv(), {
    MINER_SLOTS_TRAINING: 1,
    MINER_SLOTS_INFERENCE: 1,
    MINER_DATA_DIR: folder,
    MINER_ENGINE: 'command' as const,
    ...over,
  });
  return createCraft(env, { filename: 'unused' }, log());
}

/** Runs a script of the test; `ring()` opens a connection that stays as long as the process that rang. */
function script(body: string): string {
  const { port } = doorbell.address() as AddressInfo;
  const prelude = `
    const { readFileSync, writeFileSync, writeSync } = require('node:fs');
    const { spawn } = require('node:child_process');
    const ring = () => new Promise((done) => { const s = require('node:net').connect(${port}, '127.0.0.1', () => done(s)); });
    const read = () => JSON.parse(readFileSync(0, 'utf8'));`;
  return JSON.stringify([NODE, '-e', `${prelude}\n(async () => { ${body} })();`]);
}

const trainer = async (body: string, over: Partial<EngineSettings> = {}) =>
  (await engine({ MINER_COMMAND_TRAIN: script(body), ...over })).craft;

function training(over: Partial<TrainingWork> = {}): TrainingWork {
  const rgb = Uint8Array.from({ length: 16 * 16 * 3 }, (_, i) => (i * 7) % 256);
  return { image: { rgb, width: 16, height: 16 }, steps: 5, rank: 2, seed: 1, timeoutMs: 50_000, ...over };
}

function rendering(over: Partial<RenderWork> = {}): RenderWork {
  const lora = Buffer.from('any');
  return {
    lora,
    prompt: 'p',
    width: 32,
    height: 16,
    seeds: [3, 4],
    loraScale: 0.9,
    warp: 0.5,
    timeoutMs: 50_000,
    ...over,
  };
}

/** A `.safetensors` with one number. */
const HEADER = '{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}';
const WRITE_LORA = `
  const header = Buffer.from(${JSON.stringify(HEADER)}), length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  writeFileSync(job.output.lora, Buffer.concat([length, header, Buffer.alloc(4)]));`;

const leftBehind = () => readdir(join(folder, 'work'));

describe('a program as an engine', () => {
  it('trains and renders to the same bits as the built-in engine, through stdin and files', async () => {
    const {
      craft,
      kinds,
      engine: name,
    } = await engine({
      MINER_COMMAND_TRAIN: EXAMPLE,
      MINER_COMMAND_RENDER: EXAMPLE,
      MINER_COMMAND_ENGINE: 'ref-sep-v1',
    });
    expect([name, kinds]).toEqual(['ref-sep-v1', ['lora-training', 'lora-inference']]);
    const lora = await craft.train(training(), NEVER);
    expect(Buffer.from(lora)).toEqual(Buffer.from(await train(training())));
    const images = await craft.render(rendering({ lora }), NEVER);
    const expected = render(rendering({ lora }));
    expect(images.map(({ rgb }) => Buffer.from(rgb))).toEqual(expected.map(({ rgb }) => Buffer.from(rgb)));
    expect(lines).toContainEqual(expect.objectContaining({ kind: 'lora-training', done: 5, all: 5 }));
    expect(await leftBehind()).toEqual([]);
  });

  it('is told its job and its files, and nothing of the key', async () => {
    const seen = join(folder, 'seen.json');
    jest.replaceProperty(process, 'env', { PATH: '/usr/bin', MINER_SEED: '11'.repeat(32), HF_TOKEN: 'x', SECRET: 'y' });
    const body = `const job = read(); ${WRITE_LORA}
      const image = readFileSync(job.input.image).subarray(1, 4).toString();
      writeFileSync(${JSON.stringify(seen)}, JSON.stringify({ job, env: process.env, image, cwd: process.cwd() }));`;
    const craft = await trainer(body, { MINER_COMMAND_PASS_ENV: 'HF_TOKEN' });
    jest.restoreAllMocks();
    await craft.train(training(), NEVER);
    const { job, env, image, cwd } = JSON.parse(await readFile(seen, 'utf8')) as {
      job: CommandJob & { kind: 'lora-training' };
      env: Record<string, string>;
      image: string;
      cwd: string;
    };
    const { [WORK_DIR_VARIABLE]: work } = env;
    expect(env).toEqual({ PATH: '/usr/bin', HF_TOKEN: 'x', TMPDIR: work, [WORK_DIR_VARIABLE]: work });
    expect(job).toEqual({
      version: 1,
      kind: 'lora-training',
      engine: 'flux',
      timeout_ms: 50_000,
      input: { image: `${work}/image.png`, resolution: 16, steps: 5, rank: 2, seed: 1 },
      output: { lora: `${work}/lora.safetensors` },
    });
    expect([image, cwd]).toEqual(['PNG', process.cwd()]);
  });

  it('is told the seeds and the files of a rendering, in order', async () => {
    const seen = join(folder, 'seen.json');
    const body = `writeFileSync(${JSON.stringify(seen)}, JSON.stringify(read()))`;
    const { craft, kinds } = await engine({ MINER_COMMAND_RENDER: script(body) });
    expect(kinds).toEqual(['lora-inference']);
    await expect(craft.render(rendering(), NEVER)).rejects.toThrow(/image_0\.png is not there/);
    const job = JSON.parse(await readFile(seen, 'utf8')) as CommandJob & { kind: 'lora-inference' };
    expect(job.input).toMatchObject({ prompt: 'p', seeds: [3, 4], lora_scale: 0.9, warp: 0.5, width: 32, height: 16 });
    expect(job.output.images.map((path) => path.split('/').at(-1))).toEqual(['image_0.png', 'image_1.png']);
  });

  it('works on two jobs at once, each in a folder of its own', async () => {
    const craft = await trainer(
      `const job = read(); ${WRITE_LORA} await new Promise((go) => ring().then((s) => s.on('end', go))); process.exit(0);`,
    );
    const both = [1, 2].map((seed) => craft.train(training({ seed }), NEVER));
    await until(() => visitors.length === 2);
    expect(await leftBehind()).toHaveLength(2);
    for (const visitor of visitors) visitor.end();
    expect(await Promise.all(both)).toHaveLength(2);
    expect(await leftBehind()).toEqual([]);
  });
});

describe('a program that fails', () => {
  it('is quoted with the last line of its stderr, and the log has the rest', async () => {
    const craft = await trainer(
      `console.error('Traceback:\\n  in train\\n\\u001b[31mValueError: no GPU\\u001b[0m\\n'); process.exit(3);`,
    );
    await expect(craft.train(training(), NEVER)).rejects.toThrow(/ exited with 3: ValueError: no GPU$/);
    expect(lines.at(-1)).toMatchObject({ level: 40, stderr: 'Traceback:\n  in train\nValueError: no GPU\n\n' });
    expect(await leftBehind()).toEqual([]);
  });

  it('may say as much as it likes on both outputs: what is kept is bounded', async () => {
    const craft = await trainer(`
      for (let i = 0; i < 200; i++) { writeSync(2, 'x'.repeat(65536)); writeSync(1, 'y'.repeat(65536)); }
      writeSync(2, '\\nthe end\\n'); process.exit(1);`);
    await expect(craft.train(training(), NEVER)).rejects.toThrow(/exited with 1: the end$/);
    expect((lines.at(-1)!.stderr as string).length).toBe(16 * 1024);
  });

  it('is named when it was killed, with what that usually means', async () => {
    const craft = await trainer(`process.kill(process.pid, 'SIGKILL'); await new Promise(() => {});`);
    await expect(craft.train(training(), NEVER)).rejects.toThrow(/was ended by SIGKILL \(out of memory\?\)/);
  });

  it('is named when there is no such program', async () => {
    const { craft } = await engine({ MINER_COMMAND_TRAIN: 'no-such-program --fast' });
    await expect(craft.train(training(), NEVER)).rejects.toThrow(
      'no-such-program cannot be started: there is no such program: give its full path',
    );
    expect(await leftBehind()).toEqual([]);
  });

  it.each([
    ['writes nothing', '', /exited with 0, but .*lora\.safetensors is not there/],
    ['writes an empty file', `writeFileSync(job.output.lora, '')`, /is empty/],
    ['writes garbage', `writeFileSync(job.output.lora, Buffer.alloc(4096, 0xff))`, /no \.safetensors file: its header/],
    ['writes another format', `writeFileSync(job.output.lora, Buffer.alloc(64))`, /its header is no JSON object/],
    [
      'is torn',
      `${WRITE_LORA} const b = readFileSync(job.output.lora); writeFileSync(job.output.lora, b.subarray(0, -1))`,
      /need 4 bytes, and it has 3/,
    ],
  ])('is refused what it wrote when it %s', async (_, body, message) => {
    const craft = await trainer(`const job = read(); ${body}`);
    await expect(craft.train(training(), NEVER)).rejects.toThrow(message);
    expect(await leftBehind()).toEqual([]);
  });

  it('is refused images of another size', async () => {
    const body = `const job = read();
      require(${JSON.stringify(require.resolve('sharp'))})({ create: { width: 32, height: 32, channels: 3, background: 'red' } })
        .png().toFile(job.output.images[0]);`;
    const { craft } = await engine({ MINER_COMMAND_RENDER: script(body) });
    await expect(craft.render(rendering({ seeds: [1] }), NEVER)).rejects.toThrow(
      /MINER_COMMAND_RENDER wrote: .*it is 32×32, not the 32×16/,
    );
  });

  it('may leave its job unread', async () => {
    const { craft } = await engine({ MINER_COMMAND_RENDER: script('process.exit(9)') });
    const long = rendering({ prompt: 'x'.repeat(1024 * 1024) });
    await expect(craft.render(long, NEVER)).rejects.toThrow(/exited with 9: it said nothing on stderr/);
  });

  it('is refused a kind that it has no program for', async () => {
    const { craft } = await engine({ MINER_COMMAND_RENDER: script('') });
    await expect(craft.train(training(), NEVER)).rejects.toThrow('set MINER_COMMAND_TRAIN to the program that does');
  });
});

describe('a program that does not end', () => {
  const HANGS = `process.on('SIGTERM', () => {}); await ring(); await new Promise(() => {});`;

  it('is asked to, and has its time for it', async () => {
    const note = join(folder, 'note');
    const body = `process.on('SIGTERM', () => { writeFileSync(${JSON.stringify(note)}, 'saved'); process.exit(0); });
      await ring(); await new Promise(() => {});`;
    const craft = await trainer(body, { MINER_COMMAND_GRACE_MS: 30_000 });
    const cancelled = new AbortController();
    const job = craft.train(training(), cancelled.signal);
    await until(() => visitors.length === 1);
    cancelled.abort('cancelled');
    await expect(job).rejects.toBe('cancelled');
    expect(await readFile(note, 'utf8')).toBe('saved');
    expect(await leftBehind()).toEqual([]);
  });

  it('is killed when it does not listen, and its slot is not free before', async () => {
    const craft = await trainer(HANGS, { MINER_COMMAND_GRACE_MS: 50 });
    const cancelled = new AbortController();
    const job = craft.train(training(), cancelled.signal);
    await until(() => visitors.length === 1);
    const gone = once(visitors[0]!.resume(), 'close');
    cancelled.abort('cancelled');
    await expect(job).rejects.toBe('cancelled');
    await gone;
    expect(await leftBehind()).toEqual([]);
  });

  it('is killed when the time of the job is over', async () => {
    const craft = await trainer(HANGS, { MINER_COMMAND_GRACE_MS: 0 });
    await expect(craft.train(training({ timeoutMs: 300 }), NEVER)).rejects.toThrow('not done within its 300 ms');
  });

  it('takes with it what it started', async () => {
    const child = script(HANGS);
    const craft = await trainer(
      `const [program, ...args] = ${child}; spawn(program, args, { stdio: 'inherit' }); ${HANGS}`,
      {
        MINER_COMMAND_GRACE_MS: 50,
      },
    );
    const cancelled = new AbortController();
    const job = craft.train(training(), cancelled.signal);
    await until(() => visitors.length === 2);
    const gone = visitors.map((visitor) => once(visitor.resume(), 'close'));
    cancelled.abort('cancelled');
    await expect(job).rejects.toBe('cancelled');
    await Promise.all(gone);
  });

  it('is not what a job waits for, when the program itself has ended and left it behind', async () => {
    const child = script(`await ring(); process.send('up'); await new Promise(() => {});`);
    const craft = await trainer(`const job = read(); ${WRITE_LORA}
      const [program, ...args] = ${child};
      const left = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
      left.on('message', () => process.exit(0));`);
    const job = craft.train(training(), NEVER);
    await until(() => visitors.length === 1);
    const gone = once(visitors[0]!.resume(), 'close');
    expect(Buffer.from(await job).toString()).toContain(HEADER);
    await gone;
  });

  it('is killed with a miner that ends without waiting', async () => {
    const [program, ...args] = JSON.parse(script(HANGS)) as string[];
    const run = { argv: [program, ...args], env: {}, input: '', graceMs: 1_000 };
    const source = `const { runProgram } = require(${JSON.stringify(join(__dirname, 'program-run.ts'))});
      void runProgram({ ...${JSON.stringify(run)}, onLine() {} }, new AbortController().signal);
      process.stdin.on('data', () => process.exit(70));`;
    const miner = spawn(NODE, [...TYPESCRIPT, '-e', source], { stdio: ['pipe', 'inherit', 'inherit'], cwd: ROOT });
    await until(() => visitors.length === 1);
    const gone = once(visitors[0]!.resume(), 'close');
    miner.stdin.write('end\n');
    await Promise.all([once(miner, 'exit'), gone]);
  });
});

describe('what a killed miner left behind', () => {
  const onLinux = process.platform === 'linux' ? it : it.skip;

  onLinux('is ended and removed when the next one starts, and what belongs to a living one is not', async () => {
    const dead = spawn(NODE, ['-e', '0']);
    await once(dead, 'exit');
    const root = join(folder, 'work');
    const [orphaned, living] = [join(root, `${dead.pid}-a`), join(root, `${process.ppid}-b`)];
    const programs = [orphaned, living].map(async (work) => {
      await mkdir(work, { recursive: true });
      const [program, ...args] = JSON.parse(script(`await ring(); await new Promise(() => {});`)) as string[];
      return spawn(program!, args, { env: { [WORK_DIR_VARIABLE]: work }, stdio: 'ignore' });
    });
    const [first, second] = await Promise.all(programs);
    await until(() => visitors.length === 2);
    const gone = once(first!, 'exit');
    await WorkFolders.open(root);
    expect(await gone).toEqual([null, 'SIGKILL']);
    expect(await readdir(root)).toEqual([`${process.ppid}-b`]);
    expect(second!.exitCode ?? second!.signalCode).toBeNull();
    second!.kill('SIGKILL');
    await once(second!, 'exit');
  });
});
