/** The main job against a system that a cluster runs: through its doors alone, with what can be checked from there. */
import 'reflect-metadata';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadEnvOrExit } from '@studio/shared/platform/env';
import { ClusterDemoEnv } from './cluster-env';
import type { Doors } from './demo/doors';
import { Demo, type DemoOutcome } from './demo/run-demo';
import { Progress } from './demo/progress';
import { jobsTable } from './demo/tables';

const ROOT = resolve(__dirname, '../../..');
/** Images are pulled and engines start meanwhile. */
const READY_BOUND_MS = 600_000;
const PAUSE_MS = 1_000;

async function main(): Promise<void> {
  const env = loadEnvOrExit(ClusterDemoEnv);
  const doors: Doors = {
    apiUrl: env.API_URL,
    registryUrl: env.REGISTRY_URL,
    registryAdminUrl: env.REGISTRY_ADMIN_URL,
    auditorUrl: env.AUDITOR_URL,
    apiKey: env.API_KEY,
    adminKey: env.ADMIN_KEY,
    root: ROOT,
  };
  await isReady(doors, env.MINERS);
  const progress = new Progress();
  const demo = new Demo(doors, { photo: resolve(ROOT, 'photos/chelsea.png'), outDir: env.OUT_DIR }, progress);
  const outcome = await demo.run().finally(() => progress.stop());
  const { names } = await registered(doors);
  process.stdout.write(`${jobsTable(outcome.jobs, outcome.audits, names)}\n`);
  const problems = problemsOf(outcome);
  for (const problem of problems) process.stderr.write(`${problem}\n`);
  process.stdout.write(`epoch ${outcome.epoch}: ${outcome.jobs.length} jobs, ${outcome.audits.length} audits\n`);
  process.exit(problems.length === 0 ? 0 : 1);
}

/** Waits until every service is ready and so many miners are registered. @throws Error that says what is missing. */
async function isReady(doors: Doors, miners: number): Promise<void> {
  const end = performance.now() + READY_BOUND_MS;
  for (let told = ''; ; await sleep(PAUSE_MS)) {
    const missing = await whatIsMissing(doors, miners);
    if (missing === null) return;
    if (performance.now() > end) throw new Error(`not ready after ${READY_BOUND_MS / 1_000} s: ${missing}`);
    if (missing !== told) process.stderr.write(`waiting: ${missing}\n`);
    told = missing;
  }
}

async function whatIsMissing(doors: Doors, miners: number): Promise<string | null> {
  for (const url of [doors.apiUrl, doors.registryUrl, doors.auditorUrl]) {
    const reply = await fetch(`${url}/health/ready`, { signal: AbortSignal.timeout(5_000) }).catch(() => undefined);
    await reply?.arrayBuffer();
    if (!reply?.ok) return `${url} is not ready`;
  }
  const { names } = await registered(doors);
  return names.size >= miners ? null : `${names.size} of ${miners} miners are registered`;
}

async function registered(doors: Doors): Promise<{ names: Map<string, string> }> {
  const reply = await fetch(`${doors.registryUrl}/v1/miners`, { signal: AbortSignal.timeout(5_000) });
  const { miners } = (await reply.json()) as { miners: { hotkey: string; operator: string }[] };
  return { names: new Map(miners.map(({ hotkey, operator }) => [hotkey, operator])) };
}

/** The demo itself fails when a job has no result or the epoch does not close. */
function problemsOf({ audits, snapshot, jobs }: DemoOutcome): string[] {
  const undecided = audits.filter(({ outcome }) => outcome === null).length;
  const unpaid = snapshot.miners.every(({ u16 }) => u16 === 0);
  return [
    ...(undecided > 0 ? [`${undecided} audits have no verdict`] : []),
    ...(jobs.length > 0 && unpaid ? ['no miner has a weight: are the reference or three other operators there?'] : []),
  ];
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
