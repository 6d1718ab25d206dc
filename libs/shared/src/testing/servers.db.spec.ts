import { Client } from 'pg';
import { openTestNats } from './nats';
import { createDatabase, createEmptyDatabase, type TestDatabase } from './postgres';
import { openTestRedis } from './redis';

// The first copy waits for the migrations, which share the machine with every other test.
jest.setTimeout(60_000);

async function query(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
}

const countKeys = 'SELECT count(*)::int AS n FROM studio.score_relay';

describe('databases of test files', () => {
  const made: TestDatabase[] = [];
  const make = async (): Promise<TestDatabase> => {
    const database = await createDatabase();
    made.push(database);
    return database;
  };
  afterEach(async () => {
    await Promise.all(made.splice(0).map((database) => database.drop()));
  });

  it('are migrated, and every role can log in', async () => {
    const { urls } = await make();
    for (const url of Object.values(urls)) await expect(query(url, countKeys)).resolves.toHaveLength(1);
  });

  it('made at the same time are separate', async () => {
    const [one, other] = await Promise.all([make(), make()]);
    await query(one.urls.owner, 'CREATE TABLE studio.mine ()');
    await expect(query(other.urls.owner, 'SELECT * FROM studio.mine')).rejects.toThrow('does not exist');
  });

  it('hold a service to its own tables', async () => {
    const { urls } = await make();
    await expect(query(urls.auditor, 'DELETE FROM studio.jobs')).rejects.toThrow('permission denied');
  });

  it('are dropped even while a connection is open', async () => {
    const { urls, drop } = await make();
    const client = new Client({ connectionString: urls.querier });
    const lost = new Promise((resolve) => client.on('error', resolve));
    await client.connect();
    await drop();
    await lost;
    await expect(query(urls.owner, 'SELECT 1')).rejects.toThrow('does not exist');
  });

  it('are empty when the migrations are the subject of the test', async () => {
    const { urls, drop } = await createEmptyDatabase();
    await expect(query(urls.owner, countKeys)).rejects.toThrow('does not exist');
    await drop();
  });
});

it('a NATS connection finds JetStream and leaves no stream behind', async () => {
  const nats = await openTestNats();
  const manager = await nats.connection.jetstreamManager();
  await manager.streams.add({ name: 'LEFT', subjects: ['left.>'] });
  await nats.clear();
  await expect(manager.streams.info('LEFT')).rejects.toThrow('stream not found');
  await nats.close();
});

it('a Redis database is empty at first and the same under its URL', async () => {
  const one = await openTestRedis();
  await expect(one.client.dbsize()).resolves.toBe(0);
  await one.client.set('key', 'value');
  const same = one.client.duplicate();
  await expect(same.get('key')).resolves.toBe('value');
  await same.quit();
  await one.clear();
  await expect(one.client.dbsize()).resolves.toBe(0);
  await one.close();
});
