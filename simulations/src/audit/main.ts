/** `npm run simulate:audit`: see `--help`; docs/reports/audit-simulation.md is the last full run's report. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Presets, SingleBar } from 'cli-progress';
import { CommanderError } from 'commander';
import { writeChart } from './chart-image';
import { chartsOf } from './charts';
import { parseOptions } from './options';
import { brokenPromises, notBelow } from './promises';
import { reportOf, type Run } from './report';
import { PRODUCTION_FACTOR } from './reversal-factor';
import { DEFAULT, FULL } from './setting';
import { simulateAudit, STAGE_NAMES, type Results, type Stage } from './simulate-audit';

const ROOT = resolve(__dirname, '../../..');
const MICROSECONDS = 1_000_000;
const REPORT = 'audit-simulation.md';

async function main(): Promise<void> {
  const { seed, full, cheatCost, out } = parseOptions(process.argv.slice(2), ROOT);
  const setting = { size: full ? FULL : DEFAULT, seed, cheatCost, reversalFactor: PRODUCTION_FACTOR };
  const results = withProgress((onStage) => simulateAudit(setting, onStage));
  await write(out, results, { ...setting, cpuSeconds: process.cpuUsage().user / MICROSECONDS });
  const broken = brokenPromises(results);
  for (const exception of notBelow(results)) process.stdout.write(`${exception}\n`);
  process.stdout.write(`report: ${join(out, REPORT)}\n`);
  for (const promise of broken) process.stderr.write(`✗ ${promise}\n`);
  process.exitCode = broken.length === 0 ? 0 : 1;
}

function withProgress(run: (onStage: (stage: Stage) => void) => Results): Results {
  const format = '{bar} {value}/{total} {stage}';
  const bar = new SingleBar({ format, stream: process.stderr, noTTYOutput: true }, Presets.shades_classic);
  bar.start(STAGE_NAMES.length, 0, { stage: '' });
  // The simulation holds the only thread: the bar is drawn where a stage begins, not by its timer.
  const results = run((stage) => {
    bar.update(STAGE_NAMES.indexOf(stage), { stage });
    bar.render();
  });
  bar.update(STAGE_NAMES.length, { stage: 'done' });
  bar.stop();
  return results;
}

async function write(out: string, results: Results, run: Run): Promise<void> {
  mkdirSync(out, { recursive: true });
  for (const [name, chart] of Object.entries(chartsOf(results))) await writeChart(join(out, `${name}.png`), chart);
  writeFileSync(join(out, REPORT), reportOf(results, run));
}

main().catch((error: unknown) => {
  // Commander has printed its message and the usage.
  if (!(error instanceof CommanderError))
    process.stderr.write(`✗ ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
