/** For specs alone: a real api and real workers on real servers, with stub miners and a stand-in for the registry. */
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CALLBACK_SECRET_HEADER, type MinerJobRequest } from '@studio/shared/contract/miner-job';
import { createDataSource } from '@studio/shared/database/data-source';
import type { Engine } from '@studio/shared/domain/job';
import { DEFAULT_POLICY, type RoutingPolicy } from '@studio/shared/domain/policy';
import { createLogger } from '@studio/shared/platform/logger';
import { SignatureThreads } from '@studio/shared/platform/signature-threads';
import { startFakeRegistry, type FakeRegistry } from '@studio/shared/testing/fake-registry';
import { openTestNats, type TestNats } from '@studio/shared/testing/nats';
import { createDatabase, type TestDatabase } from '@studio/shared/testing/postgres';
import { openTestRedis, type TestRedis } from '@studio/shared/testing/redis';
import { resultForm, signedCallback, startStubMiner, type StubMiner } from '@studio/shared/testing/stub-miner';
import sharp from 'sharp';
import type { DataSource } from 'typeorm';
import { boot, type RunningQuerier } from './boot';
import { ClientKeyStore } from './client-key.store';
import { QuerierEnv } from './env';

/** Whatever a route answers: the assertions look at it. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Json = any;

export interface NewJobOptions {
  timeoutMs?: number;
  deadlineMs?: number;
  routing?: object;
  engine?: Engine;
}

const log = createLogger({ name: 'test', level: 'fatal', format: 'line' });

export class WorkerRig {
  /** Made for each test: miners, who they are known by, and workers. */
  miners: StubMiner[] = [];
  workers: RunningQuerier[] = [];

  private constructor(
    readonly database: TestDatabase,
    readonly nats: TestNats,
    readonly redis: TestRedis,
    /** One for all that a file boots: each would compile its thread's sources anew. */
    readonly signatures: SignatureThreads,
    readonly registry: FakeRegistry,
    readonly env: QuerierEnv,
    readonly api: RunningQuerier,
    readonly db: DataSource,
    readonly owner: DataSource,
    readonly client: { clientId: string; key: string },
    readonly image: Buffer,
  ) {}

  static async open(routing: Partial<RoutingPolicy> = {}, changed: Partial<QuerierEnv> = {}): Promise<WorkerRig> {
    const [database, nats, redis] = await Promise.all([createDatabase(), openTestNats(), openTestRedis()]);
    const registry = startFakeRegistry(nats.connection, []);
    const env = Object.assign(new QuerierEnv(), {
      ROLE: 'api',
      POSTGRES_URL: database.urls.querier,
      NATS_URL: nats.url,
      PUBLIC_URL: 'http://studio.test',
      ARTIFACTS_DIR: await mkdtemp(join(tmpdir(), 'querier-')),
      URL_SECRET: randomBytes(32).toString('hex'),
      ORCHESTRATOR_SEED: randomBytes(32).toString('hex'),
      REDIS_URL: redis.url,
      ALLOW_PRIVATE_EGRESS: true,
      WORKER_GRACE_MS: 200,
      ...changed,
    });
    const owner = await createDataSource({ url: database.urls.owner, name: 'owner', poolSize: 1 }).initialize();
    const policy = {
      version: 1,
      leaseMs: 1_000,
      maxAttempts: 3,
      routing: { ...DEFAULT_POLICY.routing, ...routing },
    };
    await owner.query('INSERT INTO studio.policies (version, body) VALUES (1, $1)', [JSON.stringify(policy)]);
    await owner.query(`INSERT INTO studio.epochs (epoch, policy_version, commitment) VALUES (1, 1, 'c')`);
    const signatures = new SignatureThreads();
    const api = await boot(env, log, undefined, signatures);
    const db = await createDataSource({ url: database.urls.querier, name: 'test', poolSize: 2 }).initialize();
    const client = await new ClientKeyStore(db).create('one');
    return new WorkerRig(database, nats, redis, signatures, registry, env, api, db, owner, client, await noise(64));
  }

  async close(): Promise<void> {
    await this.api.close();
    await this.signatures.close();
    await Promise.all([this.db.destroy(), this.owner.destroy()]);
    this.registry.close();
    await Promise.all([this.nats.close(), this.redis.close()]);
    await this.database.drop();
    await rm(this.env.ARTIFACTS_DIR, { recursive: true, force: true });
  }

  /** What a test left unfinished may not reach the next one's miners. */
  async clear(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.close()));
    await Promise.all(this.miners.map((miner) => miner.close()));
    this.workers = [];
    this.miners = [];
    const ended = `SET state = 'cancelled', finished_at = studio.now()`;
    await this.db.query(`UPDATE studio.attempts ${ended} WHERE state = 'open'`);
    await this.db.query(`UPDATE studio.jobs ${ended} WHERE finished_at IS NULL`);
    await this.redis.clear();
  }

  /** A correct answer to any request. */
  readonly works: StubMiner['answer'] = (request) => ({
    status: 200,
    form: resultForm(request, { image_0: this.image }),
  });

  async useMiners(count: number, answer: StubMiner['answer'] = this.works, slots = 4): Promise<StubMiner[]> {
    const names = Array.from({ length: count }, () => randomUUID());
    this.miners = await Promise.all(names.map((name) => startStubMiner(name, slots)));
    for (const miner of this.miners) miner.answer = answer;
    this.announce();
    return this.miners;
  }

  announce(): void {
    this.registry.announce(this.miners.map(({ routable }) => routable));
  }

  async startWorker(env: Partial<QuerierEnv> = {}): Promise<RunningQuerier> {
    const own = Object.assign(new QuerierEnv(), this.env, { ROLE: 'worker', WORKER_NAME: randomUUID(), ...env });
    const worker = await boot(own, log, undefined, this.signatures);
    this.workers.push(worker);
    return worker;
  }

  /** In place of those there are: it knows the miners that were announced last, and no others. */
  async restartWorker(): Promise<void> {
    await Promise.all(this.workers.splice(0).map((worker) => worker.close()));
    await this.startWorker();
  }

  /** A job in the queue, with a T_max of its own. */
  async addJob(options: NewJobOptions = {}): Promise<string> {
    const { timeoutMs = 10_000, deadlineMs = 3 * timeoutMs, routing = {}, engine = 'ref-sep-v1' } = options;
    const id = randomUUID();
    const lora = { sha256: 'a'.repeat(64), bytes: 1, contentType: 'x', rank: 4, tensorHash: 'b'.repeat(64) };
    const input = { lora, prompt: 'a cat', width: 64, height: 64, seed: 1, loraScale: 1, warp: 0, numImages: 1 };
    await this.db.query(
      `INSERT INTO studio.jobs (id, client_id, request_hash, kind, engine, input, routing, timeout_ms, deadline_at)
       VALUES ($1, $2, '', 'lora-inference', $3, $4, $5, $6, studio.now() + $7 * interval '1 ms')`,
      [id, this.client.clientId, engine, JSON.stringify(input), JSON.stringify(routing), timeoutMs, deadlineMs],
    );
    return id;
  }

  get headers(): Record<string, string> {
    return { authorization: `Key ${this.client.key}`, 'content-type': 'application/json' };
  }

  /** Waits over the public API, as a client would. */
  async finished(id: string): Promise<Json> {
    for (;;) {
      const reply = await fetch(`${this.api.url}/v1/jobs/${id}?wait=20`, { headers: this.headers });
      const job = (await reply.json()) as Json;
      if (job.finished_at) return job;
    }
  }

  /** The job's state, once it is the one that is waited for. */
  async untilState(id: string, state: string): Promise<void> {
    for (;;) {
      const [row] = await this.db.query('SELECT state FROM studio.jobs WHERE id = $1', [id]);
      if (row.state === state) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Delivers a result as the miner that was asked, whatever host PUBLIC_URL says. */
  async callback(
    request: MinerJobRequest,
    form: FormData = resultForm(request, { image_0: this.image }),
    secret = request.callback.secret,
  ): Promise<Response> {
    const { headers, body } = await signedCallback(request, form);
    const url = request.callback.url.replace('http://studio.test', this.api.url);
    return fetch(url, { method: 'POST', body, headers: { ...headers, [CALLBACK_SECRET_HEADER]: secret } });
  }
}

/** A picture that no check takes for empty. */
export async function noise(side: number): Promise<Buffer> {
  const gaussian = { type: 'gaussian' as const, mean: 128, sigma: 40 };
  return sharp({ create: { width: side, height: side, channels: 3, background: '#000', noise: gaussian } })
    .png()
    .toBuffer();
}

export const attemptStates = (job: Json): string[] => job.attempts.map(({ state }: { state: string }) => state);
