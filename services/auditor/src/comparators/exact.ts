import type { ImageRef, JobResult } from '@studio/shared/domain/job';
import type { Difference, ResultComparator } from './result-comparator';

/** Enough of a hash for a person to tell two apart. */
const SHOWN_DIGITS = 8;
const short = (hash: string): string => `${hash.slice(0, SHOWN_DIGITS)}…`;
const size = ({ width, height }: ImageRef): string => `${width}×${height}`;

/**
 * For engines that give the same bits on every machine: decoded pixels and dimensions, or tensors, are equal. The
 * hashes are ours, computed from the decoded result before it was stored, so that a file's encoding does not matter.
 */
export const exact: ResultComparator = {
  digest: (result) =>
    'lora' in result
      ? `lora ${result.lora.tensorHash}`
      : result.images.map((image) => `image ${size(image)} ${image.pixelHash}`).join(', '),
  agrees: (a, b) => a === b,
  difference: (target, reference) => {
    if ('lora' in target && 'lora' in reference) {
      const [own, other] = [target.lora.tensorHash, reference.lora.tensorHash];
      return own === other ? undefined : { what: 'LoRA', how: `tensor hash ${short(own)} against ${short(other)}` };
    }
    return imagesDiffer(imagesOf(target), imagesOf(reference));
  },
};

function imagesDiffer(target: readonly ImageRef[], reference: readonly ImageRef[]): Difference | undefined {
  if (target.length !== reference.length) {
    return { what: 'number of images', how: `${target.length} against ${reference.length}` };
  }
  for (const [index, image] of target.entries()) {
    const other = reference[index];
    if (!other) continue;
    const what = target.length === 1 ? 'image' : `image ${index + 1} of ${target.length}`;
    if (size(image) !== size(other)) return { what, how: `${size(image)} pixels against ${size(other)}` };
    if (image.pixelHash !== other.pixelHash) {
      return { what, how: `pixel hash ${short(image.pixelHash)} against ${short(other.pixelHash)}` };
    }
  }
  return undefined;
}

const imagesOf = (result: JobResult): readonly ImageRef[] => ('images' in result ? result.images : []);
