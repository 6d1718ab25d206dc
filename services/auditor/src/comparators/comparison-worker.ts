/** Entry of the comparison threads: one exported function per task that comparison-pool.ts names. */
import sharp from 'sharp';
import type { PerceptualThresholds } from '@studio/shared/domain/perceptual-thresholds';
import { decodePicture } from './decode-picture';
import { functionalCheck, type FunctionalQuestion, type FunctionalVerdict, type TrustedEngine } from './functional';
import { comparePictures, type PerceptualComparison } from './perceptual';
import { refSepEngine } from './ref-sep-engine';

// The pool has a thread per core already, and a file is never seen twice.
sharp.concurrency(1);
sharp.cache(false);

/** The engines that the auditor can run itself. */
const TRUSTED_ENGINES = { 'ref-sep-v1': refSepEngine } satisfies Record<string, TrustedEngine>;

export interface PicturesTask {
  a: Uint8Array;
  b: Uint8Array;
  thresholds: PerceptualThresholds;
}

/** `image` is the training image's file. */
export type FunctionalTask = Omit<FunctionalQuestion, 'image'> & {
  engine: keyof typeof TRUSTED_ENGINES;
  image: Uint8Array;
};

export async function pictures({ a, b, thresholds }: PicturesTask): Promise<PerceptualComparison> {
  return comparePictures(await decodePicture(a), await decodePicture(b), thresholds);
}

export async function functional({ engine, image, ...question }: FunctionalTask): Promise<FunctionalVerdict> {
  return functionalCheck(TRUSTED_ENGINES[engine], { ...question, image: await decodePicture(image) });
}
