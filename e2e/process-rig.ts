/** The services as processes of their own, compiled as their images are, in any number, behind one address each; miners are stand-ins. */
import { fork, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ApiClient } from '@studio/launcher/demo/api-client';
import { freePort } from '@studio/launcher/servers/free-port';
import { RegistryClient } from '@studio/miner/registry-client';
import { ClientKeyStore } from '@studio/querier/client-key.store';
import { createDataSource } from '@studio/shared/database/data-source';
import type { Policy } from '@studio/shared/domain/policy';
import { buildProjects } from '@studio/shared/testing/built-projects';
import { openTestNats } from '@studio/shared/testing/nats';
import { createDatabase } from '@studio/shared/testing/postgres';
import { openTestRedis } from '@studio/shared/testing/redis';
import { until } from '@studio/shared/testing/registry-ground';
import { startStubMiner, type StubMiner } from '@studio/shared/testing/stub-miner';
import { Pool } from 'pg';
import { ServiceAddress } from './service-address';

export type Role = 'api' | 'worker' | 'auditor' | 'registry';
export const ROLES: readonly Role[] = ['registry', 'auditor', 'api', 'worker'];

const PROJECTS = ['libs/shared', 'engines/ref-sep', 'services/querier', 'services/auditor', 'services/registry'];
const PROJECT_OF = { api: 'querier', worker: 'querier', auditor: 'auditor', registry: 'registry' } as const;

export interface Running {
  role: Role;
  port: number;
  url: string;
  /** Resolves with the exit code. */
  ended: Promise<number | null>;
  process: ChildProcess;
}

/** Where the stores are reached: addresses that a test may cut. */
export interface Edges {
  postgres: ServiceAddress;
  nats: ServiceAddress;
  redis: ServiceAddress;
}

export class ProcessRig {
  readonly running: Running[] = [];
  readonly miners: StubMiner[] = [];
  /** Lines that processes wrote at level error or fatal. */
  readonly errors: string[] = [];

  private constructor(
    readonly owner: Pool,
    readonly edges: Edges,
    readonly addresses: Readonly<Record<Role, ServiceAddress>>,
    readonly api: ApiClient,
    private readonly env: (role: Role) => Record<string, string>,
    private readonly folder: string,
    private readonly closing: readonly (() => Promise<unknown> | void)[],
  ) {}

  /** Stores, addresses and a client; no process yet. `more`: of every service's environment. */
  static async open(policy: Policy, more: Record<string, string> = {}): Promise<ProcessRig> {
    const folder = buildProjects(PROJECTS);
    const [database, nats, redis] = await Promise.all([createDatabase(), openTestNats(), openTestRedis()]);
    const directory = mkdtempSync(join(tmpdir(), 'process-rig-'));
    const through = (url: string): Promise<ServiceAddress> => ServiceAddress.open([new URL(url).host]);
    const edges = { postgres: await through(database.urls.owner), nats: await through(nats.url), redis: await through(redis.url) }; // prettier-ignore
    const led = (url: string, { port }: ServiceAddress): string => url.replace(new URL(url).host, `127.0.0.1:${port}`);
    const opened = await Promise.all(ROLES.map(async (role) => [role, await ServiceAddress.open()] as const));
    const addresses = Object.fromEntries(opened) as Record<Role, ServiceAddress>;
    const owner = new Pool({ connectionString: database.urls.owner, max: 2 });
    owner.on('error', () => undefined);
    await owner.query('INSERT INTO studio.policies (version, body) VALUES ($1, $2)', [policy.version, policy]);
    const source = await createDataSource({ url: database.urls.querier, name: 'rig', poolSize: 1 }).initialize();
    const { key } = await new ClientKeyStore(source).create('rig');
    await source.destroy();
    const publicUrl = `http://127.0.0.1:${addresses.api.port}`;
    const common = {
      ARTIFACTS_DIR: join(directory, 'artifacts'),
      ADMIN_KEY: randomBytes(32).toString('hex'),
      ADMIN_PORT: '0',
      ORCHESTRATOR_SEED: randomBytes(32).toString('hex'),
      URL_SECRET: randomBytes(32).toString('hex'),
      ALLOW_PRIVATE_EGRESS: 'true',
      LOG_LEVEL: 'error',
      NATS_URL: led(nats.url, edges.nats),
      REDIS_URL: led(redis.url, edges.redis),
      PUBLIC_URL: publicUrl,
    };
    const env = (role: Role): Record<string, string> => ({
      ...common,
      POSTGRES_URL: led(database.urls[PROJECT_OF[role]], edges.postgres),
      ...(PROJECT_OF[role] === 'querier' && { ROLE: role }),
      ...more,
    });
    const api = new ApiClient(publicUrl, key);
    return new ProcessRig(owner, edges, addresses, api, env, folder, [
      () => api.close(),
      () => owner.end(),
      () => Promise.all([...Object.values(addresses), ...Object.values(edges)].map((address) => address.close())),
      () => Promise.all([database.drop(), nats.close(), redis.close()]),
      () => [directory, folder].forEach((each) => rmSync(each, { recursive: true, force: true })),
    ]);
  }

