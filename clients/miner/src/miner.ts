import { join } from 'node:path';
import type { MinerOffer, MinerRegistration } from '@studio/shared/contract/miners';
import type { Hotkey } from '@studio/shared/protocol/hotkey';
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { ByteStore } from './byte-store';
import { CallerCheck } from './caller-check';
import { type ChosenEngine, createCraft } from './engines/engine-choice';
import { EnvError, type MinerEnv } from './env';
import { Inputs } from './inputs';
import { JobBook, KEEP_MS } from './job-book';
import { JobDesk } from './job-desk';
import { MinerMetrics } from './metrics';
import { NonceMemory } from './nonce-memory';
import { Orchestrator } from './orchestrator';
import { PROFILES } from './profiles';
import type { EngineThreads } from './ref-sep-craft';
import { keepRegistered } from './registration';
import { createMetricsServer, createServer } from './server';
import { slotsByKind } from './server-status';

const NO_SLOTS = 'nothing to offer: give MINER_SLOTS_TRAINING or MINER_SLOTS_INFERENCE at least one slot';
const PRUNE_MS = 10 * 60 * 1000;

export interface Miner {
  /** The port it listens on. */
  readonly port: number;
  /** The port of the metrics, where they have one of their own. */
  readonly metricsPort: number | undefined;
  readonly hotkey: string;
  /** Ends the miner; what it has accepted stays on disk. */
  close(): Promise<void>;
}

export interface MinerParts {
  env: MinerEnv;
  hotkey: Hotkey;
  /** How engine threads are started. */
  threads: Omit<EngineThreads, 'maxThreads'>;
  log: Logger;
}

/** Starts a miner: continues what it owes, listens, registers. */
export async function startMiner(parts: MinerParts): Promise<Miner> {
  const { env, hotkey, log } = parts;
  const workshop = await openWorkshop(parts);
  const { desk, engine, offers } = workshop;
  const servers = createServers(parts, workshop);
  const [port, metricsPort] = await listenAll(servers, env).catch(async (error: unknown) => {
    await engine.close();
    throw error;
  });
  await desk.resume(Date.now());
  const closing = new AbortController();
  const endpoint = env.MINER_ENDPOINT ?? `http://${env.MINER_HOST}:${port}`;
  const registered = registering(parts, workshop, { endpoint, offers }, closing.signal);
  const pruning = setInterval(() => void prune(workshop, log), PRUNE_MS).unref();
  log.info({ hotkey: hotkey.address, endpoint, profile: env.MINER_PROFILE }, 'miner listens');
  return {
    port: port!,
    metricsPort,
    hotkey: hotkey.address,
    async close() {
      clearInterval(pruning);
      closing.abort();
      await desk.close();
      await Promise.all(servers.map((server) => server.close()));
      await engine.close();
      await registered;
    },
  };
}

interface Workshop {
  desk: JobDesk;
  book: JobBook;
  inputs: ByteStore;
  engine: ChosenEngine;
  offers: MinerOffer[];
  orchestrator: Orchestrator;
  nonces: NonceMemory;
  metrics: MinerMetrics;
  /** Of the last registration; undefined where there is no registry, false before the first. */
  registration: { ok: boolean | undefined };
}

async function openWorkshop({ env, hotkey, threads, log }: MinerParts): Promise<Workshop> {
  const folder = (name: string): ByteStore => new ByteStore(join(env.MINER_DATA_DIR, name));
  const inputs = folder('inputs');
  const book = await JobBook.open(folder('jobs'));
  const orchestrator = await Orchestrator.open(folder('known'), env.MINER_ORCHESTRATOR, env.REGISTRY_URL !== undefined);
  const nonces = await NonceMemory.open(join(env.MINER_DATA_DIR, 'nonces'), Date.now());
  if (env.MINER_SLOTS_TRAINING + env.MINER_SLOTS_INFERENCE === 0) throw new EnvError(NO_SLOTS);
  const engine = await createCraft(env, threads, log);
  const offers = offersOf(env, engine);
  const slots = { 'lora-training': 0, 'lora-inference': 0, ...slotsByKind(offers) };
  const metrics = new MinerMetrics();
  const craft = PROFILES[env.MINER_PROFILE](engine.craft, folder('keepsakes'));
  const desk = new JobDesk({ book, inputs: new Inputs(inputs), craft, slots, hotkey, counts: metrics, log });
  metrics.watch(desk, slotsByKind(offers));
  const registration = { ok: env.REGISTRY_URL === undefined ? undefined : false };
  return { desk, book, inputs, engine, offers, orchestrator, nonces, metrics, registration };
}

