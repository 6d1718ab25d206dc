/**
 * How long an event loop was held up by what ran on it: the lateness of a timer, as far as its thread had the processor in
 * the meantime. Where it had not, the machine had other things to do, or its collector waited for threads that had none.
 */
import { readFileSync } from 'node:fs';

const LOOK_MS = 20;

export class LoopWatch {
  private readonly late: number[] = [];
  private last = moment();
  private readonly timer = setInterval(() => this.look(), LOOK_MS);

  stop(): { p99Ms: number; maxMs: number } {
    clearInterval(this.timer);
    this.late.sort((a, b) => a - b);
    return { p99Ms: this.late[Math.floor(0.99 * this.late.length)] ?? 0, maxMs: this.late.at(-1) ?? 0 };
  }

  private look(): void {
    const now = moment();
    const late = Math.max(0, now.ms - this.last.ms - LOOK_MS);
    this.late.push(Math.min(late, now.ranMs - this.last.ranMs));
    this.last = now;
  }
}

interface Moment {
  ms: number;
  /** How long the thread has had a processor so far; not Linux: it is taken to have had one always. */
  ranMs: number;
}

function moment(): Moment {
  const ms = performance.now();
  try {
    return { ms, ranMs: Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6 };
  } catch {
    return { ms, ranMs: ms };
  }
}

/** The most memory that this process has had, in MiB. Linux hands `maxRSS` on to a child; VmHWM begins with the program. */
export function peakMib(): number {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))![1]) / 1024;
  } catch {
    return process.resourceUsage().maxRSS / 1024;
  }
}
