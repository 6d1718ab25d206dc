import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LedgerEntryMessage } from '@studio/shared/contract/ledger';
import type { Snapshot } from '@studio/shared/contract/scores';
import { SCORES_STREAM, SUBJECTS } from '@studio/shared/contract/subjects';
import { loadEnv } from '@studio/shared/platform/env';
import { createLogger } from '@studio/shared/platform/logger';
import { requestJson } from '@studio/shared/platform/nats';
import { hotkeyFromSeed, type Hotkey } from '@studio/shared/protocol/hotkey';
import { AuditorSide, restorationOf, reversalOf, someAward } from '@studio/shared/testing/auditor-side';
import { openTestNats, openTestScores, type TestNats, type TestScores } from '@studio/shared/testing/nats';
import { createDatabase, type TestDatabase } from '@studio/shared/testing/postgres';
import { openTestRedis, type TestRedis } from '@studio/shared/testing/redis';
import { boot, type RunningRegistry } from '@studio/registry/boot';
import { RegistryEnv } from '@studio/registry/env';
import { Cursor } from '@studio/validator/cursor';
import { LiveFeed } from '@studio/validator/live-feed';
import { RegistryClient } from '@studio/validator/registry-client';
import type { ScoreSources } from '@studio/validator/score-stream';
import type { EpochWeights } from '@studio/validator/snapshot-check';
import { run, SnapshotRefused, weightsOf } from '@studio/validator/validator';

jest.setTimeout(120_000);

const ADMIN_KEY = randomBytes(32).toString('hex');

let database: TestDatabase;
let nats: TestNats;
let scores: TestScores;
let redis: TestRedis;
let auditor: AuditorSide;
let registry: RunningRegistry;
let directory: string;

beforeAll(async () => {
  [database, nats, scores, redis] = await Promise.all([
    createDatabase(),
    openTestNats(),
    openTestScores(),
    openTestRedis(),
  ]);
  directory = await mkdtemp(join(tmpdir(), 'validator-'));
  auditor = new AuditorSide(database);
  await auditor.commit(1, 2, 3, 4, 5, 6);
  const env = loadEnv(RegistryEnv, {
    POSTGRES_URL: database.urls.registry,
    NATS_URL: nats.url,
    REDIS_URL: redis.url,
    HTTP_PORT: '0',
    ADMIN_PORT: '0',
    ADMIN_KEY,
    ORCHESTRATOR_SEED: '11'.repeat(32),
    ...scores.env,
  });
  registry = await boot(env, createLogger({ name: 'registry', level: 'silent', format: 'line' }));
  await until(async () => (await fetch(`${registry.url}/v1/epochs/current`)).ok);
});

afterAll(async () => {
  await registry.close();
  await auditor.close();
  await Promise.all([database.drop(), nats.close(), scores.close(), redis.close()]);
  await rm(directory, { recursive: true });
});

