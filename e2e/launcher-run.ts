/** One `npm start -- --once --json` in directories of its own, as a newcomer would run it. */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

export const ROOT = resolve(__dirname, '..');

export interface RunReport {
  psnrDb: number;
  files: string[];
  jobs: { id: string; state: string; miner: string | null; verdict: string | null; reason: string | null }[];
  miners: {
    name: string;
    hotkey: string;
    points: string;
    reversed: string;
    u16: number;
    verdicts: Record<string, number>;
  }[];
  invariants: Record<string, boolean>;
  processes: { name: string; restarts: number; peakMemoryMiB: number | null }[];
  seconds: number;
}

export class LauncherRun {
  readonly dir = mkdtempSync(join(tmpdir(), 'studio-e2e-'));
  readonly dataDir = join(this.dir, 'data');
  readonly outDir = join(this.dir, 'out');
  private readonly child: ChildProcess;
  private stdout = '';
  private stderr = '';
  readonly ended: Promise<number | null>;

  constructor(args: readonly string[] = ['--once', '--json']) {
    const places = ['--data-dir', this.dataDir, '--out-dir', this.outDir];
    this.child = spawn(process.execPath, [join(ROOT, 'tools/bootstrap.mjs'), 'start', ...args, ...places], {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child.stdout?.on('data', (chunk: Buffer) => (this.stdout += chunk.toString()));
    this.child.stderr?.on('data', (chunk: Buffer) => (this.stderr += chunk.toString()));
    this.ended = new Promise((done) => this.child.once('close', (status) => done(status)));
  }

  /** What was printed, for a failed expectation. */
  get output(): string {
    return `${this.stderr.slice(-4_000)}\n${this.stdout.slice(-8_000)}`;
  }

  /** Everything is done, checked and printed: what ends from now on is not started again. */
  get isStopping(): boolean {
    return this.stderr.includes('· stopping');
  }

  /** The last line of stdout. */
  report(): RunReport {
    return JSON.parse(this.stdout.trimEnd().split('\n').at(-1)!) as RunReport;
  }

  /** Process ids by name; those of ended processes are replaced once they run again. */
  pids(): Record<string, number> {
    const path = join(this.dataDir, 'processes.json');
    return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Record<string, number>) : {};
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  async remove(): Promise<void> {
    this.child.kill('SIGTERM');
    await this.ended;
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
