/**
 * Tier 1 for images: is this the picture that was asked for, and nothing else? Runs in a worker thread.
 *
 * It refuses what is no picture: not decodable, of another size, blank. A picture that could be right and is not (another
 * seed, another prompt, half the size scaled up) passes here and is tier 2's to find.
 */
import { createHash } from 'node:crypto';
import sharp, { type Sharp } from 'sharp';
import { dctHash } from '@studio/shared/domain/dct-hash';
import { bareImage } from './bare-image';
import { flatness, isBlank } from './blank';
import { firstLine, refuse, type Checked } from './checked';
import { sniffImage } from './image-format';

export interface ImageSize {
  width: number;
  height: number;
}

/** What the rendering was asked for. */
export interface ImageExpectation extends ImageSize {
  /** By `isOverdriven` (blank.ts). */
  overdriven?: boolean;
}

/** The picture as it is stored and served: an RGB PNG made by us, without any of the sender's metadata. */
export interface CleanImage extends ImageSize {
  png: Uint8Array;
  /** SHA-256 (hex) over `width|height|` and the RGB bytes. */
  pixelHash: string;
  /** What it shows, in 256 bits (domain/dct-hash.ts): 64 hex digits. */
  dctHash: string;
}

/** What a miner sent, against what was asked for. Never throws for bad bytes. */
export async function checkImage(bytes: Uint8Array, expected: ImageExpectation): Promise<Checked<CleanImage>> {
  if (bytes.byteLength === 0) return refuse('the image is empty');
  const format = sniffImage(bytes);
  if (!format) return refuse('the file is not a PNG, JPEG or WebP image');
  const { width, height, overdriven = false } = expected;
  try {
    // The limit is checked against the header, before memory is taken for the pixels.
    const image = sharp(bareImage(bytes, format, 'pixels'), { limitInputPixels: width * height, failOn: 'warning' });
    const found = await image.metadata();
    if (found.format !== format) return refuse(`the file begins like ${format} but is ${found.format}`);
    if ((found.pages ?? 1) > 1) return refuse(`the image has ${found.pages} frames instead of one`);
    if (found.width !== width || found.height !== height) {
      return refuse(`the image is ${found.width}×${found.height} instead of ${width}×${height}`);
    }
    const rgb = await rgbBytes(image);
    if (isBlank(flatness(rgb), overdriven)) return refuse('the image is blank');
    return { ok: true, value: await cleanImage(rgb, { width, height }) };
  } catch (error) {
    return refuse(`the image cannot be decoded: ${firstLine(error)}`);
  }
}

/** Decoded pixels as width·height·3 bytes, whatever the file's colour space and depth. */
export async function rgbBytes(image: Sharp): Promise<Uint8Array> {
  return image.toColourspace('srgb').flatten({ background: '#ffffff' }).raw({ depth: 'uchar' }).toBuffer();
}

export async function cleanImage(rgb: Uint8Array, { width, height }: ImageSize): Promise<CleanImage> {
  if (rgb.byteLength !== width * height * 3)
    throw new Error(`${rgb.byteLength} bytes for ${width}×${height} RGB pixels`);
  const png = await sharp(rgb, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
  const pixelHash = createHash('sha256').update(`${width}|${height}|`).update(rgb).digest('hex');
  return { png, pixelHash, dctHash: dctHash(rgb, width, height), width, height };
}
