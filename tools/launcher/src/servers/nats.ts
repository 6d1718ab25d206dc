import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect, type Authenticator } from 'nats';
import { binaryFromDebian, type DebianPackages } from './debian-packages';
import { startOnPort } from './free-port';
import { foreignServer, type ProgressLog, type RunningServer, type ServerName } from './running-server';
import { atLeast, binariesOnPath, compareVersions, resolveBinary, type ServerBinary } from './server-binary';
import { ServerError } from './server-error';
import { runServer } from './server-process';
import { endOrphan, type StopStep } from './server-record';

/** Debian 12's: the floor that the code is written against. */
const MINIMUM = '2.9';

/** The first version that knows `sync_interval`; an older one refuses to start with it. */
const SYNC_INTERVAL_SINCE = '2.10';

const USUAL_PLACES = ['/usr/sbin', '/usr/local/bin', '/opt/homebrew/bin'];

export const STOP_STEPS: StopStep[] = [
  { signal: 'SIGTERM', graceMs: 5_000 },
  { signal: 'SIGKILL', graceMs: 5_000 },
];

export interface NatsOptions {
  /** A server that already runs: checked and used as it is, nothing is started. */
  url?: string;
  /** Holds the JetStream store, the configuration, the log and the record of the process. */
  storeDir: string;
  /** A free one when absent. */
  port?: number;
  /** Where a fetched server is kept. */
  cacheDir: string;
  log: ProgressLog;
}

/**
 * A NATS server with JetStream on 127.0.0.1, without credentials: whoever may log in to the machine may use it.
 * @throws ServerError
 */
export async function startNats(options: NatsOptions): Promise<RunningServer> {
  if (options.url) return existingNats(options.url);
  const { storeDir, cacheDir, log } = options;
  mkdirSync(storeDir, { recursive: true });
  await endOrphan('nats', storeDir, STOP_STEPS, log);
  const binary = await natsBinary('nats', cacheDir, log);
  return startOnPort('nats', options.port, (port) => {
    const url = `nats://127.0.0.1:${port}`;
    const config = join(storeDir, 'nats.conf');
    writeFileSync(config, natsConfig(binary, storeDir, port));
    return runServer({
      name: 'nats',
      binary,
      args: ['-c', config],
      dir: storeDir,
      url,
      port,
      probe: async () => void (await serverVersion(url)),
      stopSteps: STOP_STEPS,
    });
  });
}

export function natsBinary(name: ServerName, cacheDir: string, log: ProgressLog): Promise<ServerBinary> {
  const debian: DebianPackages = { packages: ['nats-server'], program: 'usr/sbin/nats-server' };
  const finders = [binariesOnPath('nats-server', USUAL_PLACES), binaryFromDebian(debian, cacheDir, log)];
  return resolveBinary(name, finders, atLeast(MINIMUM));
}

async function existingNats(url: string): Promise<RunningServer> {
  try {
    return foreignServer('nats', url, await serverVersion(url));
  } catch (error) {
    throw new ServerError(
      'unreachable',
      `STUDIO_NATS_URL: no NATS server with JetStream answers at ${new URL(url).host} (${(error as Error).message}): ` +
        'start it, correct the URL, or unset the variable to use a server of our own',
      { cause: error },
    );
  }
}

/** @throws Error when no server with JetStream answers, or refuses the credentials. */
export async function serverVersion(url: string, authenticator?: Authenticator): Promise<string> {
  const connection = await connect({ servers: url, reconnect: false, timeout: 5_000, authenticator });
  try {
    if (!connection.info?.jetstream) throw new Error('JetStream is off');
    return connection.info.version;
  } finally {
    await connection.close();
  }
}

export function natsConfig(binary: ServerBinary, storeDir: string, port: number): string {
  const sync = compareVersions(binary.version, SYNC_INTERVAL_SINCE) >= 0 ? '\n  sync_interval: always' : '';
  // JSON strings are valid in this format and quote any path.
  const store = JSON.stringify(join(storeDir, 'jetstream'));
  return `host: 127.0.0.1\nport: ${port}\njetstream {\n  store_dir: ${store}${sync}\n}\n`;
}
