/** From the demo's outcome to what `--json` prints and what a person reads. */
import { existsSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import colors from 'picocolors';
import type { LauncherOptions } from '../options';
import { ApiClient } from './api-client';
import { apiUrl, MINERS, weightsFile } from '../system/processes';
import type { System } from '../system/start-system';
import type { ProcessReport } from '../system/supervisor';
import { gatherEvidence } from './evidence';
import { checkInvariants } from './invariants';
import { summarise, type MinerSummary } from './miner-summary';
import { writeOverview } from './overview';
import type { OperatorClient } from './operator-client';
import type { DemoOutcome } from './run-demo';
import { dishonestText, invariantsTable, jobsTable, minersTable, processesTable } from './tables';

export interface Report {
  psnrDb: number;
  largePsnrDb: number;
  files: string[];
  jobs: {
    id: string;
    kind: string;
    title: string;
    state: string;
    miner: string | null;
    attempts: number;
    latencyMs: number | null;
    verdict: string | null;
    reason: string | null;
  }[];
  miners: MinerSummary[];
  verdicts: { valid: number; invalid: number; inconclusive: number };
  invariants: Record<string, boolean>;
  versions: Record<string, string>;
  processes: ProcessReport[];
  retrainings: number;
  seconds: number;
}

/** The validator hears of a snapshot at once; this is for one that is being started again. */
const VALIDATOR_BOUND_MS = 30_000;
/** Submits repeated with the key of the first time. */
const RESUBMITS = 5;

export async function composeReport(
  system: System,
  operator: OperatorClient,
  outcome: DemoOutcome,
  startedAt: number,
): Promise<Report> {
  await validatorHasWeights(system, outcome.epoch);
  const { jobs, audits, snapshot } = outcome;
  const submitted = jobs.map(({ view }) => view.id);
  const resubmitted = await resubmit(system, outcome);
  const evidence = await gatherEvidence(system, operator, submitted, snapshot);
  const trusted = new Set([...system.names].filter(([, name]) => isTrusted(name)).map(([hotkey]) => hotkey));
  const miners = summarise(system.names, trusted, snapshot, evidence.httpEvents, audits);
  const dishonest = miners.find(({ name }) => name === dishonestName())!;
  const of = (result: string): number => audits.filter(({ outcome: found }) => found === result).length;
  return {
    psnrDb: round(outcome.psnrDb),
    largePsnrDb: round(outcome.largePsnrDb),
    files: [...jobs.flatMap(({ files }) => files), weightsFile(system.places), evidence.exported.path],
    jobs: jobs.map((job) => jobLine(job, outcome, system.names)),
    miners,
    verdicts: { valid: of('valid'), invalid: of('invalid'), inconclusive: of('inconclusive') },
    invariants: checkInvariants({ evidence, snapshot, submitted, resubmitted, audits, dishonest, miners }),
    versions: {
      node: process.versions.node,
      ...Object.fromEntries(system.servers.map(({ name, version, source }) => [name, `${version} (${source})`])),
    },
    processes: system.supervisor.report(),
    retrainings: outcome.retrainings,
    seconds: round((performance.now() - startedAt) / 1_000),
  };
}

const isTrusted = (name: string): boolean => MINERS.some((plan) => plan.name === name && plan.trusted);
const dishonestName = (): string => MINERS.find((plan) => plan.profile === 'dishonest')!.name;
const round = (value: number): number => Math.round(value * 100) / 100;

function jobLine(
  { view, title }: DemoOutcome['jobs'][number],
  { audits }: DemoOutcome,
  names: ReadonlyMap<string, string>,
): Report['jobs'][number] {
  const accepted = view.attempts.find(({ state }) => state === 'accepted');
  const verdict = audits.find(({ job_id }) => job_id === view.id);
  return {
    id: view.id,
    kind: view.kind,
    title,
    state: view.state,
    miner: accepted ? (names.get(accepted.hotkey) ?? accepted.hotkey) : null,
    attempts: view.attempts.length,
    latencyMs: accepted?.net_ms ?? null,
    verdict: verdict?.outcome ?? null,
    reason: verdict?.reason ?? null,
  };
}

async function validatorHasWeights(system: System, epoch: number): Promise<void> {
  const path = weightsFile(system.places);
  const end = performance.now() + VALIDATOR_BOUND_MS;
  while (performance.now() < end) {
    if (existsSync(path) && (JSON.parse(readFileSync(path, 'utf8')) as { epoch: number }).epoch === epoch) return;
    await sleep(100);
  }
}

/** Invariant: the same Idempotency-Key gives the same job, also long after it finished. */
async function resubmit(system: System, { jobs }: DemoOutcome): Promise<string[]> {
  const api = new ApiClient(apiUrl(system.endpoints), system.apiKey);
  const views = await Promise.all(
    jobs.slice(0, RESUBMITS).map(({ body, idempotencyKey }) => api.submit(body, idempotencyKey)),
  );
  await api.close();
  return views.map(({ id }) => id);
}

export async function printReport(
  report: Report,
  outcome: DemoOutcome,
  system: System,
  options: LauncherOptions,
): Promise<void> {
  const overview = await writeOverview(options);
  report.files.push(overview);
  const dishonest = report.miners.find(({ name }) => name === dishonestName())!;
  const sections: [string, string][] = [
    ['Jobs', jobsTable(outcome.jobs, outcome.audits, system.names)],
    [`Miners in epoch ${outcome.epoch}`, minersTable(report.miners)],
    ['The dishonest miner', dishonestText(dishonest, outcome.audits, system.names)],
    ['Invariants', invariantsTable(report.invariants)],
    ['Processes', processesTable(report.processes)],
    ['The LoRA', loraText(report)],
    ['Files', filesText(overview, options, system)],
  ];
  for (const [title, text] of sections) process.stdout.write(`\n${colors.bold(title)}\n${text}\n`);
}

function loraText({ psnrDb, largePsnrDb, retrainings }: Report): string {
  const again = retrainings
    ? `\nThe main training was done again ${retrainings} time(s): its first result was invalid.`
    : '';
  return `PSNR against the photograph: ${psnrDb.toFixed(1)} dB at 64×64 (300 steps), ${largePsnrDb.toFixed(1)} dB at 128×128 (150 steps).${again}`;
}

function filesText(overview: string, options: LauncherOptions, system: System): string {
  const shown = (path: string): string => relative(process.cwd(), path) || path;
  return [
    `everything at a glance   ${shown(overview)}`,
    `images                   ${shown(join(options.outDir, 'images'))}/`,
    `LoRAs (.safetensors)     ${shown(join(options.outDir, 'loras'))}/`,
    `the validator's weights  ${shown(weightsFile(system.places))}`,
    `scores, signed           ${shown(join(options.outDir, 'scores'))}/`,
    `logs                     ${shown(system.supervisor.logDir)}/`,
  ].join('\n');
}
