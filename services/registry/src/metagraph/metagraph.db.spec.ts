import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MinerList, MinerView } from '@studio/shared/contract/miners';
import type { ScoreBoard, Snapshot } from '@studio/shared/contract/scores';
import { SUBJECTS } from '@studio/shared/contract/subjects';
import { connectDataSource } from '@studio/shared/database/data-source';
import { createEgress } from '@studio/shared/platform/egress';
import { loadEnv } from '@studio/shared/platform/env';
import { createLogger } from '@studio/shared/platform/logger';
import { requestJson } from '@studio/shared/platform/nats';
import { hotkeyFromSeed, type Hotkey } from '@studio/shared/protocol/hotkey';
import { someAward } from '@studio/shared/testing/auditor-side';
import { startMockPylon, type MockPylon, type TestNeuron } from '@studio/shared/testing/mock-pylon';
import { RegistryGround, until } from '@studio/shared/testing/registry-ground';
import { boot, type RunningRegistry } from '../boot';
import { RegistryEnv } from '../env';
import { readMetagraph } from './metagraph-form';
import { pylonSource } from './metagraph-source';
import { MetagraphWatch } from './metagraph-watch';
import { MetagraphStore } from './metagraph.store';

const log = createLogger({ name: 'registry', level: 'silent', format: 'line' });
const key = (byte: string): Hotkey => hotkeyFromSeed(byte.repeat(32));
const [ADA, BEN, CLEO, REFERENCE, STRANGER] = ['a1', 'b2', 'c3', 'd4', 'e5'].map(key) as [
  Hotkey,
  Hotkey,
  Hotkey,
  Hotkey,
  Hotkey,
];
const [COLD, OTHER_COLD] = ['c0', 'c1'].map((byte) => key(byte).address) as [string, string];
const NETUID = 11;
const TOKEN = 'open-sesame';

const neuron = ({ address }: Hotkey, uid: number, coldkey = COLD): TestNeuron => ({
  hotkey: address,
  uid,
  coldkey,
  stake: 10.5,
});
const registration = (port: number, more: object = {}): object => ({
  endpoint: `http://127.0.0.1:${port}`,
  dialect: 'native',
  offers: [{ kind: 'lora-training', engine: 'ref-sep-v1', slots: 1 }],
  operator: 'somebody else entirely',
  ...more,
});

let ground: RegistryGround;
let pylon: MockPylon;
let registry: RunningRegistry;
let db: Awaited<ReturnType<typeof connectDataSource>>;
let directory: string;
const egress = createEgress({ allowPrivate: true, maxConnectionsPerOrigin: 1 });
const errors: string[] = [];
let changes = 0;

const pylonEnv = (): Record<string, string> => ({
  METAGRAPH: 'pylon',
  PYLON_URL: pylon.url,
  NETUID: String(NETUID),
  PYLON_TOKEN: TOKEN,
  TRUSTED_HOTKEYS: REFERENCE.address,
});

const start = (env: Record<string, string>): Promise<RunningRegistry> =>
  boot(loadEnv(RegistryEnv, ground.env(env)), log);

/** Another replica's watch on the same database, run when the test says so and not once a minute. */
function watch(acceptLoss = false): MetagraphWatch {
  return new MetagraphWatch({
    source: pylonSource({ url: `${pylon.url}/`, netuid: NETUID, token: TOKEN, egress }),
    store: new MetagraphStore(db, true),
    acceptLoss,
    onChange: () => (changes += 1),
    log: { info: () => undefined, error: (_facts: unknown, message?: string) => errors.push(String(message)) } as never,
  });
}

async function members(): Promise<{ hotkey: string; uid: number; member: boolean }[]> {
  const { rows } = await ground.owner.query('SELECT hotkey, uid, member FROM studio.neurons ORDER BY uid, hotkey');
  return rows;
}

async function get<T>(path: string): Promise<T> {
  return (await (await fetch(`${registry.url}${path}`)).json()) as T;
}

const put = (miner: Hotkey, port: number, more: object = {}): Promise<Response> =>
  ground.send(registry.url, { key: miner, body: registration(port, more) });

