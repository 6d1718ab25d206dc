import { Client } from 'pg';
import { createDatabase, type TestDatabase } from '../testing/postgres';
import { ROLES, TABLE_RULES, type Role } from './grants';

const FORBIDDEN = '42501';

let database: TestDatabase;
const clients = new Map<Role, Client>();

beforeAll(async () => {
  database = await createDatabase();
  const urls: Record<Role, string> = {
    studio_querier: database.urls.querier,
    studio_auditor: database.urls.auditor,
    studio_registry: database.urls.registry,
  };
  for (const role of ROLES) {
    const client = new Client({ connectionString: urls[role] });
    await client.connect();
    clients.set(role, client);
  }
});

afterAll(async () => {
  await Promise.all([...clients.values()].map((client) => client.end()));
  await database.drop();
});

/** SQLSTATE of a statement that is rolled back, undefined when it succeeded. */
async function attempt(role: Role, sql: string): Promise<string | undefined> {
  const client = clients.get(role);
  if (!client) throw new Error(`no client for ${role}`);
  await client.query('BEGIN');
  try {
    await client.query(sql);
    return undefined;
  } catch (error) {
    return (error as { code?: string }).code;
  } finally {
    await client.query('ROLLBACK');
  }
}

/** One statement per privilege that touches no row, and so breaks no other rule than that of privileges (INSERT: NOT NULL may). */
const WRITES = {
  INSERT: (table: string, column: string) =>
    `INSERT INTO studio.${table} (${column}) SELECT ${column} FROM (SELECT NULL::int AS ${column}) x WHERE false`,
  UPDATE: (table: string, column: string) => `UPDATE studio.${table} SET ${column} = ${column} WHERE false`,
  DELETE: (table: string) => `DELETE FROM studio.${table} WHERE false`,
  TRUNCATE: (table: string) => `TRUNCATE studio.${table} CASCADE`,
} as const;

const ALLOWED = {
  append: ['INSERT'],
  edit: ['INSERT', 'UPDATE'],
  prune: ['INSERT', 'UPDATE', 'DELETE'],
} as const;

type Column = { name: string; type: string };

async function columnsOf(table: string): Promise<Column[]> {
  const owner = new Client({ connectionString: database.urls.owner });
  await owner.connect();
  try {
    const { rows } = await owner.query<Column>(
      `SELECT attname AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute
        WHERE attrelid = format('studio.%I', $1::text)::regclass AND attnum > 0 AND attidentity = '' ORDER BY attnum`,
      [table],
    );
    return rows;
  } finally {
    await owner.end();
  }
}

it('every table has exactly one writer by rule', async () => {
  const owner = new Client({ connectionString: database.urls.owner });
  await owner.connect();
  const { rows } = await owner.query<{ name: string }>(
    `SELECT relname AS name FROM pg_class WHERE relnamespace = 'studio'::regnamespace AND relkind = 'r'`,
  );
  await owner.end();
  const tables = rows.map(({ name }) => name).filter((name) => name !== 'migrations');
  expect(tables.sort()).toEqual(Object.keys(TABLE_RULES).sort());
});

describe.each(Object.entries(TABLE_RULES))('%s', (table, rule) => {
  it.each(ROLES)(`is written by its writer only, not otherwise by %s`, async (role) => {
    const [column] = await columnsOf(table);
    const allowed: readonly string[] = role === rule.writer ? ALLOWED[rule.mode] : [];
    for (const [verb, statement] of Object.entries(WRITES)) {
      const sql = statement(table, column!.name).replace('NULL::int', `NULL::${column!.type}`);
      const code = await attempt(role, sql);
      expect({ verb, forbidden: code === FORBIDDEN }).toEqual({ verb, forbidden: !allowed.includes(verb) });
    }
  });

  it('is read by everyone but for its secrets', async () => {
    const columns = await columnsOf(table);
    for (const role of ROLES) {
      for (const { name } of columns) {
        const hidden = role !== rule.writer && (rule.secret === 'all' || (rule.secret ?? []).includes(name));
        const code = await attempt(role, `SELECT ${name} FROM studio.${table} LIMIT 1`);
        expect({ role, name, code }).toEqual({ role, name, code: hidden ? FORBIDDEN : undefined });
      }
    }
  });
});

it.each(ROLES)('views are read by %s, through to tables that it may read', async (role) => {
  for (const view of ['score_events', 'standing_quarantines']) {
    expect(await attempt(role, `SELECT * FROM studio.${view} LIMIT 1`)).toBeUndefined();
  }
  expect(await attempt(role, 'DELETE FROM studio.standing_quarantines WHERE false')).toBe(FORBIDDEN);
});

it.each(ROLES)('the schema itself cannot be changed by %s', async (role) => {
  expect(await attempt(role, 'CREATE TABLE studio.mine ()')).toBe(FORBIDDEN);
  expect(await attempt(role, 'ALTER TABLE studio.ledger DISABLE TRIGGER ALL')).toBe(FORBIDDEN);
  expect(await attempt(role, 'DROP TABLE studio.ledger')).toBe(FORBIDDEN);
});

it('ledger entries are appended by the registry alone', async () => {
  const append = `SELECT * FROM studio.append_ledger('[]')`;
  expect(await attempt('studio_querier', append)).toBe(FORBIDDEN);
  expect(await attempt('studio_auditor', append)).toBe(FORBIDDEN);
  expect(await attempt('studio_registry', append)).toBeUndefined();
});
