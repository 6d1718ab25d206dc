import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cacheDirectory, setTestServerUrl, TEST_VARIABLES, testServerUrl } from './env';
import { startNats } from './nats';
import { startPostgres } from './postgres';
import { startRedis } from './redis';
import type { RunningServer, ServerName } from './running-server';
import { removeData } from './unprivileged-user';

/** The three servers of a test run, in a temporary directory, their URLs in TEST_POSTGRES_URL and its siblings. */
export interface TestServers {
  stop(): Promise<void>;
}

/**
 * Starts the servers for which no TEST_* URL is set: a developer who keeps servers up between runs sets them.
 * @param root the repository, whose cache holds fetched servers
 */
export async function startTestServers(root: string): Promise<TestServers> {
  const dir = mkdtempSync(join(tmpdir(), 'studio-test-'));
  chmodSync(dir, 0o755); // as root, Postgres runs as another user, who has to reach its data
  const started = await Promise.allSettled(missingServers(root, dir));
  const servers = started.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const stop = async (): Promise<void> => {
    await Promise.all(servers.map((server) => server.stop()));
    removeTestData(dir);
  };
  const failed = started.find((result) => result.status === 'rejected');
  if (failed) {
    await stop();
    throw failed.reason;
  }
  for (const { name, url } of servers) setTestServerUrl(name, url);
  return { stop };
}

function missingServers(root: string, dir: string): Promise<RunningServer>[] {
  const cacheDir = cacheDirectory(root);
  const log = (line: string): void => void process.stderr.write(`${line}\n`);
  const start: Record<ServerName, () => Promise<RunningServer>> = {
    postgres: () => startPostgres({ dataDir: join(dir, 'postgres'), durability: 'none', log }),
    nats: () => startNats({ storeDir: join(dir, 'nats'), cacheDir, log }),
    redis: () => startRedis({ dataDir: join(dir, 'redis'), cacheDir, log }),
  };
  const names = Object.keys(TEST_VARIABLES) as ServerName[];
  return names.filter((name) => !testServerUrl(name)).map((name) => start[name]());
}

function removeTestData(dir: string): void {
  for (const entry of readdirSync(dir)) removeData(join(dir, entry, 'cluster'));
  rmSync(dir, { recursive: true, force: true });
}