const codeOf = async (reply: Response): Promise<string> =>
  ((await reply.json()) as { error: { code: string } }).error.code;

beforeAll(async () => {
  ground = await RegistryGround.open(fetch);
  pylon = await startMockPylon({ netuid: NETUID, token: TOKEN });
  db = await connectDataSource({ url: ground.database.urls.registry, name: 'watch', onError: () => undefined });
  directory = await mkdtemp(join(tmpdir(), 'metagraph-'));
  registry = await start(pylonEnv());
});

afterAll(async () => {
  await registry.close();
  await Promise.all([egress.close(), db.destroy(), pylon.close(), rm(directory, { recursive: true })]);
  await ground.close();
});

describe('before a metagraph was ever read', () => {
  it('a registration is refused as a fault of ours, not of the miner', async () => {
    const reply = await put(ADA, 9_001);
    expect(reply.status).toBe(503);
    expect(await codeOf(reply)).toBe('DEPENDENCY_DOWN');
  });

  it('the closing of an epoch waits, because its snapshot could never be mended', async () => {
    await ground.auditor.commit(1, 2, 3, 4);
    await until(async () => (await get<{ epoch?: number }>('/v1/epochs/current')).epoch === 1);
    await ground.owner.query(`UPDATE studio.epochs SET opened_at = opened_at - interval '72 minutes'`);
    await until(async () => (await get<{ epoch?: number }>('/v1/epochs/current')).epoch === 2);
    await ground.auditor.settle(1);
    const store = new MetagraphStore(db, true);
    expect((await store.current())?.uids).toEqual({});
    // The keeper looks once a second; two looks later it would have been taken.
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    expect((await fetch(`${registry.url}/v1/snapshots/1`)).status).toBe(404);
    pylon.answer = { block: 100, neurons: [neuron(ADA, 7), neuron(BEN, 3), neuron(CLEO, 5)] };
    await watch().run();
    const snapshot = await until(async () => {
      const reply = await fetch(`${registry.url}/v1/snapshots/1`);
      return reply.ok && ((await reply.json()) as Snapshot);
    });
    expect(snapshot.metagraph?.block).toBe(100);
  });
});

