import { join } from 'node:path';
import pino from 'pino';
import type { MinerOffer } from '@studio/shared/contract/miners';
import { createCraft } from '../engines/engine-choice';
import { RegisterEnv, RegistryEnv, type Variables, demand, readEnv } from '../env';
import { loadHotkey } from '../key-file';
import { offersOf } from '../miner';
import { RegistryClient } from '../registry-client';
import { say, tell } from './say';

/** Registers once. A miner of this kit does so by itself; this is for one that runs without it. */
export async function register(variables: Variables): Promise<void> {
  const env = readEnv(RegisterEnv, variables);
  const url = demand(env.REGISTRY_URL, 'REGISTRY_URL', 'must be the URL of the registry');
  const endpoint = demand(
    env.MINER_ENDPOINT,
    'MINER_ENDPOINT',
    'must be the URL where the orchestrator reaches the miner',
  );
  const hotkey = await loadHotkey(env);
  const registry = new RegistryClient(url, hotkey);
  const offers = env.MINER_DIALECT === 'dippy' ? dippyOffers(env) : await engineOffers(env);
  const operator = env.MINER_OPERATOR && { operator: env.MINER_OPERATOR };
  const orchestrator = await registry.identity();
  await registry.register({ endpoint, dialect: env.MINER_DIALECT, offers, ...operator }, orchestrator);
  say(`${hotkey.address} is registered at ${endpoint}`);
  tell(`it offers ${offers.map(({ kind, engine, slots }) => `${kind} on ${engine} (${slots} slots)`).join(', ')}`);
  tell(`its jobs are signed by ${orchestrator}`);
}

export async function withdraw(variables: Variables): Promise<void> {
  const env = readEnv(RegistryEnv, variables);
  const hotkey = await loadHotkey(env);
  await new RegistryClient(env.REGISTRY_URL, hotkey).withdraw();
  say(`${hotkey.address} is withdrawn: it gets no more jobs, and keeps its score`);
  tell('a miner that still runs with REGISTRY_URL registers again within a minute: stop it');
}

/** As the miner itself would offer: the engine says what it can do. */
async function engineOffers(env: RegisterEnv): Promise<MinerOffer[]> {
  const threads = { filename: join(__dirname, '..', 'engine-worker.js') };
  const engine = await createCraft(env, threads, pino({ level: 'silent' }));
  await engine.close();
  return offersOf(env, engine);
}

/** Their contract has inference only. */
function dippyOffers(env: RegisterEnv): MinerOffer[] {
  return [{ kind: 'lora-inference', engine: 'flux', slots: Math.max(1, env.MINER_SLOTS_INFERENCE) }];
}
