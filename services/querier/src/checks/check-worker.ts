/** Entry of the check threads: one exported function per task that check-pool.ts names. */
import sharp from 'sharp';
import { checkImage, type Checked, type CleanImage, type ImageSize } from './image-check';
import { checkLora, recogniseLora, type LoraExpectation, type LoraFacts } from './lora-check';
import { canonicalPhotograph, photographProblem } from './photograph';

// The pool has a thread per core already, and a file is never seen twice.
sharp.concurrency(1);
sharp.cache(false);

export const image = ({ bytes, size }: { bytes: Uint8Array; size: ImageSize }): Promise<Checked<CleanImage>> =>
  checkImage(bytes, size);

export const lora = ({ bytes, expected }: { bytes: Uint8Array; expected: LoraExpectation }) =>
  checkLora(bytes, expected);

export const photograph = ({ bytes, resolution }: { bytes: Uint8Array; resolution: number }) =>
  canonicalPhotograph(bytes, resolution);

export const photographUpload = ({ bytes }: { bytes: Uint8Array }): Promise<string | undefined> =>
  photographProblem(bytes);

export const loraUpload = ({ bytes }: { bytes: Uint8Array }): Checked<LoraFacts> => recogniseLora(bytes);
