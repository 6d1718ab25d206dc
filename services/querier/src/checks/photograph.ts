/** A client's photograph becomes the one training image that every miner sees. Runs in a worker thread. */
import sharp from 'sharp';
import { cleanImage, firstLine, refuse, rgbBytes, variance, type Checked, type CleanImage } from './image-check';
import { sniffImage } from './image-format';

/** The largest camera sensors in common use. Decoded, 50 megapixels take 150 MB. */
export const MAX_PHOTO_PIXELS = 50_000_000;

/**
 * Below this an honest rendering of the trained LoRA could come out flatter than BLANK_VARIANCE and be held against the
 * miner; there is nothing to learn from such a picture either.
 */
const MIN_PHOTO_VARIANCE = 16;

/**
 * Rotated as its EXIF says, sRGB, centre-cropped to a square, resized to `resolution`, PNG. Reasons complete the
 * sentence "the photograph …" and carry the remedy.
 */
export async function canonicalPhotograph(bytes: Uint8Array, resolution: number): Promise<Checked<CleanImage>> {
  const problem = await photographProblem(bytes);
  if (problem) return refuse(problem);
  try {
    const square = sharp(bytes, { limitInputPixels: MAX_PHOTO_PIXELS, failOn: 'error' })
      .autoOrient()
      .resize(resolution, resolution, { fit: 'cover', position: 'centre', kernel: 'lanczos3' });
    const rgb = await rgbBytes(square);
    if (variance(rgb) < MIN_PHOTO_VARIANCE) return refuse('is blank: send one that shows something');
    return { ok: true, value: await cleanImage(rgb, { width: resolution, height: resolution }) };
  } catch (error) {
    return refuse(`cannot be decoded (${firstLine(error)}): send a whole PNG, JPEG or WebP file`);
  }
}

/** What the first bytes and the header already show to be wrong; undefined where nothing is. Decodes no pixel. */
export async function photographProblem(bytes: Uint8Array): Promise<string | undefined> {
  const format = sniffImage(bytes);
  if (!format) return 'is not an image we read: send a PNG, JPEG or WebP file';
  try {
    const { width, height, pages } = await sharp(bytes, { limitInputPixels: false, failOn: 'error' }).metadata();
    if (!width || !height) return 'has no pixels: send one of at least 1×1';
    if (width * height > MAX_PHOTO_PIXELS) {
      const megapixels = Math.round((width * height) / 1e6);
      return `is ${width}×${height} (${megapixels} megapixels): send one of at most ${MAX_PHOTO_PIXELS / 1e6} megapixels`;
    }
    return (pages ?? 1) > 1 ? `is animated (${pages} frames): send a single picture` : undefined;
  } catch (error) {
    return `cannot be decoded (${firstLine(error)}): send a whole PNG, JPEG or WebP file`;
  }
}
