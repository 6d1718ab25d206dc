import { createDataSource } from '@studio/shared/database/data-source';
import { createDatabase, type TestDatabase } from '@studio/shared/testing/postgres';
import type { DataSource } from 'typeorm';
import { MeasurementStore } from './measurement.store';

let database: TestDatabase;
let db: DataSource;
let owner: DataSource;

beforeAll(async () => {
  database = await createDatabase();
  db = await createDataSource({ url: database.urls.querier, name: 'test', poolSize: 2 }).initialize();
  owner = await createDataSource({ url: database.urls.owner, name: 'owner', poolSize: 1 }).initialize();
});
afterAll(async () => {
  await Promise.all([db?.destroy(), owner?.destroy()]);
  await database?.drop();
});
afterEach(() => owner.query('TRUNCATE studio.miner_measurements'));

/** Without a cache. */
const fresh = async (hotkey: string) => (await new MeasurementStore(db).all()).get(hotkey);
const store = () => new MeasurementStore(db);

/** Moves the time since which an address is known into the past, so that a change shows. */
const age = () => owner.query(`UPDATE studio.miner_measurements SET address_since = address_since - interval '1 hour'`);

it('keeps the least connect time and adds up the samples', async () => {
  await store().recordAll([
    { hotkey: 'a', rttMinUs: 900, samples: 8, address: '1.2.3.4:80' },
    { hotkey: 'b', rttMinUs: 50, samples: 9, address: null },
  ]);
  await store().recordAll([{ hotkey: 'a', rttMinUs: 1_000, samples: 2, address: '1.2.3.4:80' }]);
  expect(await fresh('a')).toMatchObject({ rttMinUs: 900, samples: 10, address: '1.2.3.4:80' });
  expect(await fresh('b')).toEqual({ hotkey: 'b', rttMinUs: 50, samples: 9, address: null, addressSinceMs: null });
  expect(await store().rttMinUs('a')).toBe(900);
  expect(await store().rttMinUs('nobody')).toBe(0);
});

it('keeps since when an address is known while it stays, and begins again when it changes', async () => {
  await store().record('a', 100, 8, '1.2.3.4:80');
  await age();
  const first = await fresh('a');
  await store().record('a', 300, 1, '1.2.3.4:80');
  await store().record('a', 300, 1);
  expect(await fresh('a')).toMatchObject({ rttMinUs: 100, samples: 10, addressSinceMs: first?.addressSinceMs });
  await store().record('a', 200, 8, '1.2.3.5:80');
  const moved = await fresh('a');
  expect(moved).toMatchObject({ rttMinUs: 200, samples: 8, address: '1.2.3.5:80' });
  expect(moved!.addressSinceMs! - first!.addressSinceMs!).toBeGreaterThan(3_000_000);
});

it('learns the address of a miner that was measured without one', async () => {
  await store().record('a', 100, 8);
  await store().record('a', 300, 8, '1.2.3.4:80');
  expect(await fresh('a')).toMatchObject({ rttMinUs: 100, samples: 16, address: '1.2.3.4:80' });
  expect((await fresh('a'))?.addressSinceMs).not.toBeNull();
});

it('asks the database once for everybody who asks within five seconds', async () => {
  let nowMs = 0;
  const cached = new MeasurementStore(db, () => nowMs);
  await store().record('a', 100, 8);
  await Promise.all([cached.rttMinUs('a'), cached.rttMinUs('b'), cached.all()]);
  await store().record('a', 50, 8);
  nowMs = 4_999;
  expect(await cached.rttMinUs('a')).toBe(100);
  nowMs = 5_000;
  expect(await cached.rttMinUs('a')).toBe(50);
});
