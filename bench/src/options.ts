import { Command, InvalidArgumentError, Option } from 'commander';
import { resolve } from 'node:path';

export interface BenchOptions {
  /** What is measured: the whole product doing jobs, the registry under signed requests, or under validators. */
  only: 'jobs' | 'signatures' | 'scores';
  /** Every contender runs once in each. An odd number has a true median. */
  rounds: number;
  /** Jobs of one burst. */
  jobs: number;
  /** Print one machine-readable object as the last line of stdout. */
  json: boolean;
  /** Keep the report in docs/reports. */
  save: boolean;
  dataDir: string;
  /** Write a CPU profile of every service into this directory: for reading, not for figures. */
  profile?: string;
}

/** Three rounds of 1,000 jobs stay below four minutes on two slow cores; performance.md's goals are stated for five. */
const DEFAULT_ROUNDS = 3;
const DEFAULT_JOBS = 1_000;

/** Reads the command line. Throws commander's errors, whose messages name the option and the remedy. */
export function parseOptions(argv: readonly string[], root: string): BenchOptions {
  const command = new Command('npm run bench --')
    .description('Measures the whole product beside the HTTP-only floor and graphile-worker, interleaved in one run.')
    .addOption(
      new Option('--only <part>', 'jobs beside the peers, or the registry under signed requests or validators')
        .choices(['jobs', 'signatures', 'scores'])
        .default('jobs'),
    )
    .option('--rounds <n>', 'rounds in which every contender runs once', wholeNumber, DEFAULT_ROUNDS)
    .option('--jobs <n>', 'jobs in one burst', wholeNumber, DEFAULT_JOBS)
    .option('--json', 'print one JSON object as the last line', false)
    .option('--save', 'write docs/reports/bench.md, or signatures.md or scores.md beside it', false)
    .option('--profile <dir>', 'write a CPU profile of every service there', (dir: string) => resolve(dir))
    .option(
      '--data-dir <dir>',
      'where the servers keep their data',
      (dir) => resolve(dir),
      resolve(root, '.data/bench'),
    )
    .allowExcessArguments(false);
  return command.parse(argv, { from: 'user' }).opts<BenchOptions>();
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('It is a whole number from 1.');
  return value;
}
