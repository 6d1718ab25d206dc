import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from 'pg';
import { createDatabase, createEmptyDatabase, type TestDatabase } from '../testing/postgres';
import { migrate } from './migrate';
import { dumpSchema } from './schema-dump';

const COMMITTED = join(__dirname, 'schema.txt');

async function dump(url: string): Promise<string> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return await dumpSchema(async (sql) => (await client.query<{ line: string }>(sql)).rows);
  } finally {
    await client.end();
  }
}

/** True under `jest -u`: the committed file is one more snapshot, kept readable under its own name. */
function updating(): boolean {
  const { snapshotState } = expect.getState() as unknown as { snapshotState: { _updateSnapshot: string } };
  return snapshotState._updateSnapshot === 'all';
}

describe('schema', () => {
  const made: TestDatabase[] = [];
  const keep = async (making: Promise<TestDatabase>): Promise<TestDatabase> => {
    const database = await making;
    made.push(database);
    return database;
  };
  afterAll(() => Promise.all(made.map((database) => database.drop())));

  it('is what the committed dump says (after a migration: run this file with -u and read the diff)', async () => {
    const { urls } = await keep(createDatabase());
    const actual = await dump(urls.owner);
    if (updating()) writeFileSync(COMMITTED, actual);
    expect(actual).toBe(readFileSync(COMMITTED, 'utf8'));
  });

  it('does not change when migrated again', async () => {
    const { urls } = await keep(createDatabase());
    const before = await dump(urls.owner);
    await migrate(urls.owner);
    expect(await dump(urls.owner)).toBe(before);
  });

  it('is made once by replicas that migrate at the same time', async () => {
    const { urls } = await keep(createEmptyDatabase());
    await keep(createDatabase()); // the roles
    await Promise.all([1, 2, 3, 4].map(() => migrate(urls.owner)));
    const { urls: reference } = await keep(createDatabase());
    expect(await dump(urls.owner)).toBe(await dump(reference.owner));
  });
});
