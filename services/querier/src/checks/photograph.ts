/** A client's photograph becomes the one training image that every miner sees. Runs in a worker thread. */
import sharp, { type Metadata } from 'sharp';
import { onlyPhotograph } from './archive';
import { bareImage } from './bare-image';
import { flatness, isFlatPhotograph } from './blank';
import { firstLine, refuse, type Checked } from './checked';
import { cleanImage, rgbBytes, type CleanImage } from './image-check';
import { sniffImage } from './image-format';

/** The largest camera sensors in common use. Decoded, 50 megapixels take 150 MB. */
export const MAX_PHOTO_PIXELS = 50_000_000;

/**
 * An interlaced file is decoded as a whole before its first row is known, unlike all others: this is what 50 megapixels of
 * three bytes take. Sixteen bits and an alpha channel would be 400 MB, in each check thread.
 */
const MAX_HELD_BYTES = 150_000_000;

/**
 * Rotated as its EXIF says, sRGB, centre-cropped to a square, resized to `resolution`, PNG. Reasons complete the
 * sentence "the photograph …" and carry the remedy.
 */
export async function canonicalPhotograph(sent: Uint8Array, resolution: number): Promise<Checked<CleanImage>> {
  const photograph = onlyPhotograph(sent);
  if (!photograph.ok) return photograph;
  const file = bareFile(photograph.value);
  const problem = file ? await headerProblem(file) : UNKNOWN_FORMAT;
  if (!file || problem) return refuse(problem ?? UNKNOWN_FORMAT);
  try {
    const square = sharp(file, { limitInputPixels: MAX_PHOTO_PIXELS, failOn: 'error' })
      .autoOrient()
      .resize(resolution, resolution, { fit: 'cover', position: 'centre', kernel: 'lanczos3' });
    const rgb = await rgbBytes(square);
    if (isFlatPhotograph(flatness(rgb))) return refuse('is blank: send one that shows something');
    return { ok: true, value: await cleanImage(rgb, { width: resolution, height: resolution }) };
  } catch (error) {
    return refuse(undecodable(error));
  }
}

/** What the first bytes and the header already show to be wrong; undefined where nothing is. Decodes no pixel. */
export async function photographProblem(sent: Uint8Array): Promise<string | undefined> {
  const photograph = onlyPhotograph(sent);
  if (!photograph.ok) return photograph.reason;
  const file = bareFile(photograph.value);
  return file ? headerProblem(file) : UNKNOWN_FORMAT;
}

const UNKNOWN_FORMAT = 'is not an image we read: send a PNG, JPEG or WebP file';
const undecodable = (error: unknown): string =>
  `cannot be decoded (${firstLine(error)}): send a whole PNG, JPEG or WebP file`;

function bareFile(bytes: Uint8Array): Uint8Array | undefined {
  const format = sniffImage(bytes);
  return format && bareImage(bytes, format, 'photograph');
}

async function headerProblem(file: Uint8Array): Promise<string | undefined> {
  try {
    const header = await sharp(file, { limitInputPixels: false, failOn: 'error' }).metadata();
    const { width, height, pages = 1 } = header;
    if (!width || !height) return 'has no pixels: send one of at least 1×1';
    if (width * height > MAX_PHOTO_PIXELS) {
      const megapixels = Math.round((width * height) / 1e6);
      return `is ${width}×${height} (${megapixels} megapixels): send one of at most ${MAX_PHOTO_PIXELS / 1e6} megapixels`;
    }
    if (pages > 1) return `is animated (${pages} frames): send a single picture`;
    return heldBytes(header) > MAX_HELD_BYTES
      ? 'is interlaced (progressive) and too large for it: save it without, or send a smaller one'
      : undefined;
  } catch (error) {
    return undecodable(error);
  }
}

/** Of an interlaced file: pixels, or JPEG's coefficients, of two bytes each. */
function heldBytes({ format, width, height, channels, depth, isProgressive, chromaSubsampling }: Metadata): number {
  if (!isProgressive) return 0;
  if (format === 'jpeg') return width * height * 2 * (chromaSubsampling === '4:2:0' ? 1.5 : channels);
  return width * height * channels * (depth === 'ushort' ? 2 : 1);
}