describe('a metagraph from the sidecar', () => {
  it('is asked for its subnet with the token, and stored with its block', async () => {
    expect(pylon.asked.at(-1)).toBe(`GET /api/v1/subnet/${NETUID}/block/latest/neurons Bearer ${TOKEN}`);
    expect(await members()).toEqual([
      { hotkey: BEN.address, uid: 3, member: true },
      { hotkey: CLEO.address, uid: 5, member: true },
      { hotkey: ADA.address, uid: 7, member: true },
    ]);
    const { rows } = await ground.owner.query('SELECT source, block::int FROM studio.metagraph');
    expect(rows).toEqual([{ source: expect.stringContaining('pylon'), block: 100 }]);
    expect(rows[0].source).not.toContain(TOKEN);
  });

  it('is found where the sidecar had it before its first release, too', async () => {
    const early = await startMockPylon({ netuid: NETUID, token: TOKEN, early: true });
    early.answer = { block: 99, neurons: [neuron(ADA, 7)] };
    const read = (): Promise<unknown> => pylonSource({ url: early.url, netuid: NETUID, token: TOKEN, egress }).read();
    expect(readMetagraph(await read())).toMatchObject({ block: 99, neurons: [{ hotkey: ADA.address, uid: 7 }] });
    early.answer = 404;
    await expect(read()).rejects.toThrow('answers 404');
    await early.close();
  });

  it('lets its members register, each under its coldkey and with its uid', async () => {
    const reply = await put(ADA, 9_001);
    expect(reply.status).toBe(200);
    expect(await reply.json()).toMatchObject({ hotkey: ADA.address, uid: 7, operator: COLD });
    expect((await put(BEN, 9_002)).status).toBe(200);
    expect(await ground.routable()).toMatchObject(
      [
        { hotkey: ADA.address, uid: 7, operator: COLD },
        { hotkey: BEN.address, uid: 3, operator: COLD },
      ].sort((a, b) => (a.hotkey < b.hotkey ? -1 : 1)),
    );
  });

  it('keeps everybody else out, with the remedy, but not the references', async () => {
    const reply = await put(STRANGER, 9_003);
    expect(reply.status).toBe(403);
    const { error } = (await reply.json()) as { error: { code: string; message: string } };
    expect(error).toMatchObject({ code: 'NOT_A_MEMBER', message: expect.stringContaining('register it on the chain') });
    const reference = await put(REFERENCE, 9_004);
    expect(await reference.json()).toMatchObject({ trusted: true, uid: null, operator: 'somebody else entirely' });
    expect((await ground.routable()).map(({ hotkey }) => hotkey)).toContain(REFERENCE.address);
  });

  it('changes operators and uids with the chain, and says so once', async () => {
    pylon.answer = { block: 101, neurons: [neuron(ADA, 8, OTHER_COLD), neuron(BEN, 3), neuron(CLEO, 5)] };
    const before = changes;
    const watching = watch();
    await watching.run();
    await watching.run();
    expect(changes).toBe(before + 1);
    expect(await get<MinerView>(`/v1/miners/${ADA.address}`)).toMatchObject({ uid: 8, operator: OTHER_COLD });
  });

  it('withdraws a miner that has left, keeps its points, and frees its endpoint for its next hotkey', async () => {
    const award = { ...someAward({ hotkey: BEN.address, epoch: 2, points: '500' }) };
    const kept = { ...someAward({ hotkey: ADA.address, epoch: 2, points: '700' }) };
    await requestJson(
      ground.nats.connection,
      SUBJECTS.appendLedger.subject,
      { entries: [award, kept] },
      { timeoutMs: 30_000 },
    );
    expect((await get<ScoreBoard>('/v1/scores')).miners).toHaveLength(2);
    pylon.answer = { block: 102, neurons: [neuron(ADA, 8), neuron(CLEO, 5)] };
    await watch().run();
    expect((await ground.routable()).map(({ hotkey }) => hotkey).sort()).toEqual(
      [ADA.address, REFERENCE.address].sort(),
    );
    expect((await get<MinerList>('/v1/miners')).miners.map(({ hotkey }) => hotkey)).not.toContain(BEN.address);
    expect(await get<MinerView>(`/v1/miners/${BEN.address}`)).toMatchObject({
      uid: null,
      withdrawn_at: expect.any(String),
    });
    expect(await members()).toContainEqual({ hotkey: BEN.address, uid: 3, member: false });
    const board = await get<ScoreBoard>('/v1/scores');
    expect(board.miners.map(({ hotkey }) => hotkey)).toEqual([ADA.address]);
    expect(board.metagraph).toEqual({ block: 102, uids: { [ADA.address]: 8, [CLEO.address]: 5 } });
    const { rows } = await ground.owner.query('SELECT points::text FROM studio.ledger WHERE hotkey = $1', [
      BEN.address,
    ]);
    expect(rows).toEqual([{ points: '500' }]);
    expect((await put(BEN, 9_002)).status).toBe(403);
    expect((await put(CLEO, 9_002)).status).toBe(200);
  });

  it('weighs its members only, and names them all in the snapshot', async () => {
    await ground.owner.query(`UPDATE studio.epochs SET opened_at = opened_at - interval '72 minutes' WHERE epoch = 2`);
    await until(async () => (await get<{ epoch?: number }>('/v1/epochs/current')).epoch === 3);
    await ground.auditor.settle(2);
    const snapshot = await until(async () => {
      const reply = await fetch(`${registry.url}/v1/snapshots/2`);
      return reply.ok && ((await reply.json()) as Snapshot);
    });
    expect(snapshot.metagraph).toEqual({ block: 102, uids: { [ADA.address]: 8, [CLEO.address]: 5 } });
    expect(snapshot.miners).toMatchObject([{ hotkey: ADA.address, points: '700', win_rate: 1, u16: 65_535 }]);
  });

  it('takes a miner back that registers again after it has come back', async () => {
    pylon.answer = { block: 103, neurons: [neuron(ADA, 8), neuron(CLEO, 5), neuron(BEN, 9)] };
    await watch().run();
    expect((await put(BEN, 9_005)).status).toBe(200);
    expect((await get<ScoreBoard>('/v1/scores')).miners.map(({ hotkey }) => hotkey)).toContain(BEN.address);
  });
});

