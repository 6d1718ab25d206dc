import { Pool } from 'pg';

/** A pool that survives a connection lost while idle: what needs it next will say so. */
export function openDatabase(url: string, connections: number): Pool {
  const pool = new Pool({ connectionString: url, max: connections });
  const ignore = (): void => undefined;
  // graphile-worker asks for a handler on each client as well.
  return pool.on('error', ignore).on('connect', (client) => client.on('error', ignore));
}
