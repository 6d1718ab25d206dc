import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { OutputTail, readLines } from './program-output';
import { kill } from './work-folders';

export interface ProgramRun {
  /** The program and its arguments; no shell reads them. */
  argv: readonly string[];
  env: Record<string, string>;
  /** What it reads on stdin, to its end. */
  input: string;
  /** From SIGTERM to SIGKILL. */
  graceMs: number;
  onLine: (line: string) => void;
}

/** The program ran and failed. `stderr` is the end of what it said. */
export class ProgramFailure extends Error {
  override readonly name = 'ProgramFailure';

  constructor(
    message: string,
    readonly stderr: string,
  ) {
    super(message);
  }
}

/** Stderr is kept for the log and the last line for the message: a traceback fits. */
const KEPT_STDERR_BYTES = 16 * 1024;
/** Whoever left the group with a pipe in hand is not waited for any longer. */
const PIPES_MS = 1_000;

/** Groups that still run: ended with this process, should it end without waiting for them. */
const groups = new Set<number>();
let watchesExit = false;

/**
 * Runs a program to its end, in a process group of its own. When it ends, so does everything it started and left behind;
 * when `signal` aborts, the group gets SIGTERM and, `graceMs` later, SIGKILL. Resolves or rejects only when the program
 * is gone: the slot that becomes free is really free.
 *
 * Not reached: a process that moved into another session (a daemon); the folder sweep of the next start ends that.
 *
 * @throws ProgramFailure, `signal`'s reason, or Error where it cannot be started.
 */
export async function runProgram(run: ProgramRun, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const child = await start(run);
  const group = child.pid!;
  const stderr = new OutputTail(KEPT_STDERR_BYTES);
  child.stderr.on('data', (bytes: Buffer) => stderr.add(bytes));
  readLines(child.stdout, run.onLine);
  // A program that does not read its job to the end is not wrong for that.
  child.stdin.on('error', () => undefined);
  child.stdin.end(run.input);
  const stop = stopper(group, run.graceMs);
  signal.addEventListener('abort', stop.begin, { once: true });
  if (signal.aborted) stop.begin();
  const closed = once(child, 'close').catch(() => undefined);
  const [code, killer] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  signal.removeEventListener('abort', stop.begin);
  stop.end();
  kill(-group, 'SIGKILL');
  groups.delete(group);
  await Promise.race([closed, sleep(PIPES_MS, undefined, { ref: false })]);
  for (const stream of [child.stdout, child.stderr]) stream.destroy();
  signal.throwIfAborted();
  if (code !== 0) throw new ProgramFailure(ending(run.argv, code, killer, stderr.lastLine()), stderr.text());
}

/** Started, or an error that says why not. */
async function start({ argv, env }: ProgramRun): Promise<ChildProcessWithoutNullStreams> {
  const [program, ...args] = argv;
  const child = spawn(program!, args, { env, detached: true, stdio: 'pipe' });
  try {
    await once(child, 'spawn');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const remedy = code === 'ENOENT' ? 'there is no such program: give its full path' : message;
    throw new Error(`${program} cannot be started: ${remedy}`, { cause: error });
  }
  groups.add(child.pid!);
  if (!watchesExit) process.on('exit', () => groups.forEach((group) => kill(-group, 'SIGKILL')));
  watchesExit = true;
  return child;
}

function stopper(group: number, graceMs: number): { begin: () => void; end: () => void } {
  let timer: NodeJS.Timeout | undefined;
  return {
    begin: () => {
      kill(-group, 'SIGTERM');
      timer = setTimeout(() => kill(-group, 'SIGKILL'), graceMs);
    },
    end: () => clearTimeout(timer),
  };
}

function ending(argv: readonly string[], code: number | null, killer: string | null, lastLine: string): string {
  const how = killer
    ? `was ended by ${killer}${killer === 'SIGKILL' ? ' (out of memory?)' : ''}`
    : `exited with ${code}`;
  return `${argv.join(' ')} ${how}: ${lastLine || 'it said nothing on stderr'}`;
}