/** Polls, because what is awaited happens in another program; the test's own timeout is the bound. */
async function until<T>(look: () => Promise<T | undefined | null | false>): Promise<T> {
  for (;;) {
    const found = await look();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const newHotkey = (): Hotkey => hotkeyFromSeed(randomBytes(32).toString('hex'));

/** One validator, as `run` would be on a machine of its own. */
class Running {
  readonly said: string[] = [];
  readonly outFile: string;
  private readonly stopping = new AbortController();
  private readonly live?: LiveFeed;
  private readonly say = (text: string): void => void this.said.push(text);
  private done: Promise<void> = Promise.resolve();

  constructor(
    readonly name: string,
    door: 'stream' | 'http' = 'http',
  ) {
    this.outFile = join(directory, name, 'weights.json');
    if (door === 'stream') this.live = new LiveFeed({ registryUrl: registry.url, hotkey: newHotkey(), say: this.say });
  }

  async start(): Promise<this> {
    const cursor = await Cursor.open(join(directory, this.name), this.say);
    this.said.push(`from ${cursor.copy.seq}`);
    const { live, stopping } = this;
    const sources = { registry: new RegistryClient(registry.url), live, say: this.say, signal: stopping.signal };
    this.done = run(cursor, sources, { path: this.outFile, netuid: 11 });
    return this;
  }

  weightsOf(epoch: number): Promise<EpochWeights & { netuid: number }> {
    return until(async () => {
      const text = await readFile(this.outFile, 'utf8').catch(() => 'null');
      const weights = JSON.parse(text) as (EpochWeights & { netuid: number }) | null;
      return weights?.epoch === epoch && weights;
    });
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.done;
    await this.live?.close();
  }
}

const append = (...entries: LedgerEntryMessage[]): Promise<unknown> =>
  requestJson(nats.connection, SUBJECTS.appendLedger.subject, { entries }, { timeoutMs: 30_000 });

async function closeEpoch(epoch: number): Promise<Snapshot> {
  const reply = await fetch(`${registry.adminUrl}/admin/v1/epochs/close`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ADMIN_KEY}` },
  });
  expect(await reply.json()).toEqual({ closing: epoch, open: epoch + 1 });
  await auditor.settle(epoch);
  return until(async () => {
    const answer = await fetch(`${registry.url}/v1/snapshots/${epoch}`);
    return answer.ok && ((await answer.json()) as Snapshot);
  });
}

const weighed = ({ miners }: Snapshot): Pick<EpochWeights, 'hotkeys' | 'weights'> => {
  const sent = miners.filter(({ u16 }) => u16 > 0);
  return { hotkeys: sent.map(({ hotkey }) => hotkey), weights: sent.map(({ u16 }) => u16) };
};

const sources = (): ScoreSources => ({
  registry: new RegistryClient(registry.url),
  say: () => undefined,
  signal: new AbortController().signal,
});

/** Taken from `cheat` in epoch 2. */
let accused: LedgerEntryMessage;

it('an epoch without a valid job sets no weights', async () => {
  const validator = await new Running('none', 'stream').start();
  await closeEpoch(1);
  expect(await validator.weightsOf(1)).toMatchObject({ outcome: 'NO_SCORES', hotkeys: [], weights: [] });
  await validator.stop();
});

it('a validator on the stream and one on HTTP write the weights of the registry', async () => {
  const validators = [await new Running('fast', 'stream').start(), await new Running('slow').start()];
  const cheat = someAward({ epoch: 2, hotkey: 'cheat' });
  accused = reversalOf(cheat);
  await append(cheat, someAward({ epoch: 2, hotkey: 'miner-b', points: '650001' }), someAward({ epoch: 2 }));
  await append(accused);
  const snapshot = await closeEpoch(2);
  expect(snapshot.miners.map(({ hotkey }) => hotkey)).toEqual(['miner-a', 'miner-b']);
  for (const validator of validators) {
    const weights = await validator.weightsOf(2);
    expect(weights).toMatchObject({ outcome: 'OK', netuid: 11, ...weighed(snapshot) });
    await validator.stop();
    expect(validator.said.filter((text) => text.includes('refused'))).toEqual([]);
  }
});

it('a restoration leaves the old weights as they were, and counts in the next ones, for old and new validators', async () => {
  const before = await weightsOf(2, sources());
  const validators = [await new Running('fast', 'stream').start(), await new Running('newcomer').start()];
  await append(restorationOf(accused));
  const snapshot = await closeEpoch(3);
  expect(snapshot.miners.map(({ hotkey, points }) => [hotkey, points])).toEqual([
    ['cheat', '700000'],
    ['miner-a', '700000'],
    ['miner-b', '650001'],
  ]);
  for (const validator of validators) {
    expect(await validator.weightsOf(3)).toMatchObject({ outcome: 'OK', ...weighed(snapshot) });
    await validator.stop();
    expect(validator.said.filter((text) => text.includes('refused'))).toEqual([]);
  }
  expect(await weightsOf(2, sources())).toEqual(before);
});

it('a validator that was stopped goes on from its cursor and misses nothing', async () => {
  const before = Number((await readFile(join(directory, 'fast', 'ledger-copy.json'), 'utf8')).match(/"seq":(\d+)/)![1]);
  await append(someAward({ epoch: 4, hotkey: 'miner-c', kind: 'lora-inference', points: '299999' }));
  const again = await new Running('fast', 'stream').start();
  await append(someAward({ epoch: 4, hotkey: 'miner-c', points: '1' }));
  const snapshot = await closeEpoch(4);
  expect(await again.weightsOf(4)).toMatchObject(weighed(snapshot));
  expect(snapshot.miners.map(({ hotkey }) => hotkey)).toContain('miner-c');
  expect(again.said[0]).toBe(`from ${before}`);
  expect(before).toBeGreaterThan(0);
  await again.stop();
});

it('a validator whose stream vanishes under it misses nothing', async () => {
  const validator = await new Running('amnesia', 'stream').start();
  await validator.weightsOf(4);
  await (await scores.connection.jetstreamManager()).streams.delete(SCORES_STREAM);
  await append(someAward({ epoch: 5, hotkey: 'miner-d' }));
  const snapshot = await closeEpoch(5);
  expect(await validator.weightsOf(5)).toMatchObject(weighed(snapshot));
  await validator.stop();
});

it('the weights of any closed epoch can be had afterwards, and of no other', async () => {
  const latest = await weightsOf('latest', sources());
  expect(latest).toEqual(await weightsOf(5, sources()));
  expect((await weightsOf(2, sources())).hotkeys).toEqual(['miner-a']);
  await expect(weightsOf(6, sources())).rejects.toThrow('epoch 6 has no snapshot');
});

it('a validator whose own copy differs refuses the snapshot, says why and leaves its weights alone', async () => {
  const path = join(directory, 'fast', 'ledger-copy.json');
  const before = await readFile(join(directory, 'fast', 'weights.json'), 'utf8');
  // As if an award of miner-c had been larger when it was read.
  await writeFile(path, (await readFile(path, 'utf8')).replace('299999', '299998'));
  const validator = await new Running('fast', 'stream').start();
  const refusal = await until(async () => validator.said.find((text) => text.includes('refused')));
  expect(refusal).toBe(
    new SnapshotRefused(5, [
      'points of miner-c is 300000, recomputed 299999',
      'lora-inference points of miner-c is 299999, recomputed 299998',
    ]).message,
  );
  await validator.stop();
  expect(await readFile(join(directory, 'fast', 'weights.json'), 'utf8')).toBe(before);
});
