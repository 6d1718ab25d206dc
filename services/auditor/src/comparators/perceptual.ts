/**
 * Whether two pictures of the same job are the same work, for engines that are not bit-equal across machines. Each figure
 * catches what the others miss: the hash another picture or a crop, SSIM coarse changes, its worst part a stamp or a logo,
 * the colour difference another colour, the ratio half size scaled up, the two cosines half size sharpened as well.
 */
import { dctCoefficients } from '@studio/shared/domain/dct-hash';
import type { PerceptualThresholds } from '@studio/shared/domain/perceptual-thresholds';
import { compareDetail } from './fine-detail';
import { colourDifference, lumaOf, type Picture } from './pixels';
import { structuralSimilarity } from './structural-similarity';

/** A type and not an interface: evidence takes figures by any name. */
export type PerceptualDistances = {
  dctDistance: number;
  ssim: number;
  localSsim: number;
  colourDifference: number;
  /** Energy of the first picture's Laplacian field over the second's. */
  laplacianRatio: number;
  laplacianCosine: number;
  /** Mean square of the stronger Laplacian field: up to `detailFloor`, ratio and cosine are not judged. */
  detail: number;
  /** Cosine of the fourth differences; not judged up to `fineFloor` of their stronger mean square. */
  fineCosine: number;
  fineDetail: number;
};

export type PerceptualFigure = 'size' | Exclude<keyof PerceptualDistances, 'detail' | 'fineDetail'>;

export interface PerceptualComparison {
  agrees: boolean;
  /** Undefined for pictures of different sizes, which cannot be laid over each other. */
  distances: PerceptualDistances | undefined;
  failed: PerceptualFigure[];
}

/**
 * Coefficients nearer than this do not make a bit differ: 32 is what noise of two grey levels adds, in every one of the hash's
 * 32×32 cells. Without it two honest copies of a plain gradient, whose coefficients are all noise, are 104–136 bits apart, with
 * 16 two of an empty sky at 64² still up to 48; with 32 another photograph is still 116 and more from this one.
 */
const COEFFICIENT_NOISE = 32;

/** 8 × 8 parts: with 16 × 16, JPEG 80 with halved chroma is up to 15 off at 64², where a part is 4 pixels. */
const COLOUR_GRID = 8;

/** Symmetric. @throws RangeError when a side is below 16. */
export function comparePictures(a: Picture, b: Picture, thresholds: PerceptualThresholds): PerceptualComparison {
  if (a.width !== b.width || a.height !== b.height) return { agrees: false, distances: undefined, failed: ['size'] };
  const distances = measurePictures(a, b);
  const failed = failedFigures(distances, thresholds);
  return { agrees: failed.length === 0, distances, failed };
}

/** Of equal size. */
export function measurePictures(a: Picture, b: Picture): PerceptualDistances {
  const [lumaA, lumaB] = [lumaOf(a), lumaOf(b)];
  const { mean, worstPart } = structuralSimilarity(lumaA, lumaB);
  return {
    dctDistance: dctDistance(a, b),
    ssim: mean,
    localSsim: worstPart,
    colourDifference: colourDifference(a, b, COLOUR_GRID),
    ...compareDetail(lumaA, lumaB),
  };
}

/** In the order in which a reader should hear of them. */
export function failedFigures(found: PerceptualDistances, limits: PerceptualThresholds): PerceptualFigure[] {
  const judged = found.detail > limits.detailFloor;
  const holds: [PerceptualFigure, boolean][] = [
    ['dctDistance', found.dctDistance <= limits.dctDistance],
    ['ssim', found.ssim >= limits.ssim],
    ['localSsim', found.localSsim >= limits.localSsim],
    ['colourDifference', found.colourDifference <= limits.colourDifference],
    ['laplacianRatio', !judged || ratioHolds(found.laplacianRatio, limits)],
    ['laplacianCosine', !judged || found.laplacianCosine >= limits.laplacianCosine],
    ['fineCosine', found.fineDetail <= limits.fineFloor || found.fineCosine >= limits.fineCosine],
  ];
  return holds.filter(([, held]) => !held).map(([figure]) => figure);
}

/** Either way round, so that it does not matter whose picture comes first: with 0.6 and 1.6, from 0.625 to 1.6. */
function ratioHolds(ratio: number, { laplacianRatioMin: min, laplacianRatioMax: max }: PerceptualThresholds): boolean {
  return [ratio, 1 / ratio].every((either) => either >= min && either <= max);
}

function dctDistance(a: Picture, b: Picture): number {
  const [ofA, ofB] = [a, b].map(({ rgb, width, height }) => dctCoefficients(rgb, width, height)) as [
    Float64Array,
    Float64Array,
  ];
  return ofA.reduce((bits, one, i) => {
    const other = ofB[i]!;
    return bits + (one > 0 !== other > 0 && Math.abs(one - other) > COEFFICIENT_NOISE ? 1 : 0);
  }, 0);
}
