/**
 * From nothing to a running system, in the order of dependence: servers, schema, services, miners, validator.
 */
import { join } from 'node:path';
import { hotkeyFromSeed } from '@studio/shared/protocol/hotkey';
import { migrate } from '@studio/shared/database/migrate';
import { cacheDirectory } from '../servers/env';
import { serverUrls } from '../env';
import type { LauncherOptions } from '../options';
import { startNats } from '../servers/nats';
import { startPostgres } from '../servers/postgres';
import { startRedis } from '../servers/redis';
import { startScores } from '../servers/scores';
import { scoresAccountFiles } from '../servers/scores-account';
import type { RunningServer } from '../servers/running-server';
import type { Doors } from '../demo/doors';
import { createDatabase } from './database';
import { minerSeed, openInstallation, saveInstallation, type Installation } from './installation';
import { choosePort } from './ports';
import {
  apiUrl,
  auditorUrl,
  MINERS,
  minerSpec,
  registryAdminUrl,
  registryUrl,
  serviceSpecs,
  validatorSpec,
  type Endpoints,
  type Places,
} from './processes';
import { createApiKey } from './create-api-key';
import { Supervisor } from './supervisor';
import { answersOk, until } from './until';

export interface System {
  places: Places;
  endpoints: Endpoints;
  installation: Installation;
  supervisor: Supervisor;
  servers: RunningServer[];
  /** Of the owner role, who may read everything: for checking invariants from outside. */
  ownerUrl: string;
  apiKey: string;
  /** Hotkey → the miner's name. */
  names: ReadonlyMap<string, string>;
}

export interface StartHooks {
  say: (line: string) => void;
  onFatal: (error: Error) => void;
  /** Gets the supervisor before anything runs, so that whatever has started can be stopped. */
  onSupervisor: (supervisor: Supervisor) => void;
}

/** For the demo's clients. */
export function doorsOf({ endpoints, installation, places, apiKey }: System): Doors {
  return {
    apiUrl: apiUrl(endpoints),
    registryUrl: registryUrl(endpoints),
    registryAdminUrl: registryAdminUrl(endpoints),
    auditorUrl: auditorUrl(endpoints),
    apiKey,
    adminKey: installation.adminKey,
    root: places.root,
  };
}

const SERVICES_READY_MS = 60_000;
const MINERS_READY_MS = 60_000;

export async function startSystem(options: LauncherOptions, root: string, hooks: StartHooks): Promise<System> {
  const places: Places = { root, dataDir: options.dataDir, outDir: options.outDir };
  const installation = openInstallation(options.dataDir);
  const supervisor = new Supervisor(
    join(options.dataDir, 'logs'),
    (name, how) => hooks.say(`${name} ended (${how}): starting it again`),
    hooks.onFatal,
  );
  hooks.onSupervisor(supervisor);

  const servers = await startServers(options, root, installation, supervisor, hooks.say);
  const [postgres, nats, redis, scores] = servers as [RunningServer, RunningServer, RunningServer, RunningServer];
  const ownerUrl = await createDatabase(postgres.url);
  hooks.say('bringing the schema up to date');
  await migrate(ownerUrl, installation.rolePasswords);

  const endpoints = await chooseEndpoints(options, installation, ownerUrl, {
    nats: nats.url,
    redis: redis.url,
    scores: { url: scores.url, files: scoresAccountFiles(scoresDir(options.dataDir)) },
  });
  saveInstallation(options.dataDir, installation);
  const names = minerNames(installation);
  await startServices(places, endpoints, installation, supervisor, hooks.say);
  const apiKey = await createApiKey(places, endpoints, installation);
  await startMiners(places, endpoints, installation, supervisor, hooks.say);
  supervisor.run(validatorSpec(places, endpoints, installation));
  return { places, endpoints, installation, supervisor, servers, ownerUrl, apiKey, names };
}

