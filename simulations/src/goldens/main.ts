/** `npm run goldens`: see `--help`. */
import { SingleBar } from 'cli-progress';
import { Command, InvalidArgumentError } from 'commander';
import { compareWeights } from './compare-weights';
import { expDigest } from './exp-digest';

const POINTS = 1_000_000;
/** Between two strokes of the progress bar. */
const STROKE = 10_000;

const program = new Command('npm run goldens --').description(
  'Holds the arithmetic of weights against other implementations and other machines.',
);

program
  .command('exp')
  .description('print the SHA-256 of the bits of eˣ at many points: the same on every machine')
  .option('--points <n>', 'how many', wholeNumber, POINTS)
  .action(({ points }: { points: number }) => void process.stdout.write(`${expDigest(points)}  ${points} points\n`));

program
  .command('weights')
  .description(
    'compare u16 weights with vectors from stdin, which ' +
      '`python3 libs/shared/src/domain/fixtures/chain-weights.py --lines 1000000` writes',
  )
  .option('--total <n>', 'vectors to come, for the progress bar', wholeNumber)
  .action(async ({ total }: { total?: number }) => {
    const bar = new SingleBar({
      format: 'weights {bar} {value}/{total}',
      stream: process.stderr,
      clearOnComplete: true,
    });
    if (total !== undefined) bar.start(total, 0);
    const { vectors, mismatches } = await compareWeights(process.stdin, (count) => {
      if (count % STROKE === 0) bar.update(count);
    });
    bar.stop();
    process.stdout.write([`${vectors} vectors, ${mismatches.length} mismatches`, ...mismatches, ''].join('\n'));
    // Nothing compared is nothing shown.
    process.exitCode = vectors > 0 && mismatches.length === 0 ? 0 : 1;
  });

function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('It is a whole number from 1.');
  return Number(text);
}

program.parseAsync().catch((error: Error) => {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 2;
});
