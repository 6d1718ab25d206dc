import { readFileSync } from 'node:fs';

/** Highest resident memory of a process so far, in MiB; null where the system does not tell (not Linux, or ended). */
export function peakMemoryMiB(pid: number | null): number | null {
  if (pid === null) return null;
  try {
    const line = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    return line ? Math.round(Number(line[1]) / 1024) : null;
  } catch {
    return null;
  }
}
