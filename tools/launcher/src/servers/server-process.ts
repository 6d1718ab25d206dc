import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { inheritedEnv } from './env';
import type { RunningServer, ServerExit, ServerName } from './running-server';
import type { ServerBinary } from './server-binary';
import { portTaken, SERVERS, ServerError } from './server-error';
import { removeRecord, signalGroup, writeRecord, type StopStep } from './server-record';

export interface ServerCommand {
  name: ServerName;
  binary: ServerBinary;
  args: string[];
  /** Holds the log and the record of the process; the data may lie elsewhere. */
  dir: string;
  url: string;
  port: number;
  /** Unprivileged user to run as; only root can ask for one. */
  user?: { uid: number; gid: number };
  /** Resolves when the server answers, rejects while it does not. */
  probe(): Promise<void>;
  stopSteps: StopStep[];
}

/** Crash recovery after a kill replays the log before the first connection: seconds, tens of them on a slow disk. */
const READY_TIMEOUT_MS = 90_000;

/** Short enough not to be felt in a start of about a second. */
const PROBE_INTERVAL_MS = 25;

const LOG_LIMIT_BYTES = 10 * 1024 * 1024;
const LOG_TAIL_LINES = 15;

/** Servers to end when this process exits without having stopped them: a crash must leave nothing behind. */
const live = new Map<ChildProcess, StopStep[]>();
let watchingExit = false;

/**
 * Runs a server and resolves once it answers.
 * @throws ServerError `port-taken`, or `start-failed` with the last lines of the log and the log's path.
 */
export async function runServer(command: ServerCommand): Promise<RunningServer> {
  mkdirSync(command.dir, { recursive: true });
  const log = openLog(command);
  const child = spawnServer(command, log.fd);
  const exited = exitOf(child);
  closeSync(log.fd);
  if (child.pid === undefined) throw startFailed(command, log, (await exited).error?.message ?? 'it did not start');
  writeRecord(command.dir, child.pid);
  trackUntilExit(child, command, exited);
  const stop = stopOnce(child, command.stopSteps, exited);
  const failure = await untilReady(command, exited);
  if (failure !== null) {
    await stop();
    throw startFailed(command, log, failure);
  }
  const { name, url, port, binary } = command;
  return { name, url, port, version: binary.version, source: binary.source, pid: child.pid, exited, stop };
}

function spawnServer(command: ServerCommand, logFd: number): ChildProcess {
  const { binary, args, user } = command;
  return spawn(binary.path, args, {
    // A group of its own: Ctrl-C reaches only the launcher, which stops the services before the servers under them.
    detached: true,
    stdio: ['ignore', logFd, logFd],
    // English and UTC whatever the user's locale: log lines are matched and shown.
    env: inheritedEnv({ LC_ALL: 'C', TZ: 'UTC', ...binary.env }),
    cwd: '/',
    ...user,
  });
}

function exitOf(child: ChildProcess): Promise<ServerExit & { error?: Error }> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }));
    child.once('error', (error) => resolve({ code: null, signal: null, error }));
  });
}

function trackUntilExit(child: ChildProcess, { dir, stopSteps }: ServerCommand, exited: Promise<ServerExit>): void {
  live.set(child, stopSteps);
  if (!watchingExit) {
    watchingExit = true;
    process.once('exit', () => {
      for (const [{ pid }, steps] of live) if (pid && steps[0]) signalGroup(pid, steps[0].signal);
    });
  }
  void exited.then(() => {
    live.delete(child);
    removeRecord(dir);
  });
}

function stopOnce(child: ChildProcess, steps: StopStep[], exited: Promise<ServerExit>): () => Promise<void> {
  let stopping: Promise<void> | undefined;
  const run = async (): Promise<void> => {
    for (const { signal, graceMs } of steps) {
      if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
      signalGroup(child.pid, signal);
      const grace = new AbortController();
      const late = sleep(graceMs, undefined, { signal: grace.signal }).catch(() => undefined);
      await Promise.race([exited, late]);
      grace.abort();
    }
    await exited;
  };
  return () => (stopping ??= run());
}

/** Null when the server answers, else why it does not. */
async function untilReady(command: ServerCommand, exited: Promise<ServerExit>): Promise<string | null> {
  let ended: ServerExit | undefined;
  void exited.then((exit) => (ended = exit));
  const giveUpAt = performance.now() + READY_TIMEOUT_MS;
  let last = '';
  while (performance.now() < giveUpAt) {
    if (ended) return ended.signal ? `it was ended by ${ended.signal}` : `it exited with status ${ended.code}`;
    try {
      await command.probe();
      return null;
    } catch (error) {
      last = (error as Error).message;
    }
    await Promise.race([exited, sleep(PROBE_INTERVAL_MS)]);
  }
  return `it did not answer within ${READY_TIMEOUT_MS / 1000} s (${last})`;
}

interface ServerLog {
  path: string;
  fd: number;
  /** Where this start's lines begin: older ones would mislead. */
  start: number;
}

function openLog({ dir, name }: ServerCommand): ServerLog {
  const path = join(dir, `${name}.log`);
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  const full = size > LOG_LIMIT_BYTES;
  if (full) renameSync(path, `${path}.1`);
  return { path, fd: openSync(path, 'a'), start: full ? 0 : size };
}

function startFailed(command: ServerCommand, log: ServerLog, reason: string): ServerError {
  const text = readFileSync(log.path).subarray(log.start).toString('utf8').trimEnd();
  if (/address already in use/i.test(text)) return portTaken(command.name, command.port);
  const tail = text.split('\n').slice(-LOG_TAIL_LINES).join('\n  ');
  const { title } = SERVERS[command.name];
  return new ServerError(
    'start-failed',
    `${title} ${command.binary.version} (${command.binary.path}) did not start: ${reason}.\n` +
      `Last lines of ${log.path}:\n  ${tail || '(empty)'}`,
  );
}
