import { Command, InvalidArgumentError } from 'commander';

export interface SimulationOptions {
  seed: number;
  miners: number;
  operators: number;
  /** How long, in usual jobs: a training is a minute, an inference ten seconds. */
  length: number;
  json: boolean;
}

/** Reads the command line. Throws commander's errors, whose messages name the option and the remedy. */
export function parseOptions(argv: readonly string[]): SimulationOptions {
  const command = new Command('npm run simulate:routing --')
    .description(
      'Plays the routing in virtual time with its own code, and fails when a promise of docs/routing.md breaks.',
    )
    .option('--seed <n>', 'the same seed gives the same run', wholeNumber, 1)
    .option('--miners <n>', 'miners', wholeNumber, 256)
    .option('--operators <n>', 'operators that own them', wholeNumber, 200)
    .option('--length <n>', 'virtual time, in jobs one after the other', wholeNumber, 25)
    .option('--json', 'print one JSON object instead of the table', false)
    .allowExcessArguments(false);
  return command.parse(argv, { from: 'user' }).opts<SimulationOptions>();
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('It is a whole number from 1.');
  return value;
}
