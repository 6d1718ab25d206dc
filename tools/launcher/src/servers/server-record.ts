import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { processIdentity } from './process-identity';
import type { ProgressLog, ServerName } from './running-server';
import { SERVERS, ServerError } from './server-error';

/**
 * Which process serves a data directory and which process started it: `server.json` beside the data. Servers outlive
 * a launcher that was killed with SIGKILL; the next start finds them by this record and ends them first.
 */
interface ServerRecord {
  pid: number;
  identity: string;
  owner: { pid: number; identity: string };
}

export interface StopStep {
  signal: NodeJS.Signals;
  /** How long the process may take before the next, harsher step. */
  graceMs: number;
}

const recordPath = (dir: string): string => join(dir, 'server.json');

export function writeRecord(dir: string, pid: number): void {
  const identity = processIdentity(pid);
  const owner = processIdentity(process.pid);
  // No identity: it has died already, there is nothing to find again.
  if (identity === null || owner === null) return;
  const record: ServerRecord = { pid, identity, owner: { pid: process.pid, identity: owner } };
  writeFileSync(recordPath(dir), JSON.stringify(record));
}

export function removeRecord(dir: string): void {
  rmSync(recordPath(dir), { force: true });
}

/**
 * Ends the server that a launcher, now dead, left on this directory.
 * @throws ServerError `in-use` when the launcher that started it still runs: its data is not ours to take.
 */
export async function endOrphan(name: ServerName, dir: string, steps: StopStep[], log: ProgressLog): Promise<void> {
  const record = readRecord(dir);
  if (!record || processIdentity(record.pid) !== record.identity) return;
  const { owner } = record;
  if (owner.pid !== process.pid && processIdentity(owner.pid) === owner.identity) {
    throw new ServerError(
      'in-use',
      `${SERVERS[name].title} on ${dir} belongs to another run that is still up (process ${owner.pid}): ` +
        'stop that one first, or start from another checkout',
    );
  }
  log(`ending ${SERVERS[name].title} (process ${record.pid}) left over from an earlier run`);
  await endProcess(record, steps);
}

function readRecord(dir: string): ServerRecord | null {
  try {
    return JSON.parse(readFileSync(recordPath(dir), 'utf8')) as ServerRecord;
  } catch {
    return null; // none, or half-written by a launcher killed in the act: its server is then named by the taken port
  }
}

async function endProcess({ pid, identity }: ServerRecord, steps: StopStep[]): Promise<void> {
  const alive = (): boolean => processIdentity(pid) === identity;
  for (const { signal, graceMs } of steps) {
    if (!alive()) return;
    signalGroup(pid, signal);
    // Not our child, so no exit event: asking again is the only way.
    for (let waited = 0; waited < graceMs && alive(); waited += 20) await sleep(20);
  }
  if (alive()) throw new ServerError('in-use', `process ${pid} does not end, not even on SIGKILL: end it by hand`);
}

/** SIGKILL goes to the whole group, because a killed postmaster cannot tell its children; all else to the leader. */
export function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(signal === 'SIGKILL' ? -pid : pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Ends at once the server recorded in `dir`, if it still runs: for data that nobody wants any more. */
export function killOrphan(dir: string): void {
  const record = readRecord(dir);
  if (record && processIdentity(record.pid) === record.identity) signalGroup(record.pid, 'SIGKILL');
}
