import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chownSync, existsSync, lstatSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { binaryFromPackage } from './embedded-postgres';
import { inheritedEnv } from './env';
import { startOnPort } from './free-port';
import { foreignServer, type ProgressLog, type RunningServer } from './running-server';
import {
  atLeast,
  besideBinary,
  binariesOnPath,
  resolveBinary,
  versionedBins,
  type ServerBinary,
} from './server-binary';
import { ServerError } from './server-error';
import { runServer } from './server-process';
import { endOrphan, type StopStep } from './server-record';
import { reachableDataDir, runningAsRoot, unprivilegedUser, type User } from './unprivileged-user';

const run = promisify(execFile);

/** Debian 12's, the oldest that the suite has run on. */
const MINIMUM = '15';

/** Above the pools of all our processes together (6 each), so that a development tool still gets in. */
const MAX_CONNECTIONS = 200;

/** Backends of a killed postmaster notice its death and let go of its shared memory within moments. */
const LEFTOVER_BACKENDS_MS = 30_000;
const LEFTOVER_BACKENDS = /pre-existing shared memory block|lock file "postmaster\.pid" already exists/;

/** SIGINT disconnects clients and checkpoints, SIGQUIT leaves the rest to crash recovery; both keep what is committed. */
const STOP_STEPS: StopStep[] = [
  { signal: 'SIGINT', graceMs: 10_000 },
  { signal: 'SIGQUIT', graceMs: 5_000 },
  { signal: 'SIGKILL', graceMs: 5_000 },
];

export interface PostgresOptions {
  /** A server that already runs: checked and used as it is, nothing is started. */
  url?: string;
  /** Holds the cluster, the superuser's password, the log and the record of the process. */
  dataDir: string;
  /** A free one when absent. */
  port?: number;
  /** `none` may lose and corrupt data when the machine (not the process) stops: for tests. */
  durability?: 'full' | 'none';
  log: ProgressLog;
}

/**
 * A Postgres on 127.0.0.1 with SCRAM passwords; `url` is the superuser's. Starting again on the same data continues
 * with it, also after a SIGKILL of the server or of its launcher.
 * @throws ServerError
 */
export async function startPostgres(options: PostgresOptions): Promise<RunningServer> {
  if (options.url) return existingPostgres(options.url);
  const { log } = options;
  mkdirSync(options.dataDir, { recursive: true });
  await endOrphan('postgres', options.dataDir, STOP_STEPS, log);
  const user = runningAsRoot() ? unprivilegedUser(join(options.dataDir, 'cluster')) : undefined;
  const cluster = clusterDir(options.dataDir, user);
  const binary = await findPostgres(cluster, log);
  const password = superuserPassword(options.dataDir);
  if (!existsSync(cluster)) await createCluster(binary, cluster, password, user, options.durability);
  return startOnPort('postgres', options.port, (port) => {
    const url = `postgres://postgres:${password}@127.0.0.1:${port}/postgres`;
    return startCluster({ ...options, port, url, binary, cluster, user });
  });
}

async function existingPostgres(url: string): Promise<RunningServer> {
  try {
    return foreignServer('postgres', url, await serverVersion(url));
  } catch (error) {
    const { host } = new URL(url);
    throw new ServerError(
      'unreachable',
      `STUDIO_POSTGRES_URL: no PostgreSQL answers at ${host} (${(error as Error).message}): ` +
        'start it, correct the URL, or unset the variable to use a server of our own',
      { cause: error },
    );
  }
}

async function serverVersion(url: string): Promise<string> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  client.on('error', () => undefined); // a server that stops during the question is reported by the question
  try {
    await client.connect();
    const { rows } = await client.query<{ server_version: string }>('SHOW server_version');
    return rows[0]!.server_version.split(' ')[0]!;
  } finally {
    await client.end().catch(() => undefined);
  }
}

function clusterDir(dataDir: string, user: User | undefined): string {
  const cluster = join(dataDir, 'cluster');
  const owner = lstatSync(cluster, { throwIfNoEntry: false })?.uid;
  if (user) return reachableDataDir(cluster, user);
  if (owner !== undefined && owner !== process.getuid?.()) {
    throw new ServerError(
      'wrong-data',
      `${cluster} belongs to user ${owner}, probably from a run as root: remove it with  sudo rm -r ${dataDir}`,
    );
  }
  return cluster;
}

