/** Lays the pairs' pictures over each other, as many at once as there are threads, and remembers the figures. */
import { PERCEPTUAL_THRESHOLDS } from '@studio/shared/domain/perceptual-thresholds';
import type { ComparisonPool } from '../comparators/comparison-pool';
import type { PerceptualDistances } from '../comparators/perceptual';
import { PairsError, type PicturePair } from './pairs';

export interface MeasuredPair {
  name: string;
  dishonest?: string;
  /** Undefined where the two differ in size, which only dishonest pairs may. */
  distances: PerceptualDistances | undefined;
}

/** @throws PairsError at the first pair that cannot be compared. */
export async function measurePairs(
  pairs: readonly PicturePair[],
  pool: Pick<ComparisonPool, 'pictures'>,
  atOnce: number,
  onMeasured: () => void,
): Promise<MeasuredPair[]> {
  const measured: MeasuredPair[] = [];
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < pairs.length) {
      const index = next++;
      measured[index] = await measurePair(pairs[index]!, pool);
      onMeasured();
    }
  };
  try {
    await Promise.all(Array.from({ length: atOnce }, work));
  } finally {
    // Nobody waits for the others any more once one has failed.
    next = pairs.length;
  }
  return measured;
}

async function measurePair(pair: PicturePair, pool: Pick<ComparisonPool, 'pictures'>): Promise<MeasuredPair> {
  const { name, dishonest } = pair;
  const distances = await distancesOf(pair, pool);
  if (!distances && dishonest === undefined) {
    throw new PairsError(
      `${name}: the two pictures differ in size, and honest ones never do: take the pair out, or file it under dishonest/`,
    );
  }
  return { name, ...(dishonest !== undefined && { dishonest }), distances };
}

async function distancesOf(
  pair: PicturePair,
  pool: Pick<ComparisonPool, 'pictures'>,
): Promise<PerceptualDistances | undefined> {
  const [a, b] = await pair.read();
  try {
    return (await pool.pictures(a, b, PERCEPTUAL_THRESHOLDS)).distances;
  } catch (error) {
    const why = (error instanceof Error ? error.message : String(error)).split('\n', 1)[0]!;
    throw new PairsError(`${pair.name}: a picture cannot be compared (${why}): replace it, or take the pair out`);
  }
}
