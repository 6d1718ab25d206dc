/**
 * The whole system in one process, for tests that watch it from outside: real servers, the registry, the api, a worker, the
 * auditor, and miners of the kit, each with a profile of its own.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { boot as bootAuditor } from '@studio/auditor/boot';
import { AuditorEnv } from '@studio/auditor/env';
import { ApiClient } from '@studio/launcher/demo/api-client';
import { freePort } from '@studio/launcher/servers/free-port';
import { minerEnv } from '@studio/miner/env';
import { startMiner, type Miner } from '@studio/miner/miner';
import type { ProfileName } from '@studio/miner/profiles';
import { boot as bootQuerier } from '@studio/querier/boot';
import { ClientKeyStore } from '@studio/querier/client-key.store';
import { QuerierEnv } from '@studio/querier/env';
import { boot as bootRegistry, type RunningRegistry } from '@studio/registry/boot';
import { RegistryEnv } from '@studio/registry/env';
import type { Snapshot } from '@studio/shared/contract/scores';
import { createDataSource } from '@studio/shared/database/data-source';
import type { Policy } from '@studio/shared/domain/policy';
import { loadEnv } from '@studio/shared/platform/env';
import { createLogger } from '@studio/shared/platform/logger';
import { SignatureThreads } from '@studio/shared/platform/signature-threads';
import { hotkeyFromSeed } from '@studio/shared/protocol/hotkey';
import { openTestNats } from '@studio/shared/testing/nats';
import { createDatabase } from '@studio/shared/testing/postgres';
import { openTestRedis } from '@studio/shared/testing/redis';
import { until } from '@studio/shared/testing/registry-ground';
import { Pool } from 'pg';
import pino from 'pino';

export interface LiveMiner {
  name: string;
  profile: ProfileName;
  trusted?: boolean;
  slots?: { training: number; inference: number };
  /** Its own name where not given. */
  operator?: string;
  /** Where it listens, and where it says that it does: something may stand in between. */
  port?: number;
  endpoint?: string;
  /** Started by `join`, not at the beginning. */
  later?: boolean;
}

/** Where the api listens, and where clients and miners are told that it does. */
export interface ApiDoor {
  port: number;
  publicUrl: string;
}

interface Readiness {
  untaken_jobs: number;
  audits_open: number;
  outbox_open: number;
}

/** Twice what the slowest takes by its own bounds, on a busy machine. */
const CLOSE_MS = 40_000;

const ENGINE_THREADS = {
  filename: join(__dirname, '../clients/miner/src/engine-worker.ts'),
  execArgv: [
    '--conditions=studio-src',
    '--require',
    join(__dirname, '../libs/shared/src/testing/typescript-threads.cjs'),
  ],
};

export class LiveSystem {
  private constructor(
    readonly api: ApiClient,
    readonly registry: RunningRegistry,
    readonly auditorUrl: string,
    /** Superuser: what a test looks at afterwards. */
    readonly owner: Pool,
    /** By name. */
    readonly hotkeys: ReadonlyMap<string, string>,
    /** A client of its own, with a key of its own. */
    readonly newClient: (name: string) => Promise<ApiClient>,
    /** Starts a miner that was announced as `later`, and resolves once it is registered. */
    readonly join: (name: string) => Promise<void>,
    private readonly adminKey: string,
    private readonly closing: readonly [what: string, close: () => Promise<unknown> | void][],
  ) {}

  /** Resolves once every miner is registered and can be asked. `more`: of every service's environment. */
  static async open(
    policy: Policy,
    miners: readonly LiveMiner[],
    door?: ApiDoor,
    more: Record<string, string> = {},
  ): Promise<LiveSystem> {
    const [database, nats, redis] = await Promise.all([createDatabase(), openTestNats(), openTestRedis()]);
    const owner = new Pool({ connectionString: database.urls.owner, max: 2 });
    owner.on('error', () => undefined);
    const directory = mkdtempSync(join(tmpdir(), 'live-system-'));
    const seeds = new Map(miners.map(({ name }) => [name, randomBytes(32).toString('hex')]));
    const hotkeys = new Map([...seeds].map(([name, seed]) => [name, hotkeyFromSeed(seed).address]));
    const adminKey = randomBytes(32).toString('hex');
    const apiPort = door?.port ?? (await freePort());
    await owner.query('INSERT INTO studio.policies (version, body) VALUES ($1, $2)', [policy.version, policy]);
    const common = {
      ...commonEnv(adminKey, join(directory, 'artifacts')),
      NATS_URL: nats.url,
      REDIS_URL: redis.url,
      PUBLIC_URL: door?.publicUrl ?? `http://127.0.0.1:${apiPort}`,
      TRUSTED_HOTKEYS: miners.flatMap(({ name, trusted }) => (trusted ? [hotkeys.get(name)!] : [])).join(','),
      ...more,
    };
    const { auditor, registry, closeServices } = await bootServices(
      (role, port = 0) => ({ ...common, POSTGRES_URL: database.urls[role], HTTP_PORT: String(port) }),
      apiPort,
    );
    const running: Miner[] = [];
    const enter = async (miner: LiveMiner): Promise<void> => {
      running.push(await start(miner, seeds.get(miner.name)!, join(directory, miner.name), registry.url));
      const known = 'SELECT 1 FROM studio.miners WHERE hotkey = $1';
      await until(async () => (await owner.query(known, [hotkeys.get(miner.name)])).rowCount === 1);
    };
    // One after the other: every miner compiles its engine's threads, and all at once would take the services' time.
    for (const miner of miners.filter(({ later }) => !later)) await enter(miner);
    const joinLater = (name: string): Promise<void> => enter(miners.find((miner) => miner.name === name)!);
    const source = await createDataSource({ url: database.urls.querier, name: 'live', poolSize: 1 }).initialize();
    const clients: ApiClient[] = [];
    const newClient = async (name: string): Promise<ApiClient> => {
      const { key } = await new ClientKeyStore(source).create(name);
      clients.push(new ApiClient(common.PUBLIC_URL, key));
      return clients.at(-1)!;
    };
    const api = await newClient('live');
    return new LiveSystem(api, registry, auditor.url, owner, hotkeys, newClient, joinLater, adminKey, [
      ['clients', () => Promise.all(clients.map((client) => client.close()))],
      ['connections', () => source.destroy()],
      ['services', closeServices],
      ['miners', () => Promise.all(running.map((miner) => miner.close()))],
      ['owner', () => owner.end()],
      ['stores', () => Promise.all([database.drop(), nats.close(), redis.close()])],
      ['files', () => rmSync(directory, { recursive: true, force: true })],
    ]);
  }

