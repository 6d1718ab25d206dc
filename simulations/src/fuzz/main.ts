/** `npm run fuzz`: see `--help`. Status 0 where no input did what none may do. */
import { fork } from 'node:child_process';
import { join } from 'node:path';
import { SingleBar, Presets } from 'cli-progress';
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import type { ChildMessage } from './child';
import { findingsOf, limitsOf, tableOf } from './report';
import type { FuzzReport, FuzzTask } from './run';

interface FuzzOptions extends FuzzTask {
  json: boolean;
}

async function main(): Promise<void> {
  const { json, ...task } = parseOptions(process.argv.slice(2));
  const started = performance.now();
  const bar = new SingleBar({ stream: process.stderr, clearOnComplete: true, hideCursor: true }, Presets.legacy);
  if (process.stderr.isTTY) bar.start(task.only ? 1 : task.inputs, 0);
  const report = await inChild(task, (fed) => bar.update(fed)).finally(() => bar.stop());
  const minutes = (performance.now() - started) / 60_000;
  const problems = [...findingsOf(report, task.seed), ...limitsOf(report)];
  if (json) process.stdout.write(`${JSON.stringify({ seed: task.seed, minutes, ...report, problems })}\n`);
  else process.stdout.write(`${tableOf(report, task.seed, minutes)}\n`);
  for (const problem of problems) process.stderr.write(`✗ ${problem}\n`);
  process.exitCode = problems.length === 0 ? 0 : 1;
}

/** @throws Error where the process dies without a report: which inputs it was at, and the command that narrows it down. */
function inChild(task: FuzzTask, onFed: (count: number) => void): Promise<FuzzReport> {
  const child = fork(join(__dirname, 'child.js'), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  let fed = 0;
  let report: FuzzReport | undefined;
  child.on('message', (message: ChildMessage) => {
    if ('report' in message) report = message.report;
    else onFed((fed = message.fed));
  });
  child.send(task);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      if (report) resolve(report);
      else reject(new Error(`the fed process died (${signal ?? `status ${code}`}) soon after input ${fed} of seed ${task.seed}: run it with --inputs ${fed + 400} to see it again`)); // prettier-ignore
    });
  });
}

function parseOptions(argv: readonly string[]): FuzzOptions {
  const command = new Command('npm run fuzz --')
    .description('Feeds the checks of tier 1 with files that nobody wrote, and fails when one does what none may do.')
    .option('--inputs <n>', 'how many', wholeNumber, 100_000)
    .option('--seed <n>', 'the same seed gives the same inputs', wholeNumber, 1)
    .option('--only <target:n>', 'one input again, such as images:1234', oneInput)
    .option('--json', 'print one JSON object instead of the table', false)
    .allowExcessArguments(false);
  return command.parse(argv, { from: 'user' }).opts<FuzzOptions>();
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('It is a whole number from 1.');
  return value;
}

function oneInput(text: string): FuzzTask['only'] {
  const { target, input } = /^(?<target>.+):(?<input>\d+)$/.exec(text)?.groups ?? {};
  if (target === undefined) throw new InvalidArgumentError('It is a target and a number, as a finding has them.');
  return { target, input: Number(input) };
}

main().catch((error: unknown) => {
  // Commander has printed its message and the usage.
  if (!(error instanceof CommanderError))
    process.stderr.write(`✗ ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
