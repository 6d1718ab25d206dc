/**
 * Keeps processes running: starts them, writes their output to a log file each, starts them again when they end, and
 * ends them all in reverse order. Children watch their IPC channel, so they also end when this process is killed.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { createWriteStream, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RunningServer } from '../servers/running-server';
import { inheritedEnv } from '../servers/env';
import { peakMemoryMiB } from './process-memory';

export interface ProcessSpec {
  name: string;
  /** Absolute path of a built main file. */
  script: string;
  args?: string[];
  env: Record<string, string>;
}

export interface ProcessReport {
  name: string;
  pid: number | null;
  restarts: number;
  peakMemoryMiB: number | null;
}

/** sysexits(3): the environment or options are wrong; starting again would not help. */
const EXIT_CONFIG = 78;
const FIRST_BACKOFF_MS = 200;
const MAX_BACKOFF_MS = 5_000;
/** Ended by itself later than this after its start, a process counts as healthy and its backoff starts anew. */
const HEALTHY_MS = 10_000;
/** Longer than the services' own bound for finishing what they hold. */
const STOP_BOUND_MS = 8_000;

interface Entry {
  name: string;
  restarts: number;
  pid: () => number | null;
  stop: () => Promise<void>;
  ended: Promise<void>;
  peak: number | null;
}

export class Supervisor {
  private readonly entries: Entry[] = [];
  private stopping = false;
  private announceStop!: () => void;
  private readonly stopped = new Promise<null>((resolve) => (this.announceStop = () => resolve(null)));
  private readonly sampler: NodeJS.Timeout;

  /** `onFatal` hears of a process that cannot run at all, with what it said last. */
  constructor(
    readonly logDir: string,
    private readonly onRestart: (name: string, how: string) => void,
    private readonly onFatal: (error: Error) => void,
  ) {
    mkdirSync(logDir, { recursive: true });
    this.sampler = setInterval(() => this.samplePeaks(), 500);
    this.sampler.unref();
  }

  /** Starts an embedded server and starts it again, on the same port and data, whenever it ends by itself. */
  async server(name: string, start: () => Promise<RunningServer>): Promise<RunningServer> {
    let current = await start();
    const first = current;
    const entry: Entry = {
      name,
      restarts: 0,
      peak: null,
      pid: () => current.pid ?? null,
      stop: () => current.stop(),
      ended: Promise.resolve(),
    };
    const watch = async (): Promise<void> => {
      while (!this.stopping) {
        const exit = await Promise.race([current.exited, this.stopped]);
        if (!exit || this.stopping) return;
        entry.restarts += 1;
        this.onRestart(name, exit.signal ?? `status ${exit.code}`);
        current = await this.startAgain(name, start);
        this.writePids();
      }
    };
    entry.ended = watch().catch((error: unknown) => this.fatal(error));
    this.entries.push(entry);
    this.writePids();
    return first;
  }

  private async startAgain(name: string, start: () => Promise<RunningServer>): Promise<RunningServer> {
    for (let backoff = FIRST_BACKOFF_MS, tries = 1; ; backoff = Math.min(backoff * 2, MAX_BACKOFF_MS), tries += 1) {
      try {
        return await start();
      } catch (cause) {
        if (this.stopping || tries === 8) throw new Error(`${name} does not start again`, { cause });
        await sleep(backoff);
      }
    }
  }

  /** Starts a Node process and keeps it running. */
  run(spec: ProcessSpec): void {
    let child: ChildProcess | null = null;
    const entry: Entry = {
      name: spec.name,
      restarts: 0,
      peak: null,
      pid: () => child?.pid ?? null,
      stop: () => stopChild(child),
      ended: Promise.resolve(),
    };
    const keep = async (): Promise<void> => {
      for (let backoff = FIRST_BACKOFF_MS; !this.stopping;) {
        const startedAt = performance.now();
        child = this.spawn(spec);
        this.writePids();
        const how = await exitOf(child);
        if (this.stopping) return;
        if (how === `status ${EXIT_CONFIG}`)
          throw new Error(`${spec.name} refuses its configuration; see ${this.logFile(spec.name)}`);
        entry.restarts += 1;
        this.onRestart(spec.name, how);
        backoff = performance.now() - startedAt > HEALTHY_MS ? FIRST_BACKOFF_MS : Math.min(backoff * 2, MAX_BACKOFF_MS);
        await sleep(backoff);
      }
    };
    this.entries.push(entry);
    entry.ended = keep().catch((error: unknown) => this.fatal(error));
  }

  private spawn(spec: ProcessSpec): ChildProcess {
    const log = createWriteStream(this.logFile(spec.name), { flags: 'a' });
    const child = fork(spec.script, spec.args ?? [], {
      env: inheritedEnv(spec.env),
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      // A terminal's Ctrl-C goes to the whole group; the order of ending is ours to choose.
      detached: true,
    });
    child.stdout?.pipe(log, { end: false });
    child.stderr?.pipe(log, { end: false });
    child.once('close', () => log.end());
    return child;
  }

  /** Which process is which, for whoever looks from outside: beside the logs, as JSON `{name: pid}`. */
  private writePids(): void {
    const path = join(this.logDir, '../processes.json');
    writeFileSync(
      `${path}.new`,
      JSON.stringify(Object.fromEntries(this.entries.map(({ name, pid }) => [name, pid()]))),
    );
    renameSync(`${path}.new`, path);
  }

  logFile(name: string): string {
    return join(this.logDir, `${name}.log`);
  }

  report(): ProcessReport[] {
    this.samplePeaks();
    return this.entries.map(({ name, restarts, peak, pid }) => ({ name, pid: pid(), restarts, peakMemoryMiB: peak }));
  }

  /** Ends everything, last started first; servers after the processes that use them. */
  async stop(): Promise<void> {
    this.stopping = true;
    this.announceStop();
    clearInterval(this.sampler);
    for (const entry of [...this.entries].reverse()) await entry.stop();
    await Promise.allSettled(this.entries.map((entry) => entry.ended));
  }

  private samplePeaks(): void {
    for (const entry of this.entries) {
      const now = peakMemoryMiB(entry.pid());
      if (now !== null) entry.peak = Math.max(entry.peak ?? 0, now);
    }
  }

  private fatal(error: unknown): void {
    if (!this.stopping) this.onFatal(error instanceof Error ? error : new Error(String(error)));
  }
}

function exitOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve(signal ?? `status ${code}`));
    child.once('error', (error) => resolve(error.message));
  });
}

async function stopChild(child: ChildProcess | null): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  const ended = exitOf(child);
  child.kill('SIGTERM');
  const late = setTimeout(() => child.kill('SIGKILL'), STOP_BOUND_MS);
  await ended;
  clearTimeout(late);
}
