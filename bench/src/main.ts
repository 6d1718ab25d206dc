/** `npm run bench`: see `--help`, and docs/reports/ for the last results. */
import 'reflect-metadata';
import { CommanderError } from 'commander';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { claimDataDir } from '@studio/launcher/system/data-lock';
import { clearData } from '@studio/launcher/system/clear-data';
import { parseOptions, type BenchOptions } from './options';
import { markdownReport, printReport } from './report';
import { Bench } from './run-bench';
import { ScoreBench } from './score-bench';
import { scoreMarkdown, scoreTable } from './score-report';
import { SignatureBench } from './signature-bench';
import { signatureMarkdown, signatureTable } from './signature-report';

const ROOT = resolve(__dirname, '../..');
const REPORT = 'docs/reports/bench.md';
const SIGNATURE_REPORT = 'docs/reports/signatures.md';
const SCORE_REPORT = 'docs/reports/scores.md';
const EXIT_INTERRUPTED = 130;

const say = (line: string): void => void process.stderr.write(`· ${line}\n`);

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2), ROOT);
  if (options.profile) mkdirSync(options.profile, { recursive: true });
  const release = claimDataDir(options.dataDir);
  const clear = async (): Promise<void> => {
    for (const part of ['graphile', 'product']) await clearData(join(options.dataDir, part), () => undefined);
  };
  await clear();
  const bench = { jobs: benchJobs, signatures: benchSignatures, scores: benchScores }[options.only](options);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => void bench.stop().finally(() => process.exit(EXIT_INTERRUPTED)));
  }
  try {
    process.exitCode = await bench.run();
  } finally {
    await bench.stop();
    await clear();
    release();
  }
}

/** `run` prints, and gives the exit code. */
interface Runnable {
  run(): Promise<number>;
  stop(): Promise<void>;
}

function benchJobs(options: BenchOptions): Runnable {
  const bench = new Bench(ROOT, options, say);
  const run = async (): Promise<number> => {
    const report = await bench.run();
    printReport(report, (text) => void process.stdout.write(text));
    keep(options, REPORT, markdownReport(report), report);
    return report.problems.length === 0 ? 0 : 1;
  };
  return { run, stop: () => bench.stop() };
}

interface ReportForms<Report> {
  page: string;
  table: (report: Report) => string;
  markdown: (report: Report) => string;
}

const benchSignatures = (options: BenchOptions): Runnable =>
  reporting(new SignatureBench(ROOT, options, say), options, {
    page: SIGNATURE_REPORT,
    table: signatureTable,
    markdown: signatureMarkdown,
  });

const benchScores = (options: BenchOptions): Runnable =>
  reporting(new ScoreBench(ROOT, options, say), options, {
    page: SCORE_REPORT,
    table: scoreTable,
    markdown: scoreMarkdown,
  });

function reporting<Report extends object>(
  bench: { run(): Promise<Report>; stop(): Promise<void> },
  options: BenchOptions,
  { page, table, markdown }: ReportForms<Report>,
): Runnable {
  const run = async (): Promise<number> => {
    const report = await bench.run();
    process.stdout.write(table(report));
    keep(options, page, markdown(report), report);
    return 0;
  };
  return { run, stop: () => bench.stop() };
}

function keep({ save, json }: BenchOptions, path: string, markdown: string, report: object): void {
  if (save) {
    mkdirSync(dirname(join(ROOT, path)), { recursive: true });
    writeFileSync(join(ROOT, path), markdown);
    say(`saved as ${path}`);
  }
  if (json) process.stdout.write(`${JSON.stringify(report)}\n`);
}

main().catch((error: unknown) => {
  // Commander has printed its message and the usage.
  if (!(error instanceof CommanderError)) process.stderr.write(`✗ ${describe(error)}\n`);
  process.exitCode = 1;
});

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause ? `${error.message}\n    because: ${describe(error.cause)}` : error.message;
}
