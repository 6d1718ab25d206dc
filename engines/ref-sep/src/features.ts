import { FEATURES, FREQUENCIES } from './adapter';
import { type Matrix, matrix } from './matrix';
import { cosineOfTurns, sineOfTurns } from './sine';

/** Centres of `count` pixels laid over [0, 1]. */
export function pixelCentres(count: number): Float64Array {
  return Float64Array.from({ length: count }, (_, i) => (i + 0.5) / count);
}

/** One row per coordinate u: 2u−1, then sin and cos of 2π·u·f/2 for rising f. Half turns, so that the two ends differ. */
export function encodeCoordinates(coordinates: Float64Array): Matrix {
  const features = matrix(coordinates.length, FEATURES);
  coordinates.forEach((u, row) => {
    let at = row * FEATURES;
    features.data[at++] = 2 * u - 1;
    for (let f = 1; f <= FREQUENCIES; f++) {
      features.data[at++] = sineOfTurns((u * f) / 2);
      features.data[at++] = cosineOfTurns((u * f) / 2);
    }
  });
  return features;
}
