import { Command, InvalidArgumentError, Option } from 'commander';
import { STABLE_PAIRS } from './thresholds';

export interface CalibrationOptions {
  /** Folder or NDJSON file; undefined for the demonstration. */
  source: string | undefined;
  /** Pairs that the demonstration makes. */
  pairs: number;
  seed: number;
  json: boolean;
}

const FORMS = `
PAIRS is a folder of pairs, each a folder with two pictures of the same job from two honest, independent miners:
  PAIRS/honest/NAME/a.png  PAIRS/honest/NAME/b.png      (any name; PNG, JPEG or WebP)
  PAIRS/dishonest/KIND/NAME/a.png  …/b.png              (optional: the honest picture and what a cheat made of it)
or a file with one JSON object a line, its paths relative to the file:
  {"a":"1/a.png","b":"1/b.png"}
  {"a":"2/a.png","b":"2/b.png","dishonest":"half-size"}`;

/** Reads the command line. Throws commander's errors, whose messages name the option and the remedy. */
export function parseOptions(argv: readonly string[]): CalibrationOptions {
  const command = new Command('npm run calibrate --')
    .description(
      'Derives the thresholds of the perceptual comparator from honest pairs, and tells how often it errs: honest pairs ' +
        'that fail, dishonest ones that it misses.',
    )
    .argument('[PAIRS]', 'folder or NDJSON file')
    .option('--demo', 'make the pairs from the photographs of this repository, to see how it works', false)
    .addOption(
      new Option('--pairs <n>', 'honest pairs that the demonstration makes').argParser(count).default(STABLE_PAIRS),
    )
    .addOption(new Option('--seed <n>', 'the same seed makes the same pairs').argParser(count).default(1))
    .option('--json', 'print one JSON object instead of the tables', false)
    .addHelpText('after', FORMS)
    .showHelpAfterError('(--help shows the form that the pairs have)')
    .exitOverride();
  const { args, demo, ...given } = parsed(command, argv);
  if (demo && args[0] !== undefined) command.error('error: --demo makes its own pairs: leave out PAIRS, or --demo');
  if (!demo && args[0] === undefined) command.error('error: no pairs: name a folder or file of them, or try --demo');
  return { source: args[0], ...given };
}

type Parsed = Omit<CalibrationOptions, 'source'> & { args: string[]; demo: boolean };

function parsed(command: Command, argv: readonly string[]): Parsed {
  const { args } = command.parse(argv, { from: 'user' });
  return { args, ...command.opts<Omit<Parsed, 'args'>>() };
}

function count(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('It is a whole number from 1.');
  return value;
}
