import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { buffer } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';
import type { ExportHead, ExportKind, SignedHead } from '@studio/shared/contract/exports';
import type { LedgerEntryMessage } from '@studio/shared/contract/ledger';
import { connectDataSource } from '@studio/shared/database/data-source';
import { DEFAULT_POLICY } from '@studio/shared/domain/policy';
import { canonicalJson } from '@studio/shared/protocol/canonical';
import { hotkeyFromSeed } from '@studio/shared/protocol/hotkey';
import { GrowingTree, isIncluded, leafHash } from '@studio/shared/protocol/merkle';
import { headHash, isSignedHead } from '@studio/shared/protocol/merkle-head';
import { restorationOf, reversalOf, someAward } from '@studio/shared/testing/auditor-side';
import { RegistryGround } from '@studio/shared/testing/registry-ground';
import { DrawExportStore } from './draw-export.store';
import { EpochKeeper } from './epoch-keeper';
import { EpochStore } from './epoch.store';
import { ExportFiles } from './export-files';
import { ExportKeeper } from './export-keeper';
import { ExportLines } from './export-lines';
import { ExportStore } from './export.store';
import { LedgerStore } from './ledger.store';
import { ScoreStore } from './score.store';
import { SnapshotStore } from './snapshot.store';

/** Databases are made and dropped here, beside other test files. */
jest.setTimeout(60_000);

/** More than two tiles of 1,024 lines. */
const MANY = 2_300;

const key = hotkeyFromSeed(randomBytes(32).toString('hex'));
const errors: string[] = [];
const log = {
  info: () => undefined,
  warn: () => undefined,
  error: (_: unknown, text?: string) => errors.push(text ?? ''),
};

let ground: RegistryGround;
let one: Replica;
let other: Replica;

type Replica = Awaited<ReturnType<typeof openReplica>>;

/** The registry's parts on a pool of its own. */
async function openReplica(Store = ExportStore) {
  const db = await connectDataSource({ url: ground.database.urls.registry, name: 'export', onError: () => undefined });
  const snapshots = new SnapshotStore(db, false);
  const store = new Store(db);
  const sources = { scores: new ScoreStore(db), snapshots, draws: new DrawExportStore(db), store };
  const lines = new ExportLines(sources, 300);
  const epochs = new EpochStore(db);
  const hint = (): void => undefined;
  return {
    db,
    store,
    epochs,
    ledger: new LedgerStore(db),
    files: new ExportFiles(store, lines, log),
    exports: new ExportKeeper({ store, lines, key, log }),
    keeper: new EpochKeeper({ epochs, snapshots, policy: DEFAULT_POLICY, hint, onEvents: hint, log }),
  };
}

beforeAll(async () => {
  ground = await RegistryGround.open(fetch);
  await now('10:20:00');
  await ground.auditor.commit(1, 2, 3, 4);
  [one, other] = await Promise.all([openReplica(), openReplica()]);
  await one.keeper.run();
  const awards = Array.from({ length: MANY }, (_, n) => award({ hotkey: `miner-${n % 7}` }));
  await append(awards);
  await append([reversalOf(awards[0]!), reversalOf(awards[1]!)]);
  await append([restorationOf(reversalOf(awards[0]!))]);
  await close(1);
});

afterAll(async () => {
  await Promise.all([one.db.destroy(), other.db.destroy()]);
  await ground.close();
});

/** The database's time, from now on. */
async function now(time: string): Promise<void> {
  await ground.owner.query(
    `CREATE OR REPLACE FUNCTION studio.now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE
       AS 'SELECT timestamptz ''2026-02-03 ${time}Z'''`,
  );
}

const award = (fields: Partial<LedgerEntryMessage> = {}): LedgerEntryMessage =>
  someAward({ policyVersion: DEFAULT_POLICY.version, ...fields });

async function append(entries: readonly LedgerEntryMessage[]): Promise<void> {
  for (let n = 0; n < entries.length; n += 500) await one.ledger.append(entries.slice(n, n + 500));
}

async function close(epoch: number): Promise<void> {
  await one.epochs.close(epoch);
  await ground.auditor.settle(epoch);
  await one.keeper.run();
}

const heads = async (kind: ExportKind): Promise<SignedHead[]> => (await one.store.list({ kind, limit: 100 })).reverse();
const headOf = async (kind: ExportKind, name: string): Promise<ExportHead> => (await one.files.head(kind, name)).head;

