/**
 * Which processes make a system, with what environment. Pure: the ports, secrets and places come in, specs go out.
 */
import { join } from 'node:path';
import type { ScoresAccountFiles } from '../servers/scores-account';
import type { Installation } from './installation';
import { minerSeed } from './installation';
import type { ProcessSpec } from './supervisor';

export interface Places {
  root: string;
  dataDir: string;
  outDir: string;
}

export interface Endpoints {
  postgres: (role: string) => string;
  nats: string;
  /** The NATS for validators, and the files of its account. */
  scores: { url: string; files: ScoresAccountFiles };
  redis: string;
  apiPort: number;
  apiAdminPort: number;
  workerPort: number;
  auditorPort: number;
  registryPort: number;
  registryAdminPort: number;
}

export interface MinerPlan {
  name: string;
  profile: 'honest' | 'dishonest';
  /** A reference: trusted, unpaid, only audits reach it. */
  trusted: boolean;
}

/** The demo's miners: three honest, one that cheats by configuration, and the reference that audits are replayed on. */
export const MINERS: readonly MinerPlan[] = [
  { name: 'miner-ada', profile: 'honest', trusted: false },
  { name: 'miner-ben', profile: 'honest', trusted: false },
  { name: 'miner-cleo', profile: 'honest', trusted: false },
  { name: 'miner-dishonest', profile: 'dishonest', trusted: false },
  { name: 'reference', profile: 'honest', trusted: true },
];

export const apiUrl = (endpoints: Endpoints): string => `http://127.0.0.1:${endpoints.apiPort}`;
export const registryUrl = (endpoints: Endpoints): string => `http://127.0.0.1:${endpoints.registryPort}`;
export const registryAdminUrl = (endpoints: Endpoints): string => `http://127.0.0.1:${endpoints.registryAdminPort}`;
export const auditorUrl = (endpoints: Endpoints): string => `http://127.0.0.1:${endpoints.auditorPort}`;
export const weightsFile = (places: Places): string => join(places.outDir, 'weights.json');

const main = (places: Places, project: string): string => join(places.root, project, 'dist', 'main.js');

/** The three services, the querier in its two roles. */
export function serviceSpecs(
  places: Places,
  endpoints: Endpoints,
  secrets: Installation,
  trusted: string[],
): ProcessSpec[] {
  const artifacts = { ARTIFACTS_DIR: join(places.dataDir, 'artifacts') };
  const common = { NODE_ENV: 'development', LOG_LEVEL: 'info', HTTP_HOST: '127.0.0.1', NATS_URL: endpoints.nats };
  return [
    {
      name: 'registry',
      script: main(places, 'services/registry'),
      env: {
        ...common,
        POSTGRES_URL: endpoints.postgres('studio_registry'),
        REDIS_URL: endpoints.redis,
        HTTP_PORT: String(endpoints.registryPort),
        ADMIN_PORT: String(endpoints.registryAdminPort),
        ADMIN_KEY: secrets.adminKey,
        PUBLIC_URL: registryUrl(endpoints),
        POLICY: 'demo',
        ORCHESTRATOR_SEED: secrets.orchestratorSeed,
        TRUSTED_HOTKEYS: trusted.join(','),
        ...scoresEnv(endpoints.scores),
      },
    },
    {
      name: 'auditor',
      script: main(places, 'services/auditor'),
      env: {
        ...common,
        ...artifacts,
        POSTGRES_URL: endpoints.postgres('studio_auditor'),
        HTTP_PORT: String(endpoints.auditorPort),
        ADMIN_KEY: secrets.adminKey,
        CANARY_CORPUS: join(places.root, 'photos'),
      },
    },
    ...querierSpecs(places, endpoints, secrets, { ...common, ...artifacts }),
  ];
}

/** Its doors and its workers. */
function querierSpecs(
  places: Places,
  endpoints: Endpoints,
  secrets: Installation,
  common: Record<string, string>,
): ProcessSpec[] {
  const querier = {
    ...common,
    POSTGRES_URL: endpoints.postgres('studio_querier'),
    PUBLIC_URL: apiUrl(endpoints),
    REDIS_URL: endpoints.redis,
    URL_SECRET: secrets.urlSecret,
    ORCHESTRATOR_SEED: secrets.orchestratorSeed,
    ALLOW_PRIVATE_EGRESS: 'true',
  };
  const script = main(places, 'services/querier');
  const { apiPort, apiAdminPort, workerPort } = endpoints;
  const admin = { ADMIN_PORT: String(apiAdminPort), ADMIN_KEY: secrets.adminKey };
  return [
    { name: 'querier-api', script, env: { ...querier, ROLE: 'api', HTTP_PORT: String(apiPort), ...admin } },
    {
      name: 'querier-worker',
      script,
      env: { ...querier, ROLE: 'worker', HTTP_PORT: String(workerPort), WORKER_CONCURRENCY: '32' },
    },
  ];
}

/** What the registry has to know of the NATS for validators. */
function scoresEnv({ url, files }: Endpoints['scores']): Record<string, string> {
  return {
    SCORES_NATS_URL: url,
    SCORES_NATS_CREDS: files.registryCreds,
    SCORES_NATS_SIGNING_KEY: files.signingKey,
  };
}

export function minerSpec(
  places: Places,
  endpoints: Endpoints,
  secrets: Installation,
  plan: MinerPlan,
  port: number,
): ProcessSpec {
  return {
    name: plan.name,
    script: main(places, 'clients/miner'),
    env: {
      MINER_NAME: plan.name,
      MINER_HOST: '127.0.0.1',
      MINER_PORT: String(port),
      MINER_SEED: minerSeed(secrets, plan.name),
      MINER_OPERATOR: plan.name,
      MINER_PROFILE: plan.profile,
      MINER_SLOTS_TRAINING: '1',
      MINER_SLOTS_INFERENCE: '4',
      MINER_DATA_DIR: join(places.dataDir, 'miners', plan.name),
      REGISTRY_URL: registryUrl(endpoints),
    },
  };
}

export function validatorSpec(places: Places, endpoints: Endpoints, secrets: Installation): ProcessSpec {
  return {
    name: 'validator',
    script: main(places, 'clients/validator'),
    args: ['run'],
    env: {
      REGISTRY_URL: registryUrl(endpoints),
      VALIDATOR_SEED: minerSeed(secrets, 'validator'),
      STATE_DIR: join(places.dataDir, 'validator'),
      OUT_FILE: weightsFile(places),
    },
  };
}
