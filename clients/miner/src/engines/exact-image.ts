import type { RgbImage } from '@studio/ref-sep/image';
import sharp from 'sharp';

export interface Size {
  width: number;
  height: number;
}

/** What image servers and trainers write. Sharp would read vector drawings and PDFs too. */
const FORMATS: readonly string[] = ['png', 'jpeg', 'webp'];

/** Decodes an image of exactly the size `drawn`, and cuts `wanted` out of its middle. `whose` begins the messages. */
export async function decodeExact(file: Uint8Array, drawn: Size, wanted: Size, whose: string): Promise<RgbImage> {
  try {
    // The header first: an image that claims other sides is never unpacked.
    const { format, width, height } = await sharp(file).metadata();
    if (!FORMATS.includes(format)) throw new Error(`it is ${format}, not one of ${FORMATS.join(', ')}`);
    if (width !== drawn.width || height !== drawn.height)
      throw new Error(`it is ${width}×${height}, not the ${drawn.width}×${drawn.height} that were asked for`);
    const left = Math.floor((drawn.width - wanted.width) / 2);
    const top = Math.floor((drawn.height - wanted.height) / 2);
    const pixels = sharp(file, { limitInputPixels: width * height, failOn: 'warning' })
      .removeAlpha()
      .toColourspace('srgb')
      .extract({ left, top, ...wanted });
    const { data, info } = await pixels.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
    if (info.channels !== 3) throw new Error(`it has ${info.channels} channels, not 3`);
    return { rgb: data, ...wanted };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`${whose}: the image cannot be handed in: ${why}`, { cause: error });
  }
}

/** The most bytes that an image file of this size can need: 16 bits, four channels, not compressed, and some text. */
export function mostBytes({ width, height }: Size): number {
  return width * height * 8 + IMAGE_TEXT_BYTES;
}

/** ComfyUI writes the whole workflow into each PNG, twice; large ones have some 100 kB. */
const IMAGE_TEXT_BYTES = 4 * 1024 * 1024;