async function textOf({ files }: Replica, kind: ExportKind, name: string): Promise<string> {
  return gunzipSync(await buffer((await files.open(kind, name)).body)).toString();
}

async function signAll(replica: Replica): Promise<void> {
  while (await replica.exports.run());
}

function rootOfText(text: string): string {
  const tree = new GrowingTree();
  for (const line of text.split('\n').slice(0, -2)) tree.add(leafHash(line));
  return tree.root().toString('hex');
}

describe('the head of an epoch', () => {
  it('is not written by a replica that ends before it could be, and then by another', async () => {
    class EndsBeforeWriting extends ExportStore {
      override add(): Promise<boolean> {
        return Promise.reject(new Error('killed'));
      }
    }
    const ending = await openReplica(EndsBeforeWriting);
    await expect(ending.exports.run()).rejects.toThrow('killed');
    await ending.db.destroy();
    expect(await heads('epoch')).toEqual([]);
  });

  it('is one, however many replicas sign at once', async () => {
    const adds: boolean[] = [];
    for (const { store } of [one, other]) {
      const add = store.add.bind(store);
      store.add = async (...what) => {
        const added = await add(...what);
        adds.push(added);
        return added;
      };
    }
    expect(await Promise.all([one.exports.run(), other.exports.run(), one.exports.run()])).toEqual([true, true, true]);
    expect(adds.sort()).toEqual([false, false, true]);
    expect(await Promise.all([one.exports.run(), other.exports.run()])).toEqual([false, false]);
    const [signed, ...others] = await heads('epoch');
    expect(others).toEqual([]);
    expect(isSignedHead(signed!.head, signed!.signature)).toBe(true);
    expect(signed!.head).toMatchObject({
      kind: 'epoch',
      name: '1',
      from_seq: 1,
      to_seq: MANY + 4,
      lines: 1 + (MANY + 4) + 1 + 1,
      previous: '0'.repeat(64),
      signed_at: '2026-02-03T10:20:00.000Z',
      signer: key.address,
    });
  });

  it('goes on from the one before it, and nothing else does', async () => {
    await append([award({ epoch: 2 })]);
    await close(2);
    await signAll(other);
    const [first, second] = await heads('epoch');
    expect(second!.head).toMatchObject({ name: '2', previous: headHash(first!.head), from_seq: 1 });
    const branch = { ...second!.head, name: '9', to_seq: 9_999 };
    expect(await one.store.add({ head: branch, signature: second!.signature }, Buffer.alloc(32))).toBe(false);
  });

  it('cannot be changed or taken back by the service that wrote it', async () => {
    for (const change of [
      `UPDATE studio.exports SET signature = ''`,
      'DELETE FROM studio.exports',
      'TRUNCATE studio.exports',
    ])
      await expect(one.db.query(change)).rejects.toMatchObject({ code: '42501' });
  });
});

describe('the lines of an export', () => {
  it('have the signed root, and end with the signed head', async () => {
    const text = await textOf(one, 'epoch', '1');
    const signed = await one.files.head('epoch', '1');
    expect(rootOfText(text)).toBe(signed.head.root);
    expect(text.endsWith(`\n${canonicalJson(signed)}\n`)).toBe(true);
    const [snapshot] = await ground.owner
      .query<{ body: string }>('SELECT body FROM studio.snapshots WHERE epoch = 1')
      .then(({ rows }) => rows);
    expect(text).toContain(`\n{"snapshot":${snapshot!.body}}\n`);
  });

  it('are the same bytes each time, from every replica, whatever has happened since', async () => {
    const before = await textOf(one, 'epoch', '1');
    await append([award({ epoch: 3 })]);
    await ground.owner.query('INSERT INTO studio.policies (version, body) VALUES (99, $1)', [
      { ...DEFAULT_POLICY, version: 99 },
    ]);
    await ground.owner.query('ANALYZE studio.ledger');
    expect(await textOf(other, 'epoch', '1')).toBe(before);
    expect(await textOf(one, 'epoch', '1')).toBe(before);
  });

  it('are cut off, and reported, when a row is not what it was', async () => {
    const change = (by: string) =>
      ground.owner.query(`UPDATE studio.ledger SET points = points ${by} WHERE seq = 1500`);
    await change('+ 1');
    await expect(textOf(one, 'epoch', '1')).rejects.toThrow();
    await expect(one.files.proof('epoch', '1', 1_600)).rejects.toMatchObject({ code: 'INTERNAL' });
    expect(errors).toEqual(Array(2).fill(expect.stringContaining('not those that were signed')));
    await change('- 1');
    expect(rootOfText(await textOf(one, 'epoch', '1'))).toBe((await headOf('epoch', '1')).root);
  });

  it('stop when the service does', async () => {
    const replica = await openReplica();
    const { body } = await replica.files.open('epoch', '1');
    const ended = once(body, 'error');
    replica.files.close();
    expect(((await ended) as Error[])[0]).toMatchObject({ name: 'AbortError' });
    expect(body.destroyed).toBe(true);
    await replica.db.destroy();
  });

  it('of an export that there is not are refused in words', async () => {
    await expect(one.files.open('epoch', '77')).rejects.toThrow('there is no export of epoch 77 (yet)');
    await expect(one.files.head('hour', 'latest')).rejects.toThrow('no hour is exported yet');
    await expect(one.files.proof('epoch', '1', 9_999)).rejects.toThrow(`it has events 1 to ${MANY + 4}`);
  });
});

