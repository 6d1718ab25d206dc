/**
 * Honest renderings of the flattest and darkest pictures that the door takes: what tier 1 may never call blank. A program of
 * its own, run in a thread: a rendering in a test's sandbox takes fifteen times as long.
 */
import { join } from 'node:path';
import sharp from 'sharp';
import type { Adapter } from '@studio/ref-sep/adapter';
import { renderImage } from '@studio/ref-sep/render';
import { trainAdapter } from '@studio/ref-sep/train';
import { flatness, isFlatPhotograph, type Flatness } from '@studio/querier/checks/blank';

const PHOTOS = ['chelsea.png', 'coffee.png', 'rocket.jpg'].map((name) => join(__dirname, '../../../photos', name));
const SIDE = 32;
const CROP = 64;

type Pixels = Uint8Array;

export interface Asked {
  steps: readonly number[];
  ranks: readonly number[];
  scales: readonly number[];
  sizes: readonly (readonly [width: number, height: number])[];
  warps: readonly number[];
  /** Renderings with each of these, the seeds differ. */
  seeds: number;
}

export interface Rendering extends Flatness {
  scale: number;
}

export async function honestRenderings(asked: Asked): Promise<Rendering[]> {
  const found: Rendering[] = [];
  for (const rgb of await sources()) {
    for (const rank of asked.ranks) {
      for (const steps of asked.steps) {
        const adapter = await trainAdapter({ rgb, width: SIDE, height: SIDE, steps, rank, seed: 1 });
        found.push(...renderings(adapter, asked));
      }
    }
  }
  return found;
}

function renderings(adapter: Adapter, { scales, sizes, warps, seeds }: Asked): Rendering[] {
  const each = scales.flatMap((scale) =>
    sizes.flatMap(([width, height]) => warps.map((warp) => ({ scale, width, height, warp }))),
  );
  return each.flatMap((task) =>
    Array.from({ length: task.warp === 0 ? 1 : seeds }, (_, seed) => ({
      ...flatness(renderImage({ adapter, prompt: 'a', seed, ...task })),
      scale: task.scale,
    })),
  );
}

async function sources(): Promise<Pixels[]> {
  const all = [...(await Promise.all(PHOTOS.map(photographs))).flat(), ...drawings()];
  const flat = all.filter((rgb) => isFlatPhotograph(flatness(rgb)));
  if (flat.length > 0) throw new Error(`the door would not take ${flat.length} of these pictures`);
  return all;
}

/** Of each photograph: all of it, and of its crops the flattest, darkest and brightest that the door takes. */
async function photographs(path: string): Promise<Pixels[]> {
  const { width, height } = await sharp(path).metadata();
  const crops: { rgb: Pixels; flat: Flatness; mean: number }[] = [];
  for (let top = 0; top + CROP <= height; top += CROP) {
    for (let left = 0; left + CROP <= width; left += CROP) {
      const image = sharp(path).extract({ left, top, width: CROP, height: CROP }).resize(SIDE, SIDE);
      const rgb = await image.removeAlpha().raw().toBuffer();
      crops.push({ rgb, flat: flatness(rgb), mean: rgb.reduce((sum, level) => sum + level, 0) / rgb.length });
    }
  }
  const taken = crops.filter(({ flat }) => !isFlatPhotograph(flat));
  const least = (by: (crop: (typeof crops)[number]) => number): Pixels =>
    taken.reduce((a, b) => (by(b) < by(a) ? b : a)).rgb;
  const whole = await sharp(path).resize(SIDE, SIDE, { fit: 'cover' }).removeAlpha().raw().toBuffer();
  return [whole, least(({ flat }) => flat.variance), least(({ mean }) => mean), least(({ mean }) => -mean)];
}

/** At the edge of what the door takes: a disc on a flat ground, and a gradient with hardly a contrast. */
function drawings(): Pixels[] {
  const drawn = (level: (x: number, y: number) => number): Pixels =>
    Uint8Array.from({ length: SIDE * SIDE * 3 }, (_, i) => level(Math.floor(i / 3) % SIDE, Math.floor(i / 3 / SIDE)));
  const disc = (ground: number, level: number, radius: number): Pixels =>
    drawn((x, y) => ((x - 10) ** 2 + (y - 20) ** 2 < radius * radius ? level : ground));
  return [
    disc(0, 255, 2.6), disc(255, 0, 2.6), disc(0, 60, 3), disc(128, 158, 3), disc(250, 214, 4),
    ...[4, 128, 240].map((level) => drawn((x, y) => level + ((x * 7 + y * 3) % 15))),
  ]; // prettier-ignore
}
