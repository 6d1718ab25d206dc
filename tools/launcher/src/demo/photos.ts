import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import type { Crop } from './plan';

/** Where the photographs that the project ships lie. */
const SHIPPED: Record<Exclude<Crop['photo'], 'main'>, string> = {
  chelsea: 'photos/chelsea.png',
  coffee: 'photos/coffee.png',
  rocket: 'photos/rocket.jpg',
};

export interface Photo {
  bytes: Buffer;
  contentType: string;
}

/**
 * The bytes to upload for a crop. The main photograph goes up as the user gave it; a part of a shipped one is cut out
 * here.
 */
export async function photoFor(crop: Crop, root: string, mainPhoto: string): Promise<Photo> {
  if (crop.photo === 'main') return wholePhoto(mainPhoto);
  const image = sharp(readFileSync(join(root, SHIPPED[crop.photo])));
  const { width, height } = await image.metadata();
  const side = Math.round(Math.min(width, height) * crop.side);
  const place = (share: number, length: number): number =>
    Math.max(0, Math.min(length - side, Math.round(share * length - side / 2)));
  const region = { left: place(crop.x, width), top: place(crop.y, height), width: side, height: side };
  return { bytes: await image.extract(region).png().toBuffer(), contentType: 'image/png' };
}

/** The file as it is. @throws Error that names the option when it is not an image. */
export async function wholePhoto(path: string): Promise<Photo> {
  const bytes = readFileSync(path);
  const metadata = await sharp(bytes)
    .metadata()
    .catch((cause: unknown) => {
      throw new Error(`--photo ${path} is not an image: give a PNG, JPEG or WebP file`, { cause });
    });
  return { bytes, contentType: `image/${metadata.format}` };
}

/** Peak signal-to-noise ratio of two images of one size, over all channels, in dB; ∞ when they are equal. */
export async function psnrDb(one: Buffer, other: Buffer): Promise<number> {
  const [a, b] = await Promise.all([one, other].map((bytes) => sharp(bytes).removeAlpha().raw().toBuffer()));
  if (!a || !b || a.length !== b.length) throw new Error('PSNR needs two images of one size');
  const squares = a.reduce((sum, value, index) => sum + (value - b[index]!) ** 2, 0);
  return 10 * Math.log10(255 ** 2 / (squares / a.length));
}
