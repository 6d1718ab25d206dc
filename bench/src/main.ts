/** `npm run bench`: see `--help`, and docs/reports/bench.md for the last result. */
import 'reflect-metadata';
import { CommanderError } from 'commander';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { claimDataDir } from '@studio/launcher/system/data-lock';
import { clearData } from '@studio/launcher/system/clear-data';
import { parseOptions } from './options';
import { markdownReport, printReport } from './report';
import { Bench } from './run-bench';

const ROOT = resolve(__dirname, '../..');
const REPORT = 'docs/reports/bench.md';
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
  const bench = new Bench(ROOT, options, say);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => void bench.stop().finally(() => process.exit(EXIT_INTERRUPTED)));
  }
  try {
    const report = await bench.run();
    printReport(report, (text) => void process.stdout.write(text));
    if (options.save) {
      mkdirSync(dirname(join(ROOT, REPORT)), { recursive: true });
      writeFileSync(join(ROOT, REPORT), markdownReport(report));
      say(`saved as ${REPORT}`);
    }
    if (options.json) process.stdout.write(`${JSON.stringify(report)}\n`);
    process.exitCode = report.problems.length === 0 ? 0 : 1;
  } finally {
    await bench.stop();
    await clear();
    release();
  }
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
