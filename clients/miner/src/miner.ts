import { join } from 'node:path';
import type { MinerOffer } from '@studio/shared/contract/miners';
import { hotkeyFromSeed } from '@studio/shared/protocol/hotkey';
import type { Logger } from 'pino';
import { ByteStore } from './byte-store';
import { CallerCheck } from './caller-check';
import type { MinerEnv } from './env';
import { Inputs } from './inputs';
import { JobBook, KEEP_MS } from './job-book';
import { JobDesk } from './job-desk';
import { PROFILES } from './profiles';
import { type EngineThreads, RefSepCraft } from './ref-sep-craft';
import { keepRegistered } from './registration';
import { createServer } from './server';

/** Rendering takes some 20 ms: more threads than this would only take memory. */
const RENDER_THREADS = 2;
const PRUNE_MS = 10 * 60 * 1000;

export interface Miner {
  /** The port it listens on. */
  readonly port: number;
  readonly hotkey: string;
  /** Ends the miner; what it has accepted stays on disk. */
  close(): Promise<void>;
}

/** Starts a miner: continues what it owes, listens, registers. `threads` says how engine threads are started. */
export async function startMiner(
  env: MinerEnv,
  threads: Omit<EngineThreads, 'maxThreads'>,
  log: Logger,
): Promise<Miner> {
  const hotkey = hotkeyFromSeed(env.MINER_SEED);
  const offers = offersOf(env);
  const folder = (name: string): ByteStore => new ByteStore(join(env.MINER_DATA_DIR, name));
  const [jobs, inputs] = [folder('jobs'), folder('inputs')];
  const book = await JobBook.open(jobs);
  const maxThreads = env.MINER_SLOTS_TRAINING + Math.min(env.MINER_SLOTS_INFERENCE, RENDER_THREADS);
  const engine = new RefSepCraft({ ...threads, maxThreads });
  const craft = PROFILES[env.MINER_PROFILE](engine, folder('keepsakes'));
  const slots = { 'lora-training': env.MINER_SLOTS_TRAINING, 'lora-inference': env.MINER_SLOTS_INFERENCE };
  const desk = new JobDesk({ book, inputs: new Inputs(inputs), craft, slots, log });
  const callers = new CallerCheck(hotkey.address, env.MINER_ORCHESTRATOR);
  // A silent miner has to accept first to be silent afterwards.
  const reply = env.MINER_PROFILE === 'silent' ? 'callback' : env.MINER_REPLY;
  const server = createServer({ hotkey, offers, reply, desk, book, callers });
  const port = await listen(server, env).catch(async (error: unknown) => {
    await engine.close();
    throw error;
  });
  await desk.resume(Date.now());
  const closing = new AbortController();
  const endpoint = env.MINER_ENDPOINT ?? `http://${env.MINER_HOST}:${port}`;
  const registration = {
    endpoint,
    dialect: 'native' as const,
    offers,
    ...(env.MINER_OPERATOR && { operator: env.MINER_OPERATOR }),
  };
  const registered = env.REGISTRY_URL
    ? keepRegistered({ registryUrl: env.REGISTRY_URL, hotkey, registration, log }, closing.signal)
    : Promise.resolve();
  const pruning = setInterval(() => void prune(book, inputs, log), PRUNE_MS).unref();
  log.info({ hotkey: hotkey.address, endpoint, profile: env.MINER_PROFILE }, 'miner listens');
  return {
    port,
    hotkey: hotkey.address,
    async close() {
      clearInterval(pruning);
      closing.abort();
      await desk.close();
      await server.close();
      await engine.close();
      await registered;
    },
  };
}

function offersOf(env: MinerEnv): MinerOffer[] {
  const offers: MinerOffer[] = [
    { kind: 'lora-training', engine: 'ref-sep-v1', slots: env.MINER_SLOTS_TRAINING },
    { kind: 'lora-inference', engine: 'ref-sep-v1', slots: env.MINER_SLOTS_INFERENCE },
  ];
  return offers.filter(({ slots }) => slots > 0);
}

async function listen(server: ReturnType<typeof createServer>, env: MinerEnv): Promise<number> {
  try {
    const address = await server.listen({ host: env.MINER_HOST, port: env.MINER_PORT });
    return Number(new URL(address).port);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    throw new Error(`port ${env.MINER_PORT} on ${env.MINER_HOST} is taken: set MINER_PORT to a free one`, {
      cause: error,
    });
  }
}

async function prune(book: JobBook, inputs: ByteStore, log: Logger): Promise<void> {
  try {
    await book.prune(Date.now());
    await inputs.removeOlderThan(Date.now() - KEEP_MS);
  } catch (error) {
    log.warn({ err: error }, 'old files could not be removed');
  }
}