describe('a source that cannot be believed', () => {
  it.each<[string, MockPylon['answer'], RegExp]>([
    ['fails', 503, /cannot be read/],
    ['is empty', { block: 104, neurons: [] }, /cannot be read/],
    ['names nobody properly', { block: 104, neurons: [{ ...neuron(ADA, 8), hotkey: 'nobody' }] }, /cannot be read/],
    ['has lost more than half of its members', { block: 104, neurons: [neuron(ADA, 8)] }, /METAGRAPH_ACCEPT_LOSS/],
  ])('leaves the last good reading in force when it %s, and is reported', async (_how, answer, message) => {
    pylon.answer = answer;
    const [before, reported] = [await members(), errors.length];
    await watch().run();
    expect(errors.slice(reported)).toEqual([expect.stringMatching(message)]);
    expect(await members()).toEqual(before);
    const { rows } = await ground.owner.query('SELECT block::int FROM studio.metagraph');
    expect(rows).toEqual([{ block: 103 }]);
  });

  it('is reported when it does not answer at all', async () => {
    const reported = errors.length;
    const source = pylonSource({ url: 'http://127.0.0.1:1', netuid: NETUID, egress });
    await new MetagraphWatch({
      source,
      store: new MetagraphStore(db, true),
      acceptLoss: false,
      onChange: () => undefined,
      log: { info: () => undefined, error: (_facts: unknown, text?: string) => errors.push(String(text)) } as never,
    }).run();
    expect(errors.slice(reported)).toEqual([expect.stringContaining('cannot be read')]);
  });

  it('may lose half of its members, and more on the operator’s word, once', async () => {
    const believing = watch(true);
    pylon.answer = { block: 105, neurons: [neuron(ADA, 8)] };
    await believing.run();
    expect((await members()).filter(({ member }) => member)).toHaveLength(1);
    pylon.answer = { block: 106, neurons: [neuron(CLEO, 5)] };
    const reported = errors.length;
    await believing.run();
    expect(errors).toHaveLength(reported + 1);
  });
});

describe('a metagraph from a file', () => {
  it('is read at the start, and everything goes on from it after a restart', async () => {
    await registry.close();
    const path = join(directory, 'metagraph.json');
    const rows = [neuron(ADA, 1), neuron(BEN, 2), neuron(CLEO, 3)];
    await writeFile(path, JSON.stringify({ block: 200, neurons: rows }));
    registry = await start({ METAGRAPH: 'file', METAGRAPH_FILE: path, TRUSTED_HOTKEYS: REFERENCE.address });
    await until(async () => (await get<ScoreBoard>('/v1/scores')).metagraph?.block === 200);
    expect((await get<ScoreBoard>('/v1/scores')).metagraph?.uids).toEqual({
      [ADA.address]: 1,
      [BEN.address]: 2,
      [CLEO.address]: 3,
    });
  });

  it('that is gone leaves the last reading in force', async () => {
    await registry.close();
    registry = await start({ METAGRAPH: 'file', METAGRAPH_FILE: join(directory, 'gone.json') });
    expect((await get<ScoreBoard>('/v1/scores')).metagraph?.block).toBe(200);
    expect((await put(STRANGER, 9_010)).status).toBe(403);
    expect((await put(CLEO, 9_011)).status).toBe(200);
  });
});

describe('without a metagraph', () => {
  it('everybody may take part, whatever was stored before', async () => {
    await registry.close();
    registry = await start({ METAGRAPH: 'none' });
    const reply = await put(STRANGER, 9_012, { operator: 'me' });
    expect(await reply.json()).toMatchObject({ uid: null, operator: 'me' });
    expect(await get<ScoreBoard>('/v1/scores')).toMatchObject({ metagraph: null });
    expect((await get<MinerView>(`/v1/miners/${CLEO.address}`)).uid).toBeNull();
  });
});