/** The one for jobs, and where asked for, one for the metrics. */
function createServers({ env, hotkey }: MinerParts, workshop: Workshop): FastifyInstance[] {
  const jobs = createServer({
    ...workshop,
    hotkey,
    // A silent miner has to accept first to be silent afterwards.
    reply: env.MINER_PROFILE === 'silent' ? 'callback' : env.MINER_REPLY,
    callers: new CallerCheck(hotkey.address, workshop.orchestrator, workshop.nonces),
    publicMetrics: env.METRICS_PORT === undefined,
    registered: () => workshop.registration.ok,
    startedMs: Date.now(),
  });
  return env.METRICS_PORT === undefined ? [jobs] : [jobs, createMetricsServer(workshop.metrics)];
}

function registering(
  { env, hotkey, log }: MinerParts,
  { orchestrator, metrics, registration: state }: Workshop,
  { endpoint, offers }: Pick<MinerRegistration, 'endpoint' | 'offers'>,
  signal: AbortSignal,
): Promise<void> {
  if (!env.REGISTRY_URL) return Promise.resolve();
  const operator = env.MINER_OPERATOR && { operator: env.MINER_OPERATOR };
  const registration = { endpoint, dialect: 'native' as const, offers, ...operator };
  const learned = async (name: string): Promise<void> => {
    if (await orchestrator.learn(name)) log.info({ orchestrator: name }, 'the registry names the orchestrator');
  };
  const tried = (ok: boolean): void => {
    state.ok = ok;
    metrics.setRegistered(ok);
  };
  return keepRegistered({ registryUrl: env.REGISTRY_URL, hotkey, registration, log, learned, tried }, signal);
}

/** What the engine can do and the operator gives slots to. @throws EnvError where that is nothing. */
export function offersOf(env: MinerEnv, { engine, kinds }: Pick<ChosenEngine, 'engine' | 'kinds'>): MinerOffer[] {
  const slots = { 'lora-training': env.MINER_SLOTS_TRAINING, 'lora-inference': env.MINER_SLOTS_INFERENCE };
  const offers = kinds.map((kind) => ({ kind, engine, slots: slots[kind] })).filter((offer) => offer.slots > 0);
  if (offers.length > 0) return offers;
  throw new EnvError(
    `nothing to offer: ${env.MINER_ENGINE} does ${kinds.join(', ')}, and MINER_SLOTS_… gives that no slot`,
  );
}

/** The ports, in order. Those that listen are closed again when one cannot. */
async function listenAll(servers: FastifyInstance[], env: MinerEnv): Promise<number[]> {
  const places = [
    { host: env.MINER_HOST, port: env.MINER_PORT, name: 'MINER_PORT' },
    { host: env.METRICS_HOST, port: env.METRICS_PORT ?? 0, name: 'METRICS_PORT' },
  ];
  try {
    const ports: number[] = [];
    for (const [i, server] of servers.entries()) ports.push(await listen(server, places[i]!));
    return ports;
  } catch (error) {
    await Promise.all(servers.map((server) => server.close()));
    throw error;
  }
}

async function listen(
  server: FastifyInstance,
  { host, port, name }: { host: string; port: number; name: string },
): Promise<number> {
  try {
    return Number(new URL(await server.listen({ host, port })).port);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    throw new EnvError(`port ${port} on ${host} is taken: set ${name} to a free one`);
  }
}

async function prune({ book, inputs }: Workshop, log: Logger): Promise<void> {
  try {
    await book.prune(Date.now());
    await inputs.removeOlderThan(Date.now() - KEEP_MS);
  } catch (error) {
    log.warn({ err: error }, 'old files could not be removed');
  }
}
