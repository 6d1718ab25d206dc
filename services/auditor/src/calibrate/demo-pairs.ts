/**
 * Pairs made from the photographs of this repository, so that anybody can see the command work. They show how far
 * encoders and rounding move the figures; what an engine does on two machines, only pairs of that engine can show.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { uniformStream } from '@studio/ref-sep/prng';
import type { Picture } from '../comparators/pixels';
import {
  blurred,
  cropped,
  enlarged,
  jpeg,
  mirrored,
  noise,
  png,
  recoloured,
  sharpened,
  shrunk,
  stamped,
  webp,
  withLogo,
} from './distortions';
import { PairsError, type PicturePair } from './pairs';

/** The same depth above the sources and above what is built. */
const PHOTOGRAPHS = join(__dirname, '../../../../photos');
const NAMES = ['chelsea.png', 'coffee.png', 'rocket.jpg'];

/**
 * Sides of the pictures; crops are at least as large, so that none is enlarged. Crops of 64 pixels are harder than any job: of
 * their pairs about one in a hundred fails, since JPEG 80 takes most of what so small a piece of fur or sky shows.
 */
const SIDES = [64, 128, 256];

/** One dishonest pair of each kind for so many honest ones: the report tells of misses, and the honest tail matters more. */
const HONEST_PER_DISHONEST = 100;

type Uniform = () => number;
type Make = (picture: Picture, uniform: Uniform) => Picture | Promise<Picture>;

/** As an honest miner might send a picture: JPEG of 80 to 95, WebP, ±1 noise, or both. */
const HONEST: readonly Make[] = [
  (picture, uniform) => jpeg(picture, 80 + Math.floor(uniform() * 16)),
  (picture) => webp(picture, 90),
  (picture, uniform) => noise(picture, uniform),
  async (picture, uniform) => noise(await jpeg(picture, 80 + Math.floor(uniform() * 16)), uniform),
];

const DISHONEST: Record<string, Make> = {
  'half size': (picture, uniform) => enlarged(picture, 2, uniform() < 0.5 ? 'linear' : 'cubic'),
  'half size, sharpened': async (picture, uniform) =>
    sharpened(await enlarged(picture, 2, 'cubic'), 0.5 + 1.5 * uniform()),
  'quarter size': (picture) => enlarged(picture, 4, 'cubic'),
  crop: (picture, uniform) => cropped(picture, 0.8 + 0.1 * uniform()),
  logo: (picture, uniform) => withLogo(picture, 1 / 16 + uniform() / 8),
  mirrored: (picture) => mirrored(picture),
  blurred: (picture, uniform) => blurred(picture, 1 + 3 * uniform()),
  'another hue': (picture, uniform) => recoloured(picture, 40 + Math.floor(uniform() * 280)),
  'blank part': (picture) => stamped(picture, 1 / 4, () => [128, 128, 128]),
  'a smaller picture': (picture) => shrunk(picture, 2),
};

/** The same seed makes the same pairs. @throws PairsError where the photographs are missing. */
export async function demoPairs(honest: number, seed: number): Promise<PicturePair[]> {
  const photographs = await Promise.all(NAMES.map(readPhotograph));
  const kinds = Object.entries(DISHONEST);
  const dishonest = Math.ceil(honest / HONEST_PER_DISHONEST) * kinds.length;
  return Array.from({ length: honest + dishonest }, (_, index): PicturePair => {
    const uniform = uniformStream(seed * 1_000_003 + index);
    const [kind, make] = kinds[index % kinds.length]!;
    const cheat = index >= honest;
    const [photograph, side] = [pick(photographs, uniform), pick(SIDES, uniform)];
    return {
      name: `pair ${index + 1}, ${side}² of ${photograph.name}`,
      ...(cheat && { dishonest: kind }),
      read: async () => {
        const picture = await anyCrop(photograph.file, side, uniform);
        const [a, b] = [await anyHonest(picture, uniform), cheat ? await make(picture, uniform) : await anyHonest(picture, uniform)]; // prettier-ignore
        return [await png(a), await png(b)];
      },
    };
  });
}

/** Every fourth time as it is. */
function anyHonest(picture: Picture, uniform: Uniform): Picture | Promise<Picture> {
  return uniform() < 0.25 ? picture : pick(HONEST, uniform)(picture, uniform);
}

async function anyCrop(file: Buffer, side: number, uniform: Uniform): Promise<Picture> {
  const image = sharp(file);
  const { width, height } = await image.metadata();
  const cut = side + Math.floor(uniform() * (Math.min(width, height) - side + 1));
  const [left, top] = [Math.floor(uniform() * (width - cut + 1)), Math.floor(uniform() * (height - cut + 1))];
  const square = image.extract({ left, top, width: cut, height: cut }).resize(side, side).removeAlpha();
  return { rgb: await square.toColourspace('srgb').raw().toBuffer(), width: side, height: side };
}

function pick<T>(from: readonly T[], uniform: Uniform): T {
  return from[Math.floor(uniform() * from.length)]!;
}

async function readPhotograph(name: string): Promise<{ name: string; file: Buffer }> {
  const path = join(PHOTOGRAPHS, name);
  const file = await readFile(path).catch(() => {
    throw new PairsError(`${path} is missing: restore it (git checkout photos), or name pairs of your own`);
  });
  return { name, file };
}
