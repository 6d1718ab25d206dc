import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import sharp from 'sharp';
import { isRunning, LauncherRun, type RunReport } from './launcher-run';

/** A run takes about a minute on two idle cores. */
const RUN_BOUND_MS = 300_000;

/** Everything but the launcher, which keeps the others running. */
const VICTIMS = [
  'querier-worker',
  'auditor',
  'miner-ada',
  'registry',
  'postgres',
  'querier-api',
  'nats',
  'scores',
  'reference',
  'redis',
  'validator',
];

function failedInvariants(report: RunReport): string[] {
  return Object.entries(report.invariants)
    .filter(([, holds]) => !holds)
    .map(([name]) => name);
}

describe('the whole chain', () => {
  it(
    'turns a photograph into a LoRA, images, scores and weights, and leaves no process behind',
    async () => {
      const run = new LauncherRun();
      try {
        const status = await run.ended;
        if (status !== 0) throw new Error(run.output);
        const report = run.report();
        expect(failedInvariants(report)).toEqual([]);
        expect(report.psnrDb).toBeGreaterThanOrEqual(25);
        expect(report.jobs.length).toBeGreaterThanOrEqual(40);
        expect(report.jobs.every(({ state }) => state === 'succeeded')).toBe(true);
        const image = report.files.find((file) => file.endsWith('photo-64-breeze.png'))!;
        expect(await sharp(readFileSync(image)).metadata()).toMatchObject({ width: 192, height: 192, format: 'png' });
        expect(Object.values(run.pids()).filter((pid) => isRunning(pid))).toEqual([]);
      } finally {
        await run.remove();
      }
    },
    RUN_BOUND_MS,
  );

  it(
    'loses nothing when every process is killed once, one after another, while it works',
    async () => {
      const run = new LauncherRun();
      try {
        const killed = await killOneAfterAnother(run);
        const status = await run.ended;
        if (status !== 0) throw new Error(run.output);
        const report = run.report();
        expect(failedInvariants(report)).toEqual([]);
        expect(report.jobs.every(({ state }) => state === 'succeeded')).toBe(true);
        const accused = report.jobs.filter(({ verdict }) => verdict === 'invalid').map(({ miner }) => miner);
        expect(new Set(accused)).toEqual(new Set(['miner-dishonest']));
        expect(killed.length).toBeGreaterThanOrEqual(VICTIMS.length / 2);
        for (const name of killed) {
          expect(report.processes.find((process) => process.name === name)?.restarts).toBeGreaterThanOrEqual(1);
        }
      } finally {
        await run.remove();
      }
    },
    RUN_BOUND_MS,
  );
});

/** Between one that runs again and the next: long enough for it to be asked for something. */
const PAUSE_MS = 1_000;

/**
 * Kills each victim once it runs, the next when it runs again, until the run is over.
 * @returns who was killed, without one whom the end of the run overtook.
 */
async function killOneAfterAnother(run: LauncherRun): Promise<string[]> {
  const killed: string[] = [];
  let ended = false;
  void run.ended.then(() => (ended = true));
  const isOver = (): boolean => ended || run.isStopping;
  const isUp = (pid: number | undefined): pid is number => pid !== undefined && isRunning(pid);
  while (!isOver() && !run.pids().validator) await sleep(100);
  for (const name of VICTIMS) {
    await sleep(PAUSE_MS);
    const pid = run.pids()[name];
    if (isOver()) break;
    if (!isUp(pid)) continue;
    process.kill(pid, 'SIGKILL');
    while (!isOver() && (run.pids()[name] === pid || !isUp(run.pids()[name]))) await sleep(50);
    if (!isOver()) killed.push(name);
  }
  return killed;
}
