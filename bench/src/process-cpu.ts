/** CPU time and memory of process trees, from /proc: Linux only. */
import { readdirSync, readFileSync } from 'node:fs';

/** Clock ticks a second of /proc/<pid>/stat. USER_HZ is 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

interface ProcessStat {
  parent: number;
  /** Own user and system time. */
  ownTicks: number;
  /** The same, and that of its children that have ended. */
  ticks: number;
}

/**
 * CPU milliseconds so far of these processes and all their descendants. A backend that ends in between stays counted:
 * its parent, the postmaster, carries what its children have used.
 */
export function cpuMs(pids: readonly number[]): number {
  const stats = readProcesses();
  const wanted = new Set(pids);
  const isWanted = (pid: number): boolean => {
    const stat = stats.get(pid);
    return wanted.has(pid) || (stat !== undefined && stat.parent > 1 && isWanted(stat.parent));
  };
  let ticks = 0;
  for (const [pid, stat] of stats) if (isWanted(pid)) ticks += stat.ticks;
  return (ticks * 1_000) / TICKS_PER_SECOND;
}

/** CPU milliseconds so far of a process's main thread alone: in Node, of its event loop. */
export function mainThreadCpuMs(pid: number): number {
  return (parseStat(readFileSync(`/proc/${pid}/task/${pid}/stat`, 'utf8')).ownTicks * 1_000) / TICKS_PER_SECOND;
}

/** Every process now; one that ends while it is read is left out. */
function readProcesses(): Map<number, ProcessStat> {
  const stats = new Map<number, ProcessStat>();
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid)) continue;
    try {
      stats.set(pid, parseStat(readFileSync(`/proc/${pid}/stat`, 'utf8')));
    } catch {
      continue;
    }
  }
  return stats;
}

/** proc(5). The program's name, in parentheses, may hold spaces: the fields are counted from behind it. */
export function parseStat(line: string): ProcessStat {
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ');
  const [utime, stime, childUtime, childStime] = fields.slice(11, 15).map(Number);
  const ownTicks = utime! + stime!;
  return { parent: Number(fields[1]), ownTicks, ticks: ownTicks + childUtime! + childStime! };
}
