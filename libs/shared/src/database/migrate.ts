import { Client } from 'pg';
import { createDataSource } from './data-source';
import { grantStatements, ROLES, type Role } from './grants';
import { MIGRATION_LOCK } from './locks';

export type RolePasswords = Record<Role, string>;

/**
 * Brings the database at `ownerUrl` to the newest schema and its privileges. Safe to repeat and to run concurrently.
 * With `passwords` the services' roles are created first (needs CREATEROLE); without, they must exist.
 */
export async function migrate(ownerUrl: string, passwords?: RolePasswords): Promise<void> {
  const client = new Client({ connectionString: ownerUrl, application_name: 'migrate' });
  await client.connect();
  try {
    await client.query('SELECT pg_advisory_lock($1)', [MIGRATION_LOCK]);
    if (passwords) await ensureRoles(client, passwords);
    await client.query('CREATE SCHEMA IF NOT EXISTS studio');
    await runMigrations(ownerUrl);
    const columns = await tableColumns(client);
    await client.query(grantStatements(columns).join(';\n'));
  } finally {
    await client.end();
  }
}

async function ensureRoles(client: Client, passwords: RolePasswords): Promise<void> {
  for (const role of ROLES) {
    const found = await client.query('SELECT 1 FROM pg_roles WHERE rolname = $1', [role]);
    const verb = found.rowCount ? 'ALTER' : 'CREATE';
    await client.query(`${verb} ROLE ${role} LOGIN PASSWORD ${client.escapeLiteral(passwords[role])}`);
  }
}

async function runMigrations(ownerUrl: string): Promise<void> {
  const source = createDataSource({ url: ownerUrl, name: 'migrate', poolSize: 1 });
  await source.initialize();
  try {
    await source.runMigrations({ transaction: 'each' });
  } finally {
    await source.destroy();
  }
}

/** Every table of the schema but the migration history, with its columns. */
async function tableColumns(client: Client): Promise<Map<string, string[]>> {
  const { rows } = await client.query<{ name: string; columns: string[] }>(`
    SELECT c.relname AS name, array_agg(a.attname::text ORDER BY a.attnum) AS columns
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     WHERE c.relnamespace = 'studio'::regnamespace AND c.relkind = 'r' AND c.relname <> 'migrations'
     GROUP BY c.relname ORDER BY c.relname`);
  return new Map(rows.map((row) => [row.name, row.columns]));
}
