import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cacheDirectory, setTestScoresFiles, setTestServerUrl, testServerUrl } from './env';
import { startNats } from './nats';
import { startPostgres } from './postgres';
import { processIdentity } from './process-identity';
import { startRedis } from './redis';
import { startScores } from './scores';
import { scoresAccountFiles } from './scores-account';
import type { RunningServer } from './running-server';
import { killOrphan } from './server-record';
import { removeData } from './unprivileged-user';

const PREFIX = 'studio-test-';

/** The servers of a test run, in a temporary directory, their URLs in TEST_POSTGRES_URL and its siblings. */
export interface TestServers {
  stop(): Promise<void>;
}

/**
 * Starts the servers for which no TEST_* URL is set: a developer who keeps servers up between runs sets them.
 * @param root the repository, whose cache holds fetched servers
 * @param workers how many test files run at a time; each has NATS servers for itself
 */
export async function startTestServers(root: string, workers: number): Promise<TestServers> {
  sweepKilledRuns();
  const dir = mkdtempSync(join(tmpdir(), PREFIX));
  chmodSync(dir, 0o755); // as root, Postgres runs as another user, who has to reach its data
  writeFileSync(join(dir, 'owner'), `${process.pid} ${processIdentity(process.pid)}`);
  const started = await Promise.allSettled(missingServers(root, dir, workers));
  const servers = started.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const stop = async (): Promise<void> => {
    await Promise.all(servers.map((server) => server.stop()));
    removeRun(dir);
  };
  const failed = started.find((result) => result.status === 'rejected');
  if (failed) {
    await stop();
    throw failed.reason;
  }
  return { stop };
}

function missingServers(root: string, dir: string, workers: number): Promise<RunningServer>[] {
  const cacheDir = cacheDirectory(root);
  const log = (line: string): void => void process.stderr.write(`${line}\n`);
  const starting: Promise<RunningServer>[] = [];
  const announce = async (starts: Promise<RunningServer>, worker?: number): Promise<RunningServer> => {
    const server = await starts;
    setTestServerUrl(server.name, server.url, worker);
    return server;
  };
  if (!testServerUrl('postgres')) {
    starting.push(announce(startPostgres({ dataDir: join(dir, 'postgres'), durability: 'none', log })));
  }
  if (!testServerUrl('redis')) starting.push(announce(startRedis({ dataDir: join(dir, 'redis'), cacheDir, log })));
  if (!testServerUrl('nats')) {
    for (let worker = 1; worker <= workers; worker += 1) {
      starting.push(announce(startNats({ storeDir: join(dir, `nats-${worker}`), cacheDir, log }), worker));
    }
  }
  for (let worker = 1; worker <= workers; worker += 1) {
    const scoresDir = join(dir, `scores-${worker}`);
    setTestScoresFiles(scoresAccountFiles(scoresDir), worker);
    starting.push(announce(startScores({ dir: scoresDir, cacheDir, log }), worker));
  }
  return starting;
}

/** Ends what a test run that was killed with SIGKILL has left: no teardown ran, and the next run has another directory. */
function sweepKilledRuns(): void {
  for (const entry of readdirSync(tmpdir()).filter((name) => name.startsWith(PREFIX))) {
    const dir = join(tmpdir(), entry);
    try {
      // Anyone can write a record there that names anyone's process: only our own directories are believed.
      if (statSync(dir).uid !== process.getuid?.()) continue;
      const owner = readFileSync(join(dir, 'owner'), 'utf8');
      const pid = Number(owner.split(' ')[0]);
      if (owner === `${pid} ${processIdentity(pid)}`) continue;
      for (const server of readdirSync(dir)) killOrphan(join(dir, server));
      removeRun(dir);
    } catch {
      continue; // another user's, or just being made or removed by another run
    }
  }
}

function removeRun(dir: string): void {
  removeData(join(dir, 'postgres', 'cluster'));
  rmSync(dir, { recursive: true, force: true, maxRetries: 3 });
}
