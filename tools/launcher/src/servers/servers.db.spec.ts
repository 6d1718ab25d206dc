import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { connect } from 'nats';
import { Client } from 'pg';
import { cacheDirectory } from './env';
import { startNats } from './nats';
import { startPostgres } from './postgres';
import { processIdentity } from './process-identity';
import { startRedis } from './redis';
import type { RunningServer, ServerName } from './running-server';
import { runServer } from './server-process';

// A start takes a second alone and many more on a machine where everything else is tested at the same time.
jest.setTimeout(60_000);

const cacheDir = cacheDirectory(resolve(__dirname, '../../../..'));
const log = (): void => undefined;

let dir: string;
const started: RunningServer[] = [];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'studio-servers-'));
  chmodSync(dir, 0o755);
});
afterEach(async () => {
  await Promise.all(started.splice(0).map((server) => server.stop()));
  rmSync(dir, { recursive: true, force: true });
});

interface StartOptions {
  port?: number;
  url?: string;
  durability?: 'full' | 'none';
}

/** Those that a user may have already; scores.db.spec.ts has the other. */
type SharedServer = Exclude<ServerName, 'scores'>;

const starters: Record<SharedServer, (options: StartOptions) => Promise<RunningServer>> = {
  postgres: (options) => startPostgres({ dataDir: join(dir, 'data'), durability: 'none', log, ...options }),
  nats: (options) => startNats({ storeDir: join(dir, 'data'), cacheDir, log, ...options }),
  redis: (options) => startRedis({ dataDir: join(dir, 'data'), cacheDir, log, ...options }),
};

async function start(name: SharedServer, options: StartOptions = {}): Promise<RunningServer & { pid: number }> {
  const server = await starters[name](options);
  started.push(server);
  return { ...server, pid: server.pid! };
}

describe.each(['postgres', 'nats', 'redis'] as const)('%s', (name) => {
  it('starts on a free port, answers, and leaves no process after stop', async () => {
    const server = await start(name);
    expect(server).toMatchObject({ name, version: expect.stringMatching(/^\d+\.\d+/) });
    await expect(starters[name]({ url: server.url })).resolves.toMatchObject({ source: 'environment' });
    await Promise.all([server.stop(), server.stop()]);
    await expect(server.exited).resolves.toBeDefined();
    expect(processIdentity(server.pid)).toBeNull();
    expect(existsSync(join(dir, 'data/server.json'))).toBe(false);
  });

  it('starts again on the same port and data after SIGKILL', async () => {
    const first = await start(name);
    process.kill(first.pid, 'SIGKILL');
    await expect(first.exited).resolves.toEqual({ code: null, signal: 'SIGKILL' });
    const second = await start(name, { port: first.port });
    expect(second.url).toBe(first.url);
    expect(second.pid).not.toBe(first.pid);
  });

  it('replaces the server that a killed launcher left on its data', async () => {
    const orphan = await start(name);
    // As a launcher that is gone would have written it.
    const path = join(dir, 'data/server.json');
    const record = JSON.parse(readFileSync(path, 'utf8')) as { owner: { pid: number; identity: string } };
    record.owner = { pid: 2 ** 22 + 1, identity: 'gone' };
    writeFileSync(path, JSON.stringify(record));
    const next = await start(name, { port: orphan.port });
    expect(processIdentity(orphan.pid)).toBeNull();
    expect(processIdentity(next.pid)).not.toBeNull();
  });

  it('refuses data that another launcher, still up, is using', async () => {
    await start(name);
    const other = spawn('sleep', ['60']);
    const path = join(dir, 'data/server.json');
    const record = JSON.parse(readFileSync(path, 'utf8')) as { owner: unknown };
    record.owner = { pid: other.pid, identity: processIdentity(other.pid!) };
    writeFileSync(path, JSON.stringify(record));
    await expect(starters[name]({})).rejects.toThrow(`another run that is still up (process ${other.pid})`);
    other.kill();
  });

  it('names the port that is taken, and the option that chooses another', async () => {
    const holder = createServer().listen(0, '127.0.0.1');
    await once(holder, 'listening');
    const { port } = holder.address() as AddressInfo;
    await expect(starters[name]({ port })).rejects.toThrow(
      `port ${port} is taken by another process: stop it or choose another with --${name}-port`,
    );
    holder.close();
  });

  it('at a URL where nothing answers is an error that names the variable', async () => {
    const protocol = name === 'postgres' ? 'postgres' : name;
    await expect(starters[name]({ url: `${protocol}://127.0.0.1:1` })).rejects.toThrow(
      new RegExp(`^STUDIO_${name.toUpperCase()}_URL: no .* answers at 127.0.0.1:1 `),
    );
  });
});

