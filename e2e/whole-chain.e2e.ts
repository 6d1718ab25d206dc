import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import sharp from 'sharp';
import { isRunning, LauncherRun, type RunReport } from './launcher-run';

/** A run takes about a minute on two idle cores. */
const RUN_BOUND_MS = 300_000;

/** Longer than the launcher takes to end all, and to print what it has seen. */
const ENDING_MS = 10_000;

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
        const endedMs = performance.now();
        if (status !== 0) throw new Error(run.output);
        const report = run.report();
        expect(failedInvariants(report)).toEqual([]);
        expect(report.jobs.every(({ state }) => state === 'succeeded')).toBe(true);
        const accused = report.jobs.filter(({ verdict }) => verdict === 'invalid').map(({ miner }) => miner);
        expect(new Set(accused)).toEqual(new Set(['miner-dishonest']));
        expect(killed.length).toBeGreaterThanOrEqual(VICTIMS.length / 2);
        for (const { name, atMs } of killed) {
          // One that was killed as everything was about to end anyway is not started again.
          if (endedMs - atMs < ENDING_MS) continue;
          expect(report.processes.find((process) => process.name === name)?.restarts).toBeGreaterThanOrEqual(1);
        }
      } finally {
        await run.remove();
      }
    },
    RUN_BOUND_MS,
  );
});

/** Kills each victim once it runs, a few seconds apart, until the run is over; returns who was killed. */
async function killOneAfterAnother(run: LauncherRun): Promise<{ name: string; atMs: number }[]> {
  const killed: { name: string; atMs: number }[] = [];
  let over = false;
  void run.ended.then(() => (over = true));
  while (!over && !run.pids().validator) await sleep(100);
  for (const name of VICTIMS) {
    await sleep(2_500);
    const pid = run.pids()[name];
    if (over || pid === undefined || !isRunning(pid)) continue;
    process.kill(pid, 'SIGKILL');
    killed.push({ name, atMs: performance.now() });
  }
  return killed;
}