describe('a proof', () => {
  it.each([1, 2, 1_022, 1_023, 1_024, 2_047, 2_048, MANY, MANY + 4])('of event %i leads to the root', async (seq) => {
    const { leaf, leaf_index: index, path, head } = await one.files.proof('epoch', '1', seq);
    expect(JSON.parse(leaf)).toMatchObject({ event: { seq } });
    const inclusion = {
      index,
      size: head.lines,
      path: path.map((hash) => Buffer.from(hash, 'hex')),
      root: Buffer.from(head.root, 'hex'),
    };
    expect(isIncluded(leafHash(leaf), inclusion)).toBe(true);
    expect(isIncluded(leafHash(leaf.replace('10:20', '10:21')), inclusion)).toBe(false);
  });
});

describe('the export of an hour', () => {
  /** One award at this time, with the next number, as a statement that began then leaves it. */
  async function awardAt(time: string): Promise<number> {
    await now(time);
    const entry = award({ epoch: 3 });
    await append([entry]);
    const { rows } = await ground.owner.query<{ seq: string }>('SELECT seq FROM studio.ledger WHERE entry_id = $1', [
      entry.id,
    ]);
    return Number(rows[0]!.seq);
  }

  it('is not made until a minute after its end', async () => {
    await now('11:00:59.999');
    expect(await one.exports.run()).toBe(false);
    await now('11:01:00');
    await Promise.all([signAll(one), signAll(other)]);
    const [first, ...others] = await heads('hour');
    expect(others).toEqual([]);
    expect(first!.head).toMatchObject({ name: '2026-02-03T10Z', from_seq: 1, previous: '0'.repeat(64) });
  });

  it('is cut at the first event of the next hour: one numbered later that began before is in the next', async () => {
    await awardAt('11:30:00');
    const last = await awardAt('11:59:59.999');
    const first = await awardAt('12:00:00');
    const late = await awardAt('11:59:59.500');
    await awardAt('12:00:01');
    await now('12:30:00');
    await signAll(one);
    expect(await headOf('hour', 'latest')).toMatchObject({ name: '2026-02-03T11Z', to_seq: last });
    await now('14:30:00');
    await signAll(other);
    const newest = await headOf('hour', 'latest');
    expect(newest).toMatchObject({ name: '2026-02-03T12Z', from_seq: first, to_seq: late + 1 });
  });

  it('is followed by the next one with events; all of them are the log, each event once', async () => {
    const last = await awardAt('19:15:00');
    await now('20:01:00');
    await signAll(one);
    const all = (await heads('hour')).map(({ head }) => head);
    expect(all.map(({ name }) => name.slice(-3))).toEqual(['10Z', '11Z', '12Z', '19Z']);
    const seqs: number[] = [];
    for (const { name } of all) {
      for (const line of (await textOf(other, 'hour', name)).split('\n').slice(0, -2)) {
        const { event } = JSON.parse(line) as { event?: { seq: number } };
        if (event) seqs.push(event.seq);
      }
    }
    expect(seqs).toEqual(Array.from({ length: last }, (_, n) => n + 1));
    all.slice(1).forEach((head, n) => expect(head.previous).toBe(headHash(all[n]!)));
  });

  it('lists heads newest first, page by page', async () => {
    const all = (await heads('hour')).reverse();
    const first = await one.files.list({ kind: 'hour', limit: 3 });
    const rest = await one.files.list({ kind: 'hour', limit: 3, before: first.at(-1)!.head.to_seq });
    expect([...first, ...rest]).toEqual(all);
  });
});
