import { Client } from 'pg';
import { createDatabase, createEmptyDatabase, type TestDatabase } from '../testing/postgres';
import { MIGRATIONS } from './data-source';
import { MIGRATION_LOCK } from './locks';
import { schemaIsBehind, waitForSchema } from './schema-wait';
import { migrate } from './migrate';

describe('waiting for the schema', () => {
  let migrated: TestDatabase;
  let empty: TestDatabase;
  beforeAll(async () => {
    migrated = await createDatabase();
    empty = await createEmptyDatabase();
  });
  afterAll(() => Promise.all([migrated.drop(), empty.drop()]));

  async function asOwner<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
    const client = new Client({ connectionString: url });
    await client.connect();
    try {
      return await work(client);
    } finally {
      await client.end();
    }
  }

  it.each(['querier', 'auditor', 'registry'] as const)(
    'ends for the %s when every migration is there',
    async (role) => {
      expect(await schemaIsBehind(migrated.urls[role])).toBeNull();
    },
  );

  it('is content with a schema that is newer than the code', async () => {
    await asOwner(migrated.urls.owner, (client) =>
      client.query(`INSERT INTO studio.migrations (timestamp, name) VALUES (9999999999999, 'Later9999999999999')`),
    );
    expect(await schemaIsBehind(migrated.urls.querier)).toBeNull();
  });

  it('names what is missing', async () => {
    const { name } = MIGRATIONS.at(-1)!;
    const remove = `DELETE FROM studio.migrations WHERE name = $1 RETURNING timestamp`;
    const rows = await asOwner(migrated.urls.owner, async (client) => (await client.query(remove, [name])).rows);
    expect(await schemaIsBehind(migrated.urls.querier)).toBe(`the schema lacks ${name}`);
    const restore = 'INSERT INTO studio.migrations (timestamp, name) VALUES ($1, $2)';
    await asOwner(migrated.urls.owner, (client) => client.query(restore, [rows[0].timestamp, name]));
  });

  it('waits for the privileges too, while somebody migrates', async () => {
    await asOwner(migrated.urls.owner, async (client) => {
      await client.query('SELECT pg_advisory_lock($1)', [MIGRATION_LOCK]);
      expect(await schemaIsBehind(migrated.urls.querier)).toBe('a migration is under way');
    });
  });

  it('goes through an empty database and one that is not there, and says why once', async () => {
    const reasons: string[] = [];
    const waiting = waitForSchema(empty.urls.querier, (why) => {
      reasons.push(why);
      void migrate(empty.urls.owner);
    });
    await waiting;
    expect(reasons[0]).toMatch(/schema studio|studio\.migrations/);
    expect(await schemaIsBehind(empty.urls.querier.replace(/\/[^/]+$/, '/gone'))).toMatch(/does not exist/);
  });
});
