/** What secrets an installation on Kubernetes has, and who gets which: one Secret for each workload, one file for each value. */
import { randomBytes } from 'node:crypto';
import { hotkeyFromSeed } from '@studio/shared/protocol/hotkey';

/** Secret → file → content. */
export type ClusterSecrets = Record<string, Record<string, string>>;

export interface ExistingEngines {
  /** Of the database's owner, who may make roles. Absent: the Postgres that overlays/dev brings. */
  ownerUrl?: string;
  redisUrl?: string;
}

/** As many as components/miners has. */
const MINERS = ['miner-0', 'miner-1', 'miner-2'];

const hex = (): string => randomBytes(32).toString('hex');

export function clusterSecrets({ ownerUrl, redisUrl }: ExistingEngines): ClusterSecrets {
  const [password, redisPassword] = [hex(), hex()];
  const owner = ownerUrl ?? `postgres://studio_owner:${password}@postgres:5432/studio`;
  const redis = redisUrl ?? `redis://:${redisPassword}@redis:6379`;
  const urls = {
    querier: urlOf(owner, 'querier'),
    auditor: urlOf(owner, 'auditor'),
    registry: urlOf(owner, 'registry'),
  };
  const [adminKey, seed, reference] = [hex(), hex(), hex()];
  return {
    'migrate-secrets': {
      'owner-url': owner,
      'querier-url': urls.querier,
      'auditor-url': urls.auditor,
      'registry-url': urls.registry,
    },
    'querier-secrets': {
      'postgres-url': urls.querier,
      'redis-url': redis,
      'orchestrator-seed': seed,
      'url-secret': hex(),
    },
    'querier-api-secrets': { 'admin-key': adminKey },
    'auditor-secrets': { 'postgres-url': urls.auditor, 'admin-key': adminKey },
    'registry-secrets': {
      'postgres-url': urls.registry,
      'redis-url': redis,
      'admin-key': adminKey,
      'orchestrator-seed': seed,
      'trusted-hotkeys': hotkeyFromSeed(reference).address,
    },
    ...(ownerUrl ? {} : { 'postgres-secrets': { password } }),
    ...(redisUrl ? {} : { 'redis-secrets': { 'redis.conf': redisConfig(redisPassword) } }),
    'miner-secrets': Object.fromEntries(MINERS.map((name) => [name, hex()])),
    'reference-secrets': { 'reference-0': reference },
    'validator-secrets': { seed: hex() },
    'demo-secrets': { 'postgres-url': urls.querier, 'admin-key': adminKey },
  };
}

/** The same database as a service's role, with a password of its own: migrating gives it to the role. */
function urlOf(ownerUrl: string, service: string): string {
  const url = new URL(ownerUrl);
  url.username = `studio_${service}`;
  url.password = hex();
  return url.href;
}

/** Everything in it can be made anew from Postgres: nothing is written to a disk. */
function redisConfig(password: string): string {
  return ['dir /data', 'save ""', 'appendonly no', 'maxmemory 256mb', `requirepass ${password}`].join('\n');
}

/** @param further files that are made elsewhere, by Secret; the key is the file's name. */
export function secretsKustomization(secrets: ClusterSecrets, further: Record<string, string[]>): string {
  const names = [...new Set([...Object.keys(secrets), ...Object.keys(further)])].sort();
  const generators = names.flatMap((name) => [
    `  - name: ${name}`,
    '    files:',
    ...[...Object.keys(secrets[name] ?? {}).map((key) => `${name}/${key}`), ...(further[name] ?? [])].map(
      (file) => `      - ${file}`,
    ),
  ]);
  return [
    'apiVersion: kustomize.config.k8s.io/v1beta1',
    'kind: Kustomization',
    'namespace: dippy-studio',
    'resources: [namespace.yaml]',
    'generatorOptions:',
    '  disableNameSuffixHash: true',
    'secretGenerator:',
    ...generators,
    '',
  ].join('\n');
}
