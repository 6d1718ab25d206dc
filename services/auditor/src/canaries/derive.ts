/**
 * A photograph of the corpus becomes one that was never sent before: another part of it, perhaps mirrored, in slightly
 * other light, in a file as clients send them.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import sharp from 'sharp';
import type { Chance } from './canary-planner';

/** Decoded once, derived from as often as one likes. */
export interface Photograph {
  rgb: Buffer;
  width: number;
  height: number;
}

export interface Derived {
  /** `data:image/…;base64,…` */
  dataUri: string;
  /** SHA-256 over `width|height|` and the RGB bytes that the file decodes to, as for every stored image. */
  print: string;
}

/** As the querier takes them from clients: decoded, 50 megapixels take 150 MB. */
const MAX_PIXELS = 50_000_000;
/** Kept of a larger photograph: more than twice what is ever sent of it. */
const MAX_SIDE = 2_048;
/** The smallest part that is cut out then has 102 pixels a side; less shows nothing to a person either. */
const MIN_SIDE = 256;

/**
 * Mean standard deviation of the channels. The querier refuses less than 4 as blank, and what a LoRA of it renders is a
 * little flatter than it.
 */
const MIN_CONTRAST = 12;

/** Share of the shorter side that is cut out. */
const CROP = [0.4, 0.95] as const;
const SENT_SIDE = [128, 768] as const;
const PNG_SHARE = 0.3;
const JPEG_QUALITY = [85, 95] as const;
const BRIGHTNESS = [0.88, 1.12] as const;
const SATURATION = [0.8, 1.2] as const;
const HUE_DEGREES = 10;
const GAMMA = [1, 1.25] as const;

/** In base64 493 kB: half of what a NATS message may have. */
const MAX_BYTES = 370_000;
const SHRINK = 0.75;

/** Parts of a photograph that show too little (sky, a wall) are passed over; a usable one has a good part soon. */
const MAX_TRIES = 20;

/** @throws Error that completes the sentence "it …". */
export async function openPhotograph(file: string): Promise<Photograph> {
  const { data: rgb, info } = await decoded(file).catch((error: unknown) => {
    throw new Error(`cannot be opened (${String((error as Error).message).split('\n')[0]})`, { cause: error });
  });
  const { width, height, channels } = info;
  if (channels !== 3) throw new Error(`has ${channels} channels where RGB has 3`);
  if (Math.min(width, height) < MIN_SIDE) {
    throw new Error(`is ${width}×${height}, and has to have ${MIN_SIDE} pixels a side`);
  }
  if (contrastOf(rgb) < MIN_CONTRAST) throw new Error('shows nothing: it is of one colour');
  return { rgb, width, height };
}

/** Read here: where strangers' images are decoded in the same process, libvips is kept from opening files. */
async function decoded(file: string): Promise<{ data: Buffer; info: sharp.OutputInfo }> {
  return sharp(await readFile(file), { limitInputPixels: MAX_PIXELS, failOn: 'error' })
    .autoOrient()
    .resize(MAX_SIDE, MAX_SIDE, { fit: 'inside', withoutEnlargement: true })
    .flatten({ background: '#fff' })
    .toColourspace('srgb')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
}

/** @throws Error when no part of it shows enough. */
export async function derive(photograph: Photograph, chance: Chance): Promise<Derived> {
  for (let tries = 0; tries < MAX_TRIES; tries += 1) {
    const part = await changedPart(photograph, chance);
    if (contrastOf(part.rgb) < MIN_CONTRAST) continue;
    const { file, type } = await encode(part, chance);
    return { dataUri: `data:image/${type};base64,${file.toString('base64')}`, print: await printOf(file) };
  }
  throw new Error(`has no part that shows enough, among ${MAX_TRIES}`);
}

async function changedPart(photograph: Photograph, chance: Chance): Promise<Photograph> {
  const { width, height } = photograph;
  const cut = Math.floor(Math.min(width, height) * between(CROP, chance));
  const left = Math.floor(chance() * (width - cut + 1));
  const top = Math.floor(chance() * (height - cut + 1));
  const most = Math.min(SENT_SIDE[1], cut);
  const side = Math.round(between([Math.min(SENT_SIDE[0], most), most], chance));
  const isMirrored = chance() < 0.5;
  const light = { brightness: between(BRIGHTNESS, chance), saturation: between(SATURATION, chance) };
  const hue = Math.round(between([-HUE_DEGREES, HUE_DEGREES], chance));
  const gamma: [number, number] = chance() < 0.5 ? [between(GAMMA, chance), 1] : [1, between(GAMMA, chance)];
  const changed = pixels(photograph)
    .extract({ left, top, width: cut, height: cut })
    .resize(side, side)
    .flop(isMirrored)
    .gamma(...gamma)
    .modulate({ ...light, hue });
  return { rgb: await changed.raw().toBuffer(), width: side, height: side };
}

async function encode(part: Photograph, chance: Chance): Promise<{ file: Buffer; type: string }> {
  const isPng = chance() < PNG_SHARE;
  const quality = Math.round(between(JPEG_QUALITY, chance));
  if (isPng) {
    const file = await pixels(part).png().toBuffer();
    if (file.byteLength <= MAX_BYTES) return { file, type: 'png' };
  }
  for (let size = part.width; ; size = Math.floor(size * SHRINK)) {
    const file = await pixels(part).resize(size, size).jpeg({ quality }).toBuffer();
    if (file.byteLength <= MAX_BYTES) return { file, type: 'jpeg' };
  }
}

async function printOf(file: Buffer): Promise<string> {
  const { data, info } = await sharp(file).raw().toBuffer({ resolveWithObject: true });
  return createHash('sha256').update(`${info.width}|${info.height}|`).update(data).digest('hex');
}

/** By hand: sharp's statistics compute much else, and took two thirds of a derivation. */
function contrastOf(rgb: Buffer): number {
  const pixelCount = rgb.length / 3;
  let total = 0;
  for (let channel = 0; channel < 3; channel += 1) {
    let [sum, squares] = [0, 0];
    for (let at = channel; at < rgb.length; at += 3) {
      const value = rgb[at] ?? 0;
      sum += value;
      squares += value * value;
    }
    total += Math.sqrt(Math.max(0, squares / pixelCount - (sum / pixelCount) ** 2));
  }
  return total / 3;
}

function pixels({ rgb, width, height }: Photograph): sharp.Sharp {
  return sharp(rgb, { raw: { width, height, channels: 3 } });
}

function between([least, most]: readonly [number, number], chance: Chance): number {
  return least + chance() * (most - least);
}
