/** Tier 1 for images: is this the picture that was asked for, and nothing else? Runs in a worker thread. */
import { createHash } from 'node:crypto';
import sharp, { type Sharp } from 'sharp';
import { sniffImage } from './image-format';

export interface ImageSize {
  width: number;
  height: number;
}

/** The picture as it is stored and served: an RGB PNG made by us, without any of the sender's metadata. */
export interface CleanImage extends ImageSize {
  png: Uint8Array;
  /** SHA-256 (hex) over `width|height|` and the RGB bytes. */
  pixelHash: string;
}

export type Checked<T> = { ok: true; value: T } | { ok: false; reason: string };

/**
 * Smallest variance of the RGB bytes, over the whole picture. Noise of ±1 on one colour has 0.67, the flattest honest
 * rendering of a photograph some hundreds.
 */
export const BLANK_VARIANCE = 2;

/** What a miner sent, against the size that was asked for. Never throws for bad bytes. */
export async function checkImage(bytes: Uint8Array, size: ImageSize): Promise<Checked<CleanImage>> {
  if (bytes.byteLength === 0) return refuse('the image is empty');
  const format = sniffImage(bytes);
  if (!format) return refuse('the file is not a PNG, JPEG or WebP image');
  try {
    // The limit is checked against the header, before memory is taken for the pixels.
    const image = sharp(bytes, { limitInputPixels: size.width * size.height, failOn: 'warning' });
    const found = await image.metadata();
    if (found.format !== format) return refuse(`the file begins like ${format} but is ${found.format}`);
    if ((found.pages ?? 1) > 1) return refuse(`the image has ${found.pages} frames instead of one`);
    if (found.width !== size.width || found.height !== size.height) {
      return refuse(`the image is ${found.width}×${found.height} instead of ${size.width}×${size.height}`);
    }
    const rgb = await rgbBytes(image);
    if (variance(rgb) < BLANK_VARIANCE) return refuse('the image is blank');
    return { ok: true, value: await cleanImage(rgb, size) };
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
  return { png, pixelHash, width, height };
}

/** Of all bytes together: a picture of one flat colour has its variance between the channels only, so per channel. */
export function variance(rgb: Uint8Array): number {
  let largest = 0;
  const pixels = rgb.length / 3;
  for (let channel = 0; channel < 3; channel++) {
    let sum = 0;
    let squares = 0;
    for (let i = channel; i < rgb.length; i += 3) {
      const value = rgb[i]!;
      sum += value;
      squares += value * value;
    }
    largest = Math.max(largest, squares / pixels - (sum / pixels) ** 2);
  }
  return largest;
}

export function refuse(reason: string): { ok: false; reason: string } {
  return { ok: false, reason };
}

/** libvips repeats itself over several lines. */
export function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n', 1)[0]!.slice(0, 200);
}