  /** Waits until every finished job is in the books and every audit that is due has its verdict. */
  async settle(): Promise<void> {
    let quiet = 0;
    await until(async () => {
      const reply = await fetch(`${this.auditorUrl}/admin/v1/readiness`, {
        headers: { authorization: `Bearer ${this.adminKey}` },
      });
      const { untaken_jobs, audits_open, outbox_open } = (await reply.json()) as Readiness;
      quiet = untaken_jobs + audits_open + outbox_open === 0 ? quiet + 1 : 0;
      return quiet > 3;
    });
  }

  /** Closes the open epoch as an operator does, and waits for its snapshot. */
  async closeEpoch(epoch: number): Promise<Snapshot> {
    const reply = await fetch(`${this.registry.adminUrl}/admin/v1/epochs/close`, {
      method: 'POST',
      headers: { authorization: `Bearer ${this.adminKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ epoch }),
    });
    if (!reply.ok) throw new Error(await reply.text());
    return until(async () => {
      const answer = await fetch(`${this.registry.url}/v1/snapshots/${epoch}`);
      return answer.ok && ((await answer.json()) as Snapshot);
    });
  }

  /** One job to its end, whatever that is; the URL of its LoRA, where it gave one. */
  async train(
    imageUrl: string,
    input: { resolution: number; steps: number; rank: number },
  ): Promise<string | undefined> {
    const body = { kind: 'lora-training', engine: 'ref-sep-v1', input: { image_url: imageUrl, ...input } } as const;
    const { id } = await this.api.submit(body, randomUUID());
    const { state } = await this.api.finished(id);
    return state === 'succeeded' ? (await this.api.result(id)).lora?.url : undefined;
  }

  async render(loraUrl: string, input: { prompt: string; width: number; height: number }): Promise<void> {
    const body = { kind: 'lora-inference', engine: 'ref-sep-v1', input: { lora_url: loraUrl, ...input } } as const;
    const { id } = await this.api.submit(body, randomUUID());
    await this.api.finished(id);
  }

  async close(): Promise<void> {
    for (const [what, close] of this.closing) {
      const late = sleep(CLOSE_MS, 'late' as const, { ref: false });
      // Its processes would be ended by force (platform/lifecycle.ts): said, and not waited for.
      if ((await Promise.race([close(), late])) === 'late') process.stderr.write(`live system: the ${what} did not close within ${CLOSE_MS / 1_000} s\n`); // prettier-ignore
    }
  }
}

/** What every service is told, wherever its servers are. */
function commonEnv(adminKey: string, artifactsDir: string) {
  return {
    ARTIFACTS_DIR: artifactsDir,
    ADMIN_KEY: adminKey,
    ADMIN_PORT: '0',
    ORCHESTRATOR_SEED: randomBytes(32).toString('hex'),
    URL_SECRET: randomBytes(32).toString('hex'),
    ALLOW_PRIVATE_EGRESS: 'true',
    SWEEP_MS: '200',
  };
}

type ServiceEnv = (role: 'registry' | 'auditor' | 'querier', port?: number) => Record<string, string>;

/** The three services, the querier in its two roles. */
async function bootServices(env: ServiceEnv, apiPort: number) {
  const log = createLogger({ name: 'live', level: 'error', format: 'line' });
  const auditor = await bootAuditor(loadEnv(AuditorEnv, env('auditor')), log);
  const registry = await bootRegistry(loadEnv(RegistryEnv, env('registry')), log);
  const signatures = new SignatureThreads();
  const querier = (role: string, port = 0): ReturnType<typeof bootQuerier> =>
    bootQuerier(loadEnv(QuerierEnv, { ...env('querier', port), ROLE: role }), log, undefined, signatures);
  const queriers = [await querier('api', apiPort), await querier('worker')];
  const closeServices = async (): Promise<void> => {
    await Promise.all(queriers.map((service) => service.close()));
    await auditor.close();
    await registry.close();
    await signatures.close();
  };
  return { auditor, registry, closeServices };
}

function start(
  { name, profile, slots, operator = name, port = 0, endpoint }: LiveMiner,
  seed: string,
  directory: string,
  registryUrl: string,
): Promise<Miner> {
  const env = minerEnv({
    MINER_NAME: name,
    MINER_SEED: seed,
    MINER_PORT: String(port),
    ...(endpoint && { MINER_ENDPOINT: endpoint }),
    MINER_OPERATOR: operator,
    MINER_PROFILE: profile,
    MINER_SLOTS_TRAINING: String(slots?.training ?? 1),
    MINER_SLOTS_INFERENCE: String(slots?.inference ?? 1),
    MINER_DATA_DIR: directory,
    REGISTRY_URL: registryUrl,
  });
  return startMiner({ env, hotkey: hotkeyFromSeed(seed), threads: ENGINE_THREADS, log: pino({ level: 'silent' }) });
}
