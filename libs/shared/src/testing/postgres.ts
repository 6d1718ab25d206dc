import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from 'pg';
import { type RolePasswords, migrate } from '../database/migrate';
import { testServerUrls } from './env';

/** Test files run in several processes; one of them makes the template, the others wait for it. */
const TEMPLATE_LOCK = 7_301_002;

/** Roles belong to the whole server, so every database of a test run shares these. */
const PASSWORDS: RolePasswords = {
  studio_querier: 'querier-of-the-tests',
  studio_auditor: 'auditor-of-the-tests',
  studio_registry: 'registry-of-the-tests',
};

export interface TestDatabase {
  name: string;
  /** One URL per role; `owner` is the superuser, who also runs migrations. */
  urls: { owner: string; querier: string; auditor: string; registry: string };
  /** Removes the database, also under open connections. */
  drop(): Promise<void>;
}

/**
 * A migrated database of its own for a test file: a copy of a template that is migrated once per server and schema.
 * A copy takes about a tenth of the time of the migrations, and grows slower with them.
 */
export async function createDatabase(): Promise<TestDatabase> {
  const { postgres } = testServerUrls();
  const template = await withServer(postgres, makeTemplate);
  const name = `test_${randomBytes(8).toString('hex')}`;
  await withServer(postgres, (client) => client.query(`CREATE DATABASE ${name} TEMPLATE ${template}`));
  return { name, urls: roleUrls(postgres, name), drop: () => dropDatabase(postgres, name) };
}

/** An empty database, for tests of the migrations themselves. */
export async function createEmptyDatabase(): Promise<TestDatabase> {
  const { postgres } = testServerUrls();
  const name = `test_${randomBytes(8).toString('hex')}`;
  await withServer(postgres, (client) => client.query(`CREATE DATABASE ${name}`));
  return { name, urls: roleUrls(postgres, name), drop: () => dropDatabase(postgres, name) };
}

async function makeTemplate(client: Client): Promise<string> {
  const name = `template_${schemaDigest()}`;
  await client.query('SELECT pg_advisory_lock($1)', [TEMPLATE_LOCK]);
  const found = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [name]);
  if (found.rowCount) return name;
  // Renamed when whole: a test run that was killed must not leave half a template to the next.
  const partial = `${name}_partial`;
  await client.query(`DROP DATABASE IF EXISTS ${partial} WITH (FORCE)`);
  await client.query(`CREATE DATABASE ${partial}`);
  await migrate(urlOf(testServerUrls().postgres, partial), PASSWORDS);
  await client.query(`ALTER DATABASE ${partial} RENAME TO ${name}`);
  await client.query(`ALTER DATABASE ${name} WITH ALLOW_CONNECTIONS false`); // one connection would block the copies
  return name;
}

/** Changes with every edit of the schema, so that servers kept up between runs never serve an old one. */
function schemaDigest(): string {
  const dir = join(__dirname, '..', 'database');
  const files = readdirSync(dir, { recursive: true, encoding: 'utf8' }).filter((file) => /\.(ts|sql)$/.test(file));
  const digest = createHash('sha256');
  for (const file of files.filter((path) => !path.endsWith('.spec.ts')).sort()) {
    digest.update(file).update(readFileSync(join(dir, file)));
  }
  return digest.digest('hex').slice(0, 16);
}

/** Runs `work` on a connection to the server's own database; its advisory locks go with the connection. */
async function withServer<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

async function dropDatabase(url: string, name: string): Promise<void> {
  await withServer(url, (client) => client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`));
}

function roleUrls(server: string, database: string): TestDatabase['urls'] {
  const as = (role: keyof RolePasswords): string => {
    const url = new URL(urlOf(server, database));
    url.username = role;
    url.password = PASSWORDS[role];
    return url.href;
  };
  return {
    owner: urlOf(server, database),
    querier: as('studio_querier'),
    auditor: as('studio_auditor'),
    registry: as('studio_registry'),
  };
}

function urlOf(server: string, database: string): string {
  const url = new URL(server);
  url.pathname = `/${database}`;
  return url.href;
}
