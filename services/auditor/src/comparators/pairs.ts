/** Two results of one job, compared with a tolerance: what was found, for the verdict and for people. */
import type { ImageRef, JobResult } from '@studio/shared/domain/job';
import type { PerceptualThresholds } from '@studio/shared/domain/perceptual-thresholds';
import type { FunctionalVerdict } from './functional';
import type { PerceptualComparison, PerceptualDistances, PerceptualFigure } from './perceptual';
import type { Difference, Distances } from './result-comparator';

export interface Pair {
  agrees: boolean;
  /** Undefined when they agree. */
  difference?: Difference;
  /** One per picture, or per adapter check. */
  distances: Distances[];
}

/** Undefined when a file is gone. */
type ComparePictures = (a: ImageRef, b: ImageRef) => Promise<PerceptualComparison | undefined>;

/** All pictures of two results, in order; equal pixels are not looked at again. Undefined when a file is gone. */
export async function pairOfPictures(
  a: JobResult,
  b: JobResult,
  thresholds: PerceptualThresholds,
  compare: ComparePictures,
): Promise<Pair | undefined> {
  const [first, second] = [imagesOf(a), imagesOf(b)];
  if (first.length !== second.length) {
    const how = `${first.length} against ${second.length}`;
    return { agrees: false, difference: { what: 'number of images', how }, distances: [] };
  }
  const distances: Distances[] = [];
  let difference: Difference | undefined;
  for (const [index, image] of first.entries()) {
    const other = second[index]!;
    if (image.pixelHash === other.pixelHash) continue;
    const found = await compare(image, other);
    if (!found) return undefined;
    if (found.distances) distances.push({ image: index, ...found.distances });
    if (found.agrees) continue;
    const what = first.length === 1 ? 'image' : `image ${index + 1} of ${first.length}`;
    difference ??= { what, how: complaint(found, thresholds) };
  }
  return { agrees: difference === undefined, difference, distances };
}

/** @param checks with one adapter as the measure of the other, and the other way round between equals. */
export function pairOfAdapters(checks: readonly FunctionalVerdict[], secondSeed: number): Pair {
  const failed = checks.find(({ agrees }) => !agrees);
  return {
    agrees: failed === undefined,
    difference: failed && { what: 'LoRA', how: failed.reason },
    distances: checks.map(({ distances }) => ({ secondSeed, ...distances })),
  };
}

const imagesOf = (result: JobResult): readonly ImageRef[] => ('images' in result ? result.images : []);

function complaint({ failed, distances }: PerceptualComparison, thresholds: PerceptualThresholds): string {
  if (!distances) return 'another size';
  return failed.map((figure) => wording(figure, distances, thresholds)).join(', ');
}

function wording(figure: PerceptualFigure, found: PerceptualDistances, limits: PerceptualThresholds): string {
  const round = (value: number): number => Number(value.toFixed(3));
  switch (figure) {
    case 'size':
      return 'another size';
    case 'dctDistance':
      return `DCT hashes ${found.dctDistance} bits apart (at most ${limits.dctDistance})`;
    case 'ssim':
      return `structural similarity ${round(found.ssim)} (at least ${limits.ssim})`;
    case 'localSsim':
      return `structural similarity ${round(found.localSsim)} in one part (at least ${limits.localSsim})`;
    case 'colourDifference':
      return `colours ${round(found.colourDifference)} off in one part (at most ${limits.colourDifference})`;
    case 'laplacianRatio':
      return `${round(found.laplacianRatio)} times the fine detail (${limits.laplacianRatioMin} to ${limits.laplacianRatioMax})`;
    case 'laplacianCosine':
      return `fine detail alike to ${round(found.laplacianCosine)} (at least ${limits.laplacianCosine})`;
    case 'fineCosine':
      return `finest detail alike to ${round(found.fineCosine)} (at least ${limits.fineCosine})`;
  }
}