describe('data', () => {
  it('of Postgres survives a SIGKILL and a stop', async () => {
    const query = async (url: string, text: string): Promise<unknown[]> => {
      const client = new Client({ connectionString: url });
      await client.connect();
      try {
        return (await client.query(text)).rows;
      } finally {
        await client.end();
      }
    };
    const first = await start('postgres', { durability: 'full' });
    await query(first.url, 'CREATE TABLE kept AS SELECT 42 AS n');
    process.kill(first.pid, 'SIGKILL');
    await first.exited;
    const second = await start('postgres', { durability: 'full' });
    await expect(query(second.url, 'SELECT n FROM kept')).resolves.toEqual([{ n: 42 }]);
    await second.stop();
    const third = await start('postgres', { durability: 'full' });
    await expect(query(third.url, 'SELECT n FROM kept')).resolves.toEqual([{ n: 42 }]);
  });

  it('of JetStream survives a stop', async () => {
    const first = await start('nats');
    const before = await connect({ servers: first.url });
    await (await before.jetstreamManager()).streams.add({ name: 'KEPT', subjects: ['kept'] });
    await before.jetstream().publish('kept');
    await before.close();
    await first.stop();
    const second = await start('nats');
    const after = await connect({ servers: second.url });
    const { state } = await (await after.jetstreamManager()).streams.info('KEPT');
    expect(state.messages).toBe(1);
    await after.close();
  });

  it('made by another version of Postgres is refused with the way out', async () => {
    const cluster = join(dir, 'data/cluster');
    mkdirSync(cluster, { recursive: true });
    writeFileSync(join(cluster, 'PG_VERSION'), '9\n');
    await expect(starters.postgres({})).rejects.toThrow(/made by PostgreSQL 9; npm start -- --fresh begins anew/);
  });
});

describe('a binary that', () => {
  const program = (text: string) => {
    const path = join(dir, 'server');
    writeFileSync(path, text);
    chmodSync(path, 0o755);
    return { path, version: '1.2.3', source: 'path', env: {} } as const;
  };
  const command = {
    name: 'redis',
    args: [],
    url: 'redis://127.0.0.1:1',
    port: 1,
    probe: () => Promise.reject(new Error('no answer')),
    stopSteps: [
      { signal: 'SIGTERM', graceMs: 200 },
      { signal: 'SIGKILL', graceMs: 5_000 },
    ],
  } satisfies Partial<Parameters<typeof runServer>[0]>;

  it('exits at once is an error with the end of its log and the path of the log', async () => {
    const binary = program('#!/bin/sh\necho "config line 7 is wrong" >&2\nexit 3\n');
    await expect(runServer({ ...command, dir, binary })).rejects.toThrow(
      `Redis 1.2.3 (${binary.path}) did not start: it exited with status 3.\n` +
        `Last lines of ${join(dir, 'redis.log')}:\n  config line 7 is wrong`,
    );
  });

  it('cannot be executed is an error that says so', async () => {
    const binary = { ...program(''), path: join(dir, 'absent') };
    await expect(runServer({ ...command, dir, binary })).rejects.toThrow(/did not start: spawn .*absent ENOENT/);
  });

  it('ignores SIGTERM is ended all the same', async () => {
    const binary = program('#!/bin/sh\ntrap "" TERM\necho up\nwhile :; do sleep 0.1; done\n');
    const untilUp = async (): Promise<void> => {
      if (!readFileSync(join(dir, 'redis.log'), 'utf8').includes('up')) throw new Error('not yet');
    };
    const server = await runServer({ ...command, dir, binary, probe: untilUp });
    await server.stop();
    await expect(server.exited).resolves.toEqual({ code: null, signal: 'SIGKILL' });
  });
});
