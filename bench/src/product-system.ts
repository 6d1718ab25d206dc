/** The product as `npm start` runs it, with stub miners instead of real ones. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { cacheDirectory } from '@studio/launcher/servers/env';
import { startNats } from '@studio/launcher/servers/nats';
import { startPostgres } from '@studio/launcher/servers/postgres';
import { startRedis } from '@studio/launcher/servers/redis';
import { startScores } from '@studio/launcher/servers/scores';
import { scoresAccountFiles } from '@studio/launcher/servers/scores-account';
import { createApiKey } from '@studio/launcher/system/create-api-key';
import { createDatabase } from '@studio/launcher/system/database';
import { openInstallation, type Installation } from '@studio/launcher/system/installation';
import { choosePort } from '@studio/launcher/system/ports';
import { apiUrl, registryUrl, serviceSpecs, type Endpoints, type Places } from '@studio/launcher/system/processes';
import { Supervisor, type ProcessSpec } from '@studio/launcher/system/supervisor';
import { answersOk, until } from '@studio/launcher/system/until';
import type { MinerRegistration, RegistryIdentity, RoutableMiners } from '@studio/shared/contract/miners';
import { migrate } from '@studio/shared/database/migrate';
import { DEMO_POLICY, type Policy } from '@studio/shared/domain/policy';
import { hotkeyFromSeed } from '@studio/shared/protocol/hotkey';
import { signRequest } from '@studio/shared/protocol/signatures';
import type { Pool } from 'pg';
import { WIDTH } from './contender';
import { openDatabase } from './database';
import type { MinerFleet, StubMiner } from './miner-fleet';

export interface Product {
  supervisor: Supervisor;
  endpoints: Endpoints;
  apiUrl: string;
  apiKey: string;
  clientId: string;
  /** May read and write everything: for checking from outside. */
  owner: Pool;
  /** Exists while the worker is to remember results. */
  rememberFlag: string;
  stop(): Promise<void>;
}

/**
 * The demo's policy at a steady 10 % of audits, due at once: by the default policy they would come two minutes later,
 * and a miner that passed ninety would only be audited at 5 %, so part of their cost would fall outside the figures.
 */
const BENCH_POLICY: Policy = {
  ...DEMO_POLICY,
  version: 2_000,
  audit: { ...DEMO_POLICY.audit, trustedRate: DEMO_POLICY.audit.baseRate, meanDelayMs: 100 },
};

const READY_MS = 60_000;

export async function startProduct(
  root: string,
  dataDir: string,
  fleet: MinerFleet,
  profileDir: string | undefined,
  say: (line: string) => void,
): Promise<Product> {
  const places: Places = { root, dataDir, outDir: dataDir };
  const installation = openInstallation(dataDir);
  let fatal: Error | null = null;
  const supervisor = new Supervisor(
    join(dataDir, 'logs'),
    (name, how) => say(`${name} ended (${how})`),
    (error) => (fatal = error),
  );
  try {
    const endpoints = await startServers(root, dataDir, installation, supervisor, say);
    const rememberFlag = join(dataDir, 'remember-results');
    const trusted = [hotkeyFromSeed(fleet.reference.seed).address];
    for (const spec of serviceSpecs(places, endpoints.services, installation, trusted)) {
      supervisor.run(adapted(spec, rememberFlag, profileDir));
    }
    const ports = ['apiPort', 'workerPort', 'auditorPort', 'registryPort'] as const;
    const ready = async (): Promise<boolean> => {
      if (fatal) throw fatal;
      const answers = ports.map((port) => answersOk(`http://127.0.0.1:${endpoints.services[port]}/health/ready`));
      return (await Promise.all(answers)).every(Boolean);
    };
    await until('the services are ready', READY_MS, ready, supervisor);
    for (const miner of [...fleet.paid, fleet.reference]) await register(endpoints.services, miner);
    await until('the miners are known', READY_MS, () => allKnown(endpoints.services, fleet), supervisor);
    const owner = openDatabase(endpoints.ownerUrl, 2);
    return {
      supervisor,
      endpoints: endpoints.services,
      apiUrl: apiUrl(endpoints.services),
      apiKey: await createApiKey(places, endpoints.services, installation),
      clientId: installation.clientId,
      owner,
      rememberFlag,
      stop: async () => {
        await owner.end();
        await supervisor.stop();
      },
    };
  } catch (error) {
    await supervisor.stop();
    throw fatal ?? error;
  }
}