async function startServers(
  options: LauncherOptions,
  root: string,
  installation: Installation,
  supervisor: Supervisor,
  say: (line: string) => void,
): Promise<RunningServer[]> {
  const urls = serverUrls();
  const cacheDir = cacheDirectory(root);
  const { dataDir } = options;
  const ports = {
    postgres: await choosePort(installation, 'PostgreSQL server', 'postgres-port', options.postgresPort),
    nats: await choosePort(installation, 'NATS server', 'nats-port', options.natsPort),
    redis: await choosePort(installation, 'Redis server', 'redis-port', options.redisPort),
    scores: await choosePort(installation, 'NATS for validators', 'scores-port', options.scoresPort),
  };
  const log = say;
  const started = [
    supervisor.server('postgres', () =>
      startPostgres({ url: urls.postgres, dataDir: join(dataDir, 'postgres'), port: ports.postgres, log }),
    ),
    supervisor.server('nats', () =>
      startNats({ url: urls.nats, storeDir: join(dataDir, 'nats'), port: ports.nats, cacheDir, log }),
    ),
    supervisor.server('redis', () =>
      startRedis({ url: urls.redis, dataDir: join(dataDir, 'redis'), port: ports.redis, cacheDir, log }),
    ),
    supervisor.server('scores', () => startScores({ dir: scoresDir(dataDir), port: ports.scores, cacheDir, log })),
  ];
  const settled = await Promise.allSettled(started);
  const failed = settled.find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
  return Promise.all(started);
}

const scoresDir = (dataDir: string): string => join(dataDir, 'scores');

async function chooseEndpoints(
  options: LauncherOptions,
  installation: Installation,
  ownerUrl: string,
  servers: Pick<Endpoints, 'nats' | 'redis' | 'scores'>,
): Promise<Endpoints> {
  const roleUrl = (role: string): string => {
    const url = new URL(ownerUrl);
    url.username = role;
    url.password = installation.rolePasswords[role as keyof Installation['rolePasswords']];
    return url.href;
  };
  return {
    postgres: roleUrl,
    ...servers,
    apiPort: await choosePort(installation, 'API', 'api-port', options.apiPort),
    registryPort: await choosePort(installation, 'registry', 'registry-port', options.registryPort),
    apiAdminPort: await choosePort(installation, 'api (operators)', 'api-admin-port'),
    workerPort: await choosePort(installation, 'worker', 'worker-port'),
    auditorPort: await choosePort(installation, 'auditor', 'auditor-port'),
    registryAdminPort: await choosePort(installation, 'registry admin', 'registry-admin-port'),
  };
}

async function startServices(
  places: Places,
  endpoints: Endpoints,
  installation: Installation,
  supervisor: Supervisor,
  say: (line: string) => void,
): Promise<void> {
  const trusted = MINERS.filter((plan) => plan.trusted).map(({ name }) => address(installation, name));
  const specs = serviceSpecs(places, endpoints, installation, trusted);
  say(`starting ${specs.map(({ name }) => name).join(', ')}`);
  for (const spec of specs) supervisor.run(spec);
  const ports = {
    api: endpoints.apiPort,
    worker: endpoints.workerPort,
    auditor: endpoints.auditorPort,
    registry: endpoints.registryPort,
  };
  await until(
    'the services are ready',
    SERVICES_READY_MS,
    async () => {
      const ready = await Promise.all(
        Object.values(ports).map((port) => answersOk(`http://127.0.0.1:${port}/health/ready`)),
      );
      return ready.every(Boolean);
    },
    supervisor,
  );
}

async function startMiners(
  places: Places,
  endpoints: Endpoints,
  installation: Installation,
  supervisor: Supervisor,
  say: (line: string) => void,
): Promise<void> {
  say(`starting ${MINERS.map(({ name }) => name).join(', ')}, and a validator`);
  for (const plan of MINERS) {
    const port = await choosePort(installation, plan.name, 'miner-port');
    supervisor.run(minerSpec(places, endpoints, installation, plan, port));
  }
  saveInstallation(places.dataDir, installation);
  const wanted = MINERS.map(({ name }) => `http://127.0.0.1:${installation.ports[name]}`);
  await until(
    'the miners are up and registered',
    MINERS_READY_MS,
    async () => {
      const response = await fetch(`${registryUrl(endpoints)}/v1/miners`);
      const { miners } = (await response.json()) as { miners: { endpoint: string }[] };
      // Those of an earlier run are still registered, at the same ports: they have to be up as well.
      const up = await Promise.all(wanted.map((endpoint) => answersOk(`${endpoint}/v1/health`)));
      return up.every(Boolean) && wanted.every((endpoint) => miners.some((miner) => miner.endpoint === endpoint));
    },
    supervisor,
  );
  await until('the API answers', SERVICES_READY_MS, () => answersOk(`${apiUrl(endpoints)}/health/ready`), supervisor);
}

const address = (installation: Installation, name: string): string =>
  hotkeyFromSeed(minerSeed(installation, name)).address;

function minerNames(installation: Installation): Map<string, string> {
  return new Map(MINERS.map(({ name }) => [address(installation, name), name]));
}
