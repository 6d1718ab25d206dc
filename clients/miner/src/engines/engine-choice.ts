import { access, constants, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Engine, JobKind } from '@studio/shared/domain/job';
import { JOB_KINDS } from '@studio/shared/domain/task-kinds';
import type { Logger } from 'pino';
import type { Craft } from '../craft';
import { EnvError } from '../env';
import { type EngineThreads, RefSepCraft } from '../ref-sep-craft';
import { Automatic1111 } from './automatic1111';
import { CommandCraft, type Programs } from './command-craft';
import { readCommandLine } from './command-line';
import { ComfyUi } from './comfyui';
import { loadWorkflow } from './comfyui-workflow';
import { type EngineEnv, programEnv } from './env';
import { HttpCraft, type ImageServer } from './http-craft';
import { Exchange } from './http-exchange';
import { LoraFolder } from './lora-folder';
import { WorkFolders } from './work-folders';

/** Of the miner's environment, what an engine is made from. */
export interface EngineSettings extends EngineEnv {
  MINER_SLOTS_TRAINING: number;
  MINER_SLOTS_INFERENCE: number;
  MINER_DATA_DIR: string;
}

export interface ChosenEngine {
  craft: Craft;
  /** What the miner offers, for each of `kinds` that has slots. */
  engine: Engine;
  kinds: JobKind[];
  /** Ends what the engine runs (threads, programs, connections). The desk has ended the jobs before. */
  close(): Promise<void>;
}

/** Rendering takes some 20 ms: more threads than this would only take memory. */
const RENDER_THREADS = 2;
const BYTES_PER_GB = 1024 * 1024 * 1024;

/**
 * The craft that MINER_ENGINE names. Called once when the miner starts; `threads` says how the built-in engine's threads
 * are started. An image server that does not answer yet is a warning, not an end: it may start after the miner.
 *
 * @throws EnvError where a file or folder that a variable names is wrong.
 */
export async function createCraft(
  env: EngineSettings,
  threads: Omit<EngineThreads, 'maxThreads'>,
  log: Logger,
): Promise<ChosenEngine> {
  switch (env.MINER_ENGINE) {
    case 'ref-sep-v1': {
      const maxThreads = env.MINER_SLOTS_TRAINING + Math.min(env.MINER_SLOTS_INFERENCE, RENDER_THREADS);
      const craft = new RefSepCraft({ ...threads, maxThreads });
      return { craft, engine: 'ref-sep-v1', kinds: [...JOB_KINDS], close: () => craft.close() };
    }
    case 'http':
      return httpEngine(env, log);
    case 'command': {
      const { craft, kinds } = await commandCraft(env, log);
      return { craft, engine: env.MINER_COMMAND_ENGINE, kinds, close: async () => undefined };
    }
  }
}

async function httpEngine(env: EngineSettings, log: Logger): Promise<ChosenEngine> {
  await assertWritable(env.MINER_HTTP_LORA_DIR);
  const trains = env.MINER_COMMAND_TRAIN !== undefined;
  if (trains && env.MINER_COMMAND_ENGINE !== 'flux')
    throw new EnvError('MINER_COMMAND_ENGINE must be flux where MINER_COMMAND_TRAIN trains beside MINER_ENGINE=http');
  const exchange = new Exchange({
    name: env.MINER_HTTP_API === 'comfyui' ? 'ComfyUI' : 'Automatic1111',
    url: env.MINER_HTTP_URL,
    timeoutMs: env.MINER_HTTP_TIMEOUT_MS,
    ...(env.MINER_HTTP_AUTH && { auth: env.MINER_HTTP_AUTH }),
  });
  const server = await imageServer(env, exchange);
  await server.greet().then(
    () => log.info({ url: env.MINER_HTTP_URL, api: env.MINER_HTTP_API }, 'the image server answers'),
    (error: unknown) => log.warn({ err: error }, 'the image server does not answer yet: jobs fail until it does'),
  );
  const loras = new LoraFolder(env.MINER_HTTP_LORA_DIR, env.MINER_HTTP_LORA_GB * BYTES_PER_GB);
  const trainer = trains ? (await commandCraft({ ...env, MINER_COMMAND_RENDER: undefined }, log)).craft : undefined;
  return {
    craft: new HttpCraft(server, loras, trainer),
    engine: 'flux',
    kinds: trains ? [...JOB_KINDS] : ['lora-inference'],
    close: () => exchange.close(),
  };
}

async function imageServer(env: EngineSettings, exchange: Exchange): Promise<ImageServer> {
  const settings = { steps: env.MINER_HTTP_STEPS, guidance: env.MINER_HTTP_GUIDANCE };
  return env.MINER_HTTP_API === 'comfyui'
    ? new ComfyUi(exchange, await loadWorkflow(env.MINER_HTTP_WORKFLOW), settings)
    : new Automatic1111(exchange, settings);
}

async function commandCraft(env: EngineSettings, log: Logger): Promise<{ craft: CommandCraft; kinds: JobKind[] }> {
  const programs: Programs = {
    'lora-training': env.MINER_COMMAND_TRAIN === undefined ? undefined : readCommandLine(env.MINER_COMMAND_TRAIN),
    'lora-inference': env.MINER_COMMAND_RENDER === undefined ? undefined : readCommandLine(env.MINER_COMMAND_RENDER),
  };
  const craft = new CommandCraft({
    programs,
    engine: env.MINER_COMMAND_ENGINE,
    env: programEnv(env.MINER_COMMAND_PASS_ENV),
    graceMs: env.MINER_COMMAND_GRACE_MS,
    folders: await WorkFolders.open(join(env.MINER_DATA_DIR, 'work')),
    log,
  });
  return { craft, kinds: JOB_KINDS.filter((kind) => programs[kind]) };
}

async function assertWritable(folder: string): Promise<void> {
  try {
    if (!(await stat(folder)).isDirectory()) throw new Error('it is not a folder');
    await access(folder, constants.W_OK);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new EnvError(`MINER_HTTP_LORA_DIR must be a folder that this miner can write to (${why})`);
  }
}
