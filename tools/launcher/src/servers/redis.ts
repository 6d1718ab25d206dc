import { mkdirSync } from 'node:fs';
import { Redis } from 'ioredis';
import { binaryFromDebian, type DebianPackages } from './debian-packages';
import { startOnPort } from './free-port';
import { foreignServer, type ProgressLog, type RunningServer } from './running-server';
import { atLeast, binariesOnPath, resolveBinary } from './server-binary';
import { ServerError } from './server-error';
import { runServer } from './server-process';
import { endOrphan, type StopStep } from './server-record';

/** Ubuntu 22.04's, the oldest of a distribution in support. */
const MINIMUM = '6.0';

const USUAL_PLACES = ['/usr/bin', '/usr/local/bin', '/opt/homebrew/bin'];

const STOP_STEPS: StopStep[] = [
  { signal: 'SIGTERM', graceMs: 5_000 },
  { signal: 'SIGKILL', graceMs: 5_000 },
];

export interface RedisOptions {
  /** A server that already runs: checked and used as it is, nothing is started. */
  url?: string;
  /** Holds the log and the record of the process; no data, because Redis is only a projection of Postgres. */
  dataDir: string;
  /** A free one when absent. */
  port?: number;
  /** Where a fetched server is kept. */
  cacheDir: string;
  log: ProgressLog;
}

/**
 * A Redis on 127.0.0.1 that writes nothing to disk, without a password: whoever may log in to the machine may use it.
 * @throws ServerError
 */
export async function startRedis(options: RedisOptions): Promise<RunningServer> {
  if (options.url) return existingRedis(options.url);
  const { dataDir, cacheDir, log } = options;
  mkdirSync(dataDir, { recursive: true });
  await endOrphan('redis', dataDir, STOP_STEPS, log);
  const debian: DebianPackages = { packages: ['redis-server', 'redis-tools'], program: 'usr/bin/redis-server' };
  const finders = [binariesOnPath('redis-server', USUAL_PLACES), binaryFromDebian(debian, cacheDir, log)];
  const binary = await resolveBinary('redis', finders, atLeast(MINIMUM));
  return startOnPort('redis', options.port, (port) => {
    const url = `redis://127.0.0.1:${port}`;
    return runServer({
      name: 'redis',
      binary,
      args: ['--bind', '127.0.0.1', '--port', String(port), '--dir', dataDir, '--appendonly', 'no', '--save', ''],
      dir: dataDir,
      url,
      port,
      probe: async () => void (await serverVersion(url)),
      stopSteps: STOP_STEPS,
    });
  });
}

async function existingRedis(url: string): Promise<RunningServer> {
  try {
    return foreignServer('redis', url, await serverVersion(url));
  } catch (error) {
    throw new ServerError(
      'unreachable',
      `STUDIO_REDIS_URL: no Redis answers at ${new URL(url).host} (${(error as Error).message}): ` +
        'start it, correct the URL, or unset the variable to use a server of our own',
      { cause: error },
    );
  }
}

async function serverVersion(url: string): Promise<string> {
  const client = new Redis(url, {
    lazyConnect: true,
    retryStrategy: () => null,
    connectTimeout: 5_000,
    disconnectTimeout: 100,
  });
  let refused: Error | undefined;
  client.on('error', (error) => (refused = error)); // the promise only says "Connection is closed."
  try {
    await client.connect();
    return /redis_version:(\S+)/.exec(await client.info('server'))?.[1] ?? 'unknown';
  } catch (error) {
    throw refused ?? error;
  } finally {
    client.disconnect();
  }
}
