/** How little a picture shows. A picture of nothing is no result of a miner, and nothing to learn from. */
import type { Engine } from '@studio/shared/domain/job';
import { taskKind } from '@studio/shared/domain/task-kinds';

export interface Flatness {
  /** Of the channel that varies most; over all bytes together, a flat colour would have that between its channels. */
  variance: number;
  /** The median of each channel: the colour of the background, wherever there is one. */
  common: readonly [number, number, number];
  /** Share of the pixels of that colour, to within NEAR in each channel. */
  commonShare: number;
}

/**
 * A result that varies less, or of which so much is of one colour, is blank. An honest one is never: over 28,000 renderings
 * of ref-sep-v1 at LoRA scale 1 (the flattest and darkest crops of three photographs, drawings at the edge of what
 * isFlatPhotograph lets through; 1 to 1000 steps, rank 1 to 32, warp 0 to 1), the smallest variance was 8, the largest share
 * 0.987, and both are further away at smaller scales.
 */
const BLANK_VARIANCE = 4;
const BLANK_SHARE = 0.995;

/**
 * Beyond 1, the LoRA of a dark photograph drives every honest pixel to 0 (125 of 3920 renderings at 2). Such a picture is
 * let through where tier 2 compares bits: there a miner that only says so is found out, and an honest one is not punished.
 */
export function isOverdriven(engine: Engine, loraScale: number): boolean {
  return loraScale > 1 && taskKind('lora-inference', engine).comparator === 'exact';
}

/**
 * Beyond these an honest rendering could come out blank and be held against the miner. The warp squeezes what a picture
 * shows by at most 1.9 along each axis, so to no less than 1/3.6 of its variance and of its share: from 16 to 4.4, and from
 * 2 % to 0.55 %. One white dot on black, 4 of 1024 pixels, has a variance of 253, and gave renderings of 0.8.
 */
const MIN_PHOTO_VARIANCE = 16;
const MAX_PHOTO_SHARE = 0.98;

/** Levels of 255. Noise within it on one colour is nothing that anybody sees. */
const NEAR = 4;

export function isBlank({ variance, common, commonShare }: Flatness, overdriven: boolean): boolean {
  if (variance >= BLANK_VARIANCE && commonShare < BLANK_SHARE) return false;
  return !(overdriven && common.every((level) => level === 0 || level === 255));
}

export function isFlatPhotograph({ variance, commonShare }: Flatness): boolean {
  return variance < MIN_PHOTO_VARIANCE || commonShare > MAX_PHOTO_SHARE;
}

export function flatness(rgb: Uint8Array): Flatness {
  const counts = [new Uint32Array(256), new Uint32Array(256), new Uint32Array(256)] as const;
  const pixels = rgb.length / 3;
  for (let i = 0; i < rgb.length; i += 3) {
    counts[0][rgb[i]!]! += 1;
    counts[1][rgb[i + 1]!]! += 1;
    counts[2][rgb[i + 2]!]! += 1;
  }
  const [r, g, b] = counts.map((channel) => median(channel, pixels)) as [number, number, number];
  let near = 0;
  for (let i = 0; i < rgb.length; i += 3) {
    const isNear =
      Math.abs(rgb[i]! - r) <= NEAR && Math.abs(rgb[i + 1]! - g) <= NEAR && Math.abs(rgb[i + 2]! - b) <= NEAR;
    if (isNear) near += 1;
  }
  const variance = Math.max(...counts.map((channel) => varianceOf(channel, pixels)));
  return { variance, common: [r, g, b], commonShare: near / pixels };
}

function median(counts: Uint32Array, pixels: number): number {
  let below = 0;
  return counts.findIndex((count) => (below += count) * 2 >= pixels);
}

function varianceOf(counts: Uint32Array, pixels: number): number {
  const sum = counts.reduce((total, count, level) => total + count * level, 0);
  const squares = counts.reduce((total, count, level) => total + count * level * level, 0);
  return squares / pixels - (sum / pixels) ** 2;
}