/** A cluster opens only with the major version that made it, so existing data decides between several binaries. */
async function findPostgres(cluster: string, log: ProgressLog): Promise<ServerBinary> {
  const usual = [
    ...(await versionedBins('/usr/lib/postgresql', /^\d+$/)),
    ...(await versionedBins('/opt/homebrew/opt', /^postgresql(@\d+)?$/)),
    ...(await versionedBins('/usr/local/opt', /^postgresql(@\d+)?$/)),
  ];
  const made = existsSync(join(cluster, 'PG_VERSION'))
    ? readFileSync(join(cluster, 'PG_VERSION'), 'utf8').trim()
    : null;
  const finders = [binariesOnPath('postgres', usual), binaryFromPackage(log)];
  return resolveBinary('postgres', finders, (binary) => {
    if (made !== null && binary.version.split('.')[0] !== made) {
      return `the data in ${cluster} was made by PostgreSQL ${made}; npm start -- --fresh begins anew`;
    }
    return atLeast(MINIMUM)(binary);
  });
}

function superuserPassword(dataDir: string): string {
  const file = join(dataDir, 'superuser.password');
  if (existsSync(file)) return readFileSync(file, 'utf8');
  const password = randomBytes(24).toString('hex');
  writeFileSync(file, password, { mode: 0o600 });
  return password;
}

async function createCluster(
  binary: ServerBinary,
  cluster: string,
  password: string,
  user: User | undefined,
  durability: PostgresOptions['durability'],
): Promise<void> {
  // Made aside and renamed: a start that was killed half-way must not leave half a cluster.
  const partial = `${cluster}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true, mode: 0o700 });
  const passwordFile = join(partial, '..', `.initdb-${process.pid}`);
  writeFileSync(passwordFile, password, { mode: 0o600 });
  if (user) for (const path of [partial, passwordFile]) chownSync(path, user.uid, user.gid);
  const initdb = await besideBinary(binary, 'initdb');
  const sync = durability === 'none' ? ['--no-sync'] : [];
  // One locale everywhere: the order of text must not depend on the machine.
  const locale = ['--no-locale', '--encoding=UTF8'];
  const access = ['--username=postgres', '--auth=scram-sha-256', `--pwfile=${passwordFile}`];
  try {
    await run(initdb, ['-D', partial, ...locale, ...access, ...sync], {
      env: inheritedEnv({ LC_ALL: 'C', TZ: 'UTC', ...binary.env }),
      cwd: '/',
      ...user,
    });
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    const said = stderr?.trim() || message;
    throw new ServerError('start-failed', `PostgreSQL ${binary.version}: ${initdb} failed:\n${said}`, { cause: error });
  } finally {
    rmSync(passwordFile, { force: true });
  }
  renameSync(partial, cluster);
}

interface ClusterStart extends PostgresOptions {
  url: string;
  port: number;
  binary: ServerBinary;
  cluster: string;
  user: User | undefined;
}

async function startCluster(start: ClusterStart): Promise<RunningServer> {
  const { binary, cluster, user, url, port, dataDir } = start;
  const settings = Object.entries(serverSettings(start)).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const args = ['-D', cluster, ...settings];
  const command = { name: 'postgres', binary, args, dir: dataDir, url, port, user, stopSteps: STOP_STEPS } as const;
  const probe = async (): Promise<void> => void (await serverVersion(url));
  for (let waited = 0; ; waited += 250) {
    removeStaleLock(cluster);
    try {
      return await runServer({ ...command, probe });
    } catch (error) {
      const leftover = error instanceof ServerError && LEFTOVER_BACKENDS.test(error.message);
      if (!leftover || waited >= LEFTOVER_BACKENDS_MS) throw error;
      await sleep(250);
    }
  }
}

/**
 * The lock of a killed postmaster. Postgres clears it by itself unless its pid by now belongs to another process of
 * the same user; `endOrphan` has made sure that the postmaster itself is gone, and the lock on the shared memory
 * still guards against its backends.
 */
function removeStaleLock(cluster: string): void {
  rmSync(join(cluster, 'postmaster.pid'), { force: true });
}

function serverSettings({ port, durability = 'full' }: ClusterStart): Record<string, string | number> {
  const settings = {
    listen_addresses: '127.0.0.1',
    port,
    // No socket file: TCP suffices, and the paths of sockets are limited to 107 bytes.
    unix_socket_directories: '',
    max_connections: MAX_CONNECTIONS,
    timezone: 'UTC',
    // Compiling takes longer than any of our statements.
    jit: 'off',
  };
  // Commits still reach the kernel: tests that kill the server find what was committed.
  const fast = { fsync: 'off', full_page_writes: 'off' };
  return durability === 'none' ? { ...settings, ...fast } : settings;
}
