/**
 * `node dist/grant-amnesty.js --from … --until … --reason … [--reference hotkey] [--yes]`, where the auditor runs: takes back
 * the invalid verdicts that a reference of ours had a part in while it was wrong. Without `--yes` it only counts.
 */
import 'reflect-metadata';
import { createDataSource } from '@studio/shared/database/data-source';
import { loadEnvOrExit } from '@studio/shared/platform/env';
import { Command, InvalidArgumentError } from 'commander';
import { AmnestyStore, type Amnesty, type AmnestyReport } from './amnesty.store';
import { DatabaseEnv } from './env';

interface Options extends Omit<Amnesty, 'reference'> {
  reference?: string;
  yes: boolean;
}

const MICRO = 1_000_000;
/** A time without a zone would be read in that of whatever machine reads it. */
const ZONED = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/;

function time(text: string): string {
  if (ZONED.test(text) && !Number.isNaN(Date.parse(text))) return text;
  throw new InvalidArgumentError('Give a date, a time and a zone, such as 2026-03-01T12:00:00Z.');
}

function readOptions(): Options {
  const command = new Command('grant-amnesty')
    .description('Takes back invalid verdicts of an interval in which a reference of ours was wrong. Only adds rows.')
    .requiredOption('--from <time>', 'verdicts decided from then on', time)
    .requiredOption('--until <time>', '… and before then', time)
    .requiredOption('--reason <text>', 'shown to every miner concerned, and in the ledger')
    .option('--reference <hotkey>', 'only verdicts that this reference spoke in')
    .option('--yes', 'do it; without, only what would be done is counted', false)
    .parse();
  const options = command.opts<Options>();
  if (Date.parse(options.from) >= Date.parse(options.until)) command.error('--until has to be later than --from');
  return options;
}

function describe({ verdicts, miners, quarantines, restorations, points }: AmnestyReport): string {
  const sum = (Number(points) / MICRO).toFixed(3);
  return `${verdicts} verdicts of ${miners} miners, ${quarantines} quarantines lifted, ${restorations} awards (${sum} points) restored`;
}

async function main(): Promise<void> {
  const { reference = null, from, until, reason, yes } = readOptions();
  const env = loadEnvOrExit(DatabaseEnv);
  const db = await createDataSource({ url: env.POSTGRES_URL, name: 'grant-amnesty', poolSize: 1 }).initialize();
  try {
    const report = await new AmnestyStore(db).grant({ reference, from, until, reason }, !yes);
    const lead = yes ? `amnesty ${report.id} granted` : 'would take back (nothing is done without --yes)';
    process.stdout.write(`${lead}: ${describe(report)}\n`);
  } finally {
    await db.destroy();
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`nothing was changed: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