export async function startServers(
  root: string,
  dataDir: string,
  installation: Installation,
  supervisor: Supervisor,
  log: (line: string) => void,
): Promise<{ services: Endpoints; ownerUrl: string }> {
  const cacheDir = cacheDirectory(root);
  const scoresDir = join(dataDir, 'scores');
  const [postgres, nats, redis, scores] = await Promise.all([
    supervisor.server('postgres', () => startPostgres({ dataDir: join(dataDir, 'postgres'), log })),
    supervisor.server('nats', () => startNats({ storeDir: join(dataDir, 'nats'), cacheDir, log })),
    supervisor.server('redis', () => startRedis({ dataDir: join(dataDir, 'redis'), cacheDir, log })),
    supervisor.server('scores', () => startScores({ dir: scoresDir, cacheDir, log })),
  ]);
  const ownerUrl = await createDatabase(postgres.url);
  await migrate(ownerUrl, installation.rolePasswords);
  await givePolicy(ownerUrl);
  const services: Endpoints = {
    postgres: (role) => {
      const url = new URL(ownerUrl);
      url.username = role;
      url.password = installation.rolePasswords[role as keyof Installation['rolePasswords']];
      return url.href;
    },
    nats: nats.url,
    redis: redis.url,
    scores: { url: scores.url, files: scoresAccountFiles(scoresDir) },
    apiPort: await choosePort(installation, 'API', 'api-port'),
    apiAdminPort: await choosePort(installation, 'api (operators)', 'api-admin-port'),
    workerPort: await choosePort(installation, 'worker', 'worker-port'),
    auditorPort: await choosePort(installation, 'auditor', 'auditor-port'),
    registryPort: await choosePort(installation, 'registry', 'registry-port'),
    registryAdminPort: await choosePort(installation, 'registry admin', 'registry-admin-port'),
  };
  return { services, ownerUrl };
}

/** Before the registry starts: it leaves a database that has a policy as it is. */
async function givePolicy(ownerUrl: string): Promise<void> {
  const database = openDatabase(ownerUrl, 1);
  await database.query('INSERT INTO studio.policies (version, body) VALUES ($1, $2)', [
    BENCH_POLICY.version,
    JSON.stringify(BENCH_POLICY),
  ]);
  await database.end();
}

/** As deployed, except that the worker can be told to remember results, and for profiles. */
function adapted(spec: ProcessSpec, rememberFlag: string, profileDir: string | undefined): ProcessSpec {
  const options: string[] = [];
  const env: Record<string, string> = { ...spec.env };
  if (spec.name === 'querier-worker') {
    options.push(`--require ${join(__dirname, 'remember-results.js')}`);
    env.BENCH_REMEMBER_FLAG = rememberFlag;
    env.WORKER_CONCURRENCY = String(WIDTH);
  }
  if (profileDir) {
    options.push(`--require ${join(__dirname, 'profile-process.js')}`);
    env.BENCH_PROFILE = join(profileDir, `${spec.name}.cpuprofile`);
  }
  if (options.length > 0) env.NODE_OPTIONS = options.join(' ');
  return { ...spec, env };
}

/** Slots enough for every job of the worker, so that the miners are never what is waited for. */
async function register(endpoints: Endpoints, miner: StubMiner): Promise<void> {
  const base = registryUrl(endpoints);
  const { hotkey: recipient } = (await (await fetch(`${base}/v1/identity`)).json()) as RegistryIdentity;
  const hotkey = hotkeyFromSeed(miner.seed);
  const path = `/v1/miners/${hotkey.address}`;
  const registration: MinerRegistration = {
    endpoint: miner.url,
    dialect: 'native',
    offers: [{ kind: 'lora-inference', engine: 'ref-sep-v1', slots: WIDTH }],
    operator: miner.name,
  };
  const body = JSON.stringify(registration);
  const signed = signRequest({ method: 'PUT', path, body, nowMs: Date.now(), nonce: randomUUID(), recipient }, hotkey);
  const headers = { 'content-type': 'application/json', ...signed };
  const reply = await fetch(`${base}${path}`, { method: 'PUT', body, headers });
  if (!reply.ok) throw new Error(`${miner.name} cannot register: ${reply.status} ${await reply.text()}`);
}

async function allKnown(endpoints: Endpoints, fleet: MinerFleet): Promise<boolean> {
  const response = await fetch(`${registryUrl(endpoints)}/v1/miners`);
  const { miners } = (await response.json()) as { miners: RoutableMiners['miners'] };
  return miners.length === fleet.paid.length + 1;
}
