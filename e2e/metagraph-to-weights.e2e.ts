import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Snapshot } from '@studio/shared/contract/scores';
import { SUBJECTS } from '@studio/shared/contract/subjects';
import { loadEnv } from '@studio/shared/platform/env';
import { createLogger } from '@studio/shared/platform/logger';
import { requestJson } from '@studio/shared/platform/nats';
import { hotkeyFromSeed } from '@studio/shared/protocol/hotkey';
import { someAward } from '@studio/shared/testing/auditor-side';
import { ADMIN_KEY, RegistryGround, until } from '@studio/shared/testing/registry-ground';
import { boot, type RunningRegistry } from '@studio/registry/boot';
import { RegistryEnv } from '@studio/registry/env';
import { RegistryClient } from '@studio/validator/registry-client';
import type { EpochWeights } from '@studio/validator/snapshot-check';
import { weightsOf } from '@studio/validator/validator';

jest.setTimeout(120_000);

const [ADA, BEN, OUTSIDER, COLD] = ['f1', 'f2', 'f3', 'f4'].map((byte) => hotkeyFromSeed(byte.repeat(32)).address) as [
  string,
  string,
  string,
  string,
];

let ground: RegistryGround;
let registry: RunningRegistry;
let directory: string;

const start = (): Promise<RunningRegistry> =>
  boot(
    loadEnv(RegistryEnv, ground.env({ METAGRAPH: 'file', METAGRAPH_FILE: join(directory, 'metagraph.json') })),
    createLogger({ name: 'registry', level: 'silent', format: 'line' }),
  );

async function write(block: number, hotkeys: readonly string[]): Promise<void> {
  const neurons = hotkeys.map((hotkey, uid) => ({ hotkey, uid, coldkey: COLD, stake: '1' }));
  await writeFile(join(directory, 'metagraph.json'), JSON.stringify({ block, neurons }));
}

async function earn(epoch: number, ...hotkeys: readonly string[]): Promise<void> {
  const entries = hotkeys.map((hotkey, rank) => someAward({ hotkey, epoch, points: String(700_000 - rank) }));
  await requestJson(ground.nats.connection, SUBJECTS.appendLedger.subject, { entries }, { timeoutMs: 30_000 });
}

async function close(epoch: number): Promise<Snapshot> {
  const reply = await fetch(`${registry.adminUrl}/admin/v1/epochs/close`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ADMIN_KEY}` },
  });
  expect(await reply.json()).toEqual({ closing: epoch, open: epoch + 1 });
  await ground.auditor.settle(epoch);
  return until(async () => {
    const answer = await fetch(`${registry.url}/v1/snapshots/${epoch}`);
    return answer.ok && ((await answer.json()) as Snapshot);
  });
}

/** What a validator sets that has only what the registry serves: it refuses a snapshot that differs by one bit. */
const checked = (epoch: number): Promise<EpochWeights> =>
  weightsOf(epoch, {
    registry: new RegistryClient(registry.url),
    say: () => undefined,
    signal: new AbortController().signal,
  });

const sent = ({ miners }: Snapshot): [string, number][] =>
  miners.filter(({ u16 }) => u16 > 0).map(({ hotkey, u16 }) => [hotkey, u16]);

beforeAll(async () => {
  ground = await RegistryGround.open(fetch);
  directory = await mkdtemp(join(tmpdir(), 'metagraph-'));
  await ground.auditor.commit(1, 2, 3);
  await write(100, [ADA, BEN]);
  registry = await start();
  await until(async () => (await fetch(`${registry.url}/v1/epochs/current`)).ok);
});

afterAll(async () => {
  await registry.close();
  await Promise.all([ground.close(), rm(directory, { recursive: true })]);
});

it('a validator recomputes the weights of the members to the bit, before and after one has left', async () => {
  await earn(1, OUTSIDER, ADA, BEN);
  const first = await close(1);
  expect(first.metagraph).toEqual({ block: 100, uids: { [ADA]: 0, [BEN]: 1 } });
  expect(first.miners.map(({ hotkey }) => hotkey)).toEqual([ADA, BEN].sort());

  await registry.close();
  await write(460, [BEN, OUTSIDER]);
  registry = await start();
  await until(
    async () => ((await (await fetch(`${registry.url}/v1/scores`)).json()) as Snapshot).metagraph?.block === 460,
  );
  await earn(2, ADA, BEN);
  const second = await close(2);
  expect(second.miners.map(({ hotkey }) => hotkey)).toEqual([BEN, OUTSIDER].sort());

  for (const snapshot of [first, second]) {
    const { hotkeys, weights } = await checked(snapshot.epoch);
    expect(hotkeys.map((hotkey, index) => [hotkey, weights[index]])).toEqual(sent(snapshot));
  }
});
