import { createHash } from 'node:crypto';
import { sineOfTurns } from './sine';

/** What bends a picture: the prompt and the seed decide how, `strength` (0 … 1) how far. */
export interface WarpTask {
  readonly prompt: string;
  readonly seed: number;
  readonly strength: number;
}

/**
 * How steep the k-th harmonic may make the bend, at strength 1. Their sum, 0.9, stays below 1, so that u ↦ u + bend(u)
 * rises everywhere: the picture stretches and squeezes, but never folds over itself. The first may move a point by 14 % of the side.
 */
const STEEPNESS = [0.45, 0.25, 0.13, 0.07];
const HALF_CIRCLE = 3.141592653589793;
const INT32_SCALE = 2_147_483_648;

/**
 * One amplitude per harmonic and axis from SHA-256(prompt ‖ NUL ‖ seed): eight signed words for 2 × 4 harmonics.
 * The NUL keeps ("a1", 2) and ("a", 12) apart; the seed is all digits, so no prompt can imitate another pair.
 */
export function warpAmplitudes({ prompt, seed, strength }: WarpTask): { x: number[]; y: number[] } {
  const digest = createHash('sha256').update(`${prompt}\0${seed}`, 'utf8').digest();
  const amplitudes = (firstWord: number): number[] =>
    STEEPNESS.map((steepness, i) => {
      const word = digest.readInt32BE(4 * (firstWord + i)) / INT32_SCALE;
      return (strength * word * steepness) / (HALF_CIRCLE * (i + 1));
    });
  return { x: amplitudes(0), y: amplitudes(STEEPNESS.length) };
}

/** Bends coordinates of [0, 1] smoothly: u + Σ aₖ sin(πku). Both ends stay where they are. */
export function bend(coordinates: Float64Array, amplitudes: readonly number[]): Float64Array {
  return coordinates.map((u) => {
    let bent = u;
    amplitudes.forEach((amplitude, i) => {
      bent += amplitude * sineOfTurns((u * (i + 1)) / 2);
    });
    return bent;
  });
}
