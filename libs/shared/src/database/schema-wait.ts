import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { MIGRATIONS } from './data-source';
import { MIGRATION_LOCK } from './locks';

/** A migration takes seconds to minutes: nobody is kept waiting by it. */
const PAUSE_MS = 1_000;
const CONNECT_TIMEOUT_MS = 3_000;

/** For a role of a service: what is missing yet, or null when the schema is at least as new as this code. */
export async function schemaIsBehind(url: string): Promise<string | null> {
  const client = new Client({
    connectionString: url,
    application_name: 'schema-wait',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
  });
  try {
    await client.connect();
    // Held by whoever migrates until the privileges are given as well.
    const lock = await client.query<{ free: boolean }>('SELECT pg_try_advisory_lock_shared($1) AS free', [
      MIGRATION_LOCK,
    ]);
    if (!lock.rows[0]?.free) return 'a migration is under way';
    const { rows } = await client.query<{ name: string }>('SELECT name FROM studio.migrations');
    const done = new Set(rows.map(({ name }) => name));
    const missing = MIGRATIONS.map(({ name }) => name).filter((name) => !done.has(name));
    return missing.length === 0 ? null : `the schema lacks ${missing.join(', ')}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/**
 * Resolves when every migration of this code is in the database, with its privileges. A newer schema will do: migrations
 * must run while the previous version of the services is still running.
 * @param onWait hears why it waits, once for each reason.
 */
export async function waitForSchema(url: string, onWait: (why: string) => void): Promise<void> {
  for (let told = ''; ; await sleep(PAUSE_MS)) {
    const why = await schemaIsBehind(url);
    if (why === null) return;
    if (why !== told) onWait(why);
    told = why;
  }
}
