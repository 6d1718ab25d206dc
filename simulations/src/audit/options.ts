import { Command, InvalidArgumentError } from 'commander';
import { resolve } from 'node:path';

export interface AuditSimulationOptions {
  seed: number;
  full: boolean;
  cheatCost: number;
  out: string;
}

/** Reads the command line. Throws commander's errors, whose messages name the option and the remedy. */
export function parseOptions(argv: readonly string[], root: string): AuditSimulationOptions {
  const command = new Command('npm run simulate:audit --')
    .description(
      'Plays the audit with its own code against honest, cheating and careful miners, and fails when a promise of its report breaks.',
    )
    .option('--seed <n>', 'the same seed gives the same run', wholeNumber, 1)
    .option('--full', 'the precision of the report in docs/reports: many minutes in place of one or two', false)
    .option('--cheat-cost <share>', "cost of a cheated job, as a share of an honest one's", share, 0)
    .option(
      '--out <dir>',
      'where audit-simulation.md and its pictures are written',
      (dir: string) => resolve(dir),
      resolve(root, 'docs/reports'),
    )
    .allowExcessArguments(false);
  return command.parse(argv, { from: 'user' }).opts<AuditSimulationOptions>();
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('It is a whole number from 1.');
  return value;
}

function share(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0 && value <= 1)) throw new InvalidArgumentError('It is a number from 0 to 1.');
  return value;
}
