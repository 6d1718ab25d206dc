/** `npm run calibrate`: see `--help`. Results to stdout, progress and complaints to stderr. */
import { availableParallelism } from 'node:os';
import { Presets, SingleBar } from 'cli-progress';
import { CommanderError } from 'commander';
import { PERCEPTUAL_THRESHOLDS } from '@studio/shared/domain/perceptual-thresholds';
import { ComparisonPool } from '../comparators/comparison-pool';
import { demoPairs } from './demo-pairs';
import { measurePairs, type MeasuredPair } from './measure';
import { parseOptions } from './options';
import { PairsError, findPairs, type PicturePair } from './pairs';
import { calibrationOf, textOf } from './report';

/** The command line is wrong, as shells have it; the pairs are (sysexits.h). */
const EX_USAGE = 2;
const EX_DATAERR = 65;
const EX_SOFTWARE = 70;

/** Read and waiting for a thread, for each that compares: no thread waits for the disk. */
const READ_AHEAD = 2;

/** Elsewhere than on a terminal: a line so often. */
const LINE_EVERY_MS = 5_000;

async function main(): Promise<void> {
  const { source, pairs: count, seed, json } = parseOptions(process.argv.slice(2));
  const pairs = source === undefined ? await demoPairs(count, seed) : await findPairs(source);
  const calibration = calibrationOf(await measured(pairs), PERCEPTUAL_THRESHOLDS);
  process.stdout.write(`${json ? JSON.stringify(calibration) : textOf(calibration)}\n`);
}

async function measured(pairs: readonly PicturePair[]): Promise<MeasuredPair[]> {
  const threads = availableParallelism();
  const pool = new ComparisonPool({ threads });
  const bar = new SingleBar(
    {
      stream: process.stderr,
      format: 'comparing {bar} {value}/{total} pairs, {eta_formatted} left',
      hideCursor: true,
      noTTYOutput: true,
      notTTYSchedule: LINE_EVERY_MS,
    },
    Presets.shades_classic,
  );
  bar.start(pairs.length, 0);
  try {
    return await measurePairs(pairs, pool, threads * READ_AHEAD, () => bar.increment());
  } finally {
    bar.stop();
    await pool.close();
  }
}

main().catch((error: unknown) => {
  // Commander has printed its message and the usage.
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : EX_USAGE;
    return;
  }
  const expected = error instanceof PairsError;
  process.stderr.write(`${expected ? `✗ ${error.message}` : error instanceof Error ? error.stack : String(error)}\n`);
  process.exitCode = expected ? EX_DATAERR : EX_SOFTWARE;
});