  /** Starts a process and lets connections come to it once it is ready. */
  async start(role: Role, more: Record<string, string> = {}): Promise<Running> {
    const port = await freePort();
    const script = join(this.folder, 'node_modules/@studio', PROJECT_OF[role], 'dist/main.js');
    const own = { HTTP_PORT: String(port), PATH: process.env.PATH ?? '', ...this.env(role), ...more };
    const child = fork(script, { env: own, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
    for (const stream of [child.stdout, child.stderr]) stream!.on('data', (chunk: Buffer) => this.errors.push(`${role}: ${chunk.toString()}`)); // prettier-ignore
    const ended = once(child, 'exit').then(([code]) => code as number | null);
    const running = { role, port, url: `http://127.0.0.1:${port}`, ended, process: child };
    this.running.push(running);
    await until(() => isReady(running));
    this.route(role);
    return running;
  }

  /** As a cluster ends a pod: no new connections, then SIGTERM. Resolves with the exit code. */
  async stop(running: Running): Promise<number | null> {
    this.running.splice(this.running.indexOf(running), 1);
    this.route(running.role);
    running.process.kill('SIGTERM');
    return running.ended;
  }

  of(role: Role): Running[] {
    return this.running.filter((each) => each.role === role);
  }

  /** Registers a stand-in that answers as it is told. */
  async enter(name: string, slots: number, answer: (miner: StubMiner) => StubMiner['answer']): Promise<StubMiner> {
    const miner = await startStubMiner(name, slots);
    miner.answer = answer(miner);
    this.miners.push(miner);
    const registry = new RegistryClient(`http://127.0.0.1:${this.addresses.registry.port}`, miner.key);
    const { endpoint, dialect, offers } = miner.routable;
    await registry.register({ endpoint, dialect, offers, operator: name }, await registry.identity());
    return miner;
  }

  async close(): Promise<void> {
    await Promise.all(this.running.splice(0).map(({ process: child, ended }) => (child.kill('SIGKILL'), ended)));
    await Promise.all(this.miners.map((miner) => miner.close()));
    for (const step of this.closing) await step();
  }

  private route(role: Role): void {
    this.addresses[role].targets = this.of(role).map(({ port }) => `127.0.0.1:${port}`);
  }
}

export async function health(running: Running, what: 'live' | 'ready'): Promise<number> {
  return fetch(`${running.url}/health/${what}`).then(({ status }) => status, () => 0); // prettier-ignore
}

async function isReady(running: Running): Promise<boolean> {
  if (running.process.exitCode !== null) throw new Error(`the ${running.role} ended with ${running.process.exitCode}`);
  return (await health(running, 'ready')) === 200;
}
