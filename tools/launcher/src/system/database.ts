import { Client } from 'pg';

const DATABASE = 'studio';

/** Makes the database on the server at `serverUrl` unless it is there, and returns its owner's URL. */
export async function createDatabase(serverUrl: string): Promise<string> {
  const client = new Client({ connectionString: serverUrl, application_name: 'launcher' });
  await client.connect();
  try {
    const found = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [DATABASE]);
    if (!found.rowCount) await client.query(`CREATE DATABASE ${DATABASE}`);
  } finally {
    await client.end();
  }
  const url = new URL(serverUrl);
  url.pathname = `/${DATABASE}`;
  return url.href;
}
