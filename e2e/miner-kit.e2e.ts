/** The miner kit against the real registry: registering, what it learns there, its account, its self-test, an appeal. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { appeal } from '@studio/miner/commands/appealing';
import { register, withdraw } from '@studio/miner/commands/registering';
import { selfTest } from '@studio/miner/commands/self-test';
import { accountText } from '@studio/miner/commands/status';
import { minerEnv } from '@studio/miner/env';
import { type Miner, startMiner } from '@studio/miner/miner';
import { RegistryClient } from '@studio/miner/registry-client';
import { boot, type RunningRegistry } from '@studio/registry/boot';
import { RegistryEnv } from '@studio/registry/env';
import { loadEnv } from '@studio/shared/platform/env';
import { createLogger } from '@studio/shared/platform/logger';
import { hotkeyFromSeed } from '@studio/shared/protocol/hotkey';
import { AuditorSide } from '@studio/shared/testing/auditor-side';
import { openTestNats, type TestNats } from '@studio/shared/testing/nats';
import { createDatabase, type TestDatabase } from '@studio/shared/testing/postgres';
import { until } from '@studio/shared/testing/registry-ground';
import { openTestRedis, type TestRedis } from '@studio/shared/testing/redis';
import pino from 'pino';

// Real threads that compile TypeScript as they start, on machines that may be doing much else.
jest.setTimeout(120_000);

const ADMIN_KEY = '44'.repeat(32);
const seed = '31'.repeat(32);
const hotkey = hotkeyFromSeed(seed);
const orchestrator = hotkeyFromSeed('11'.repeat(32));
const threads = {
  filename: join(__dirname, '../clients/miner/src/engine-worker.ts'),
  execArgv: [
    '--conditions=studio-src',
    '--require',
    join(__dirname, '../libs/shared/src/testing/typescript-threads.cjs'),
  ],
};

let database: TestDatabase;
let nats: TestNats;
let redis: TestRedis;
let registry: RunningRegistry;
let directory: string;

beforeAll(async () => {
  [database, nats, redis] = await Promise.all([createDatabase(), openTestNats(), openTestRedis()]);
  directory = await mkdtemp(join(tmpdir(), 'miner-kit-'));
  const env = loadEnv(RegistryEnv, {
    POSTGRES_URL: database.urls.registry,
    NATS_URL: nats.url,
    REDIS_URL: redis.url,
    HTTP_PORT: '0',
    ADMIN_PORT: '0',
    ADMIN_KEY,
    ORCHESTRATOR_SEED: '11'.repeat(32),
  });
  registry = await boot(env, createLogger({ name: 'registry', level: 'silent', format: 'line' }));
});

afterAll(async () => {
  await registry.close();
  await Promise.all([database.drop(), nats.close(), redis.close(), rm(directory, { recursive: true })]);
});

async function start(): Promise<Miner> {
  const env = minerEnv({
    MINER_SEED: seed,
    MINER_PORT: '0',
    MINER_DATA_DIR: directory,
    MINER_SLOTS_INFERENCE: '2',
    REGISTRY_URL: registry.url,
  });
  return startMiner({ env, hotkey, threads, log: pino({ level: 'silent' }) });
}

async function health(miner: Miner): Promise<Record<string, unknown>> {
  return (await fetch(`http://127.0.0.1:${miner.port}/v1/health`)).json() as Promise<Record<string, unknown>>;
}

it('a miner registers, learns whose jobs it takes, and keeps the whole contract', async () => {
  const miner = await start();
  try {
    while ((await health(miner)).registered !== true) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await health(miner)).toMatchObject({ orchestrator: orchestrator.address });
    const variables = {
      MINER_SEED: seed,
      REGISTRY_URL: registry.url,
      MINER_ENDPOINT: `http://127.0.0.1:${miner.port}`,
    };
    const printed = jest.spyOn(process.stdout, 'write').mockReturnValue(true);
    const passed = await selfTest(variables, { json: true });
    const findings = JSON.parse(String(printed.mock.calls.at(-1)![0])) as { result: string; name: string }[];
    printed.mockRestore();
    expect(findings.filter(({ result }) => result !== 'pass')).toEqual([]);
    expect(passed).toBe(true);
  } finally {
    await miner.close();
  }
});

it('a miner that was restarted knows the orchestrator before the registry answers', async () => {
  const env = minerEnv({
    MINER_SEED: seed,
    MINER_PORT: '0',
    MINER_DATA_DIR: directory,
    REGISTRY_URL: 'http://127.0.0.1:9',
  });
  const miner = await startMiner({ env, hotkey, threads, log: pino({ level: 'silent' }) });
  try {
    expect(await health(miner)).toMatchObject({ orchestrator: orchestrator.address, registered: false });
  } finally {
    await miner.close();
  }
});

it('a Dippy miner is registered, shown its account, and withdrawn by command', async () => {
  const dippy = 'ab'.repeat(32);
  const variables = { MINER_SEED: dippy, REGISTRY_URL: registry.url, MINER_ENDPOINT: 'http://192.0.2.7:8080' };
  await register({ ...variables, MINER_DIALECT: 'dippy', MINER_SLOTS_INFERENCE: '3' });
  const client = new RegistryClient(registry.url, hotkeyFromSeed(dippy));
  const details = await client.account();
  expect(details).toMatchObject({
    dialect: 'dippy',
    endpoint: 'http://192.0.2.7:8080',
    offers: [{ kind: 'lora-inference', engine: 'flux', slots: 3 }],
    account: { jobs: [], missed: [] },
  });
  expect(accountText(details)).toContain('lora-inference on flux, 3 slots');
  await withdraw(variables);
  expect((await client.view()).withdrawn_at).not.toBeNull();
});

it('a miner reads why its result was found invalid once the epoch is closed, and appeals by command', async () => {
  const auditor = new AuditorSide(database);
  const own = 'cd'.repeat(32);
  const key = hotkeyFromSeed(own);
  const variables = { MINER_SEED: own, REGISTRY_URL: registry.url, MINER_ENDPOINT: 'http://192.0.2.8:8080' };
  const account = () => new RegistryClient(registry.url, key).account();
  try {
    await auditor.commit(1, 2);
    await until(async () => (await fetch(`${registry.url}/v1/epochs/current`)).ok);
    await register(variables);
    const jobId = randomUUID();
    await auditor.judge({ jobId, hotkey: key.address, reason: 'the adapter differs' });
    await expect(appeal(variables, jobId, 'no')).rejects.toThrow('answers 404: there is no invalid verdict');
    await fetch(`${registry.adminUrl}/admin/v1/epochs/close`, {
      method: 'POST',
      headers: { authorization: `Bearer ${ADMIN_KEY}` },
    });
    await auditor.settle(1);
    await until(async () => (await fetch(`${registry.url}/v1/snapshots/1`)).ok);
    expect(accountText(await account())).toMatch(
      new RegExp(`${jobId}.*the adapter differs.*stands: see .appeal.`, 's'),
    );
    await appeal(variables, jobId, 'my adapter is right');
    await appeal(variables, jobId, 'my adapter is right');
    expect(accountText(await account())).toMatch(/appeal of .*: open/);
    await auditor.judgeAgain({ jobId, hotkey: key.address, outcome: 'valid', reason: 'it is equal' });
    await auditor.correct(jobId, 'appeal', 'it is equal');
    expect(accountText(await account())).toContain('taken back (appeal): it is equal');
  } finally {
    await auditor.close();
  }
});
