/**
 * What of an inference's input decides a picture, and which inputs may honestly give the same picture or two that look
 * alike. Pure. The picture rule asks; the figures were measured on 3,400 renderings with 24 LoRAs of three photographs at 64².
 */
import { createHash } from 'node:crypto';
import { bend, warpAmplitudes } from '@studio/ref-sep/warp';
import type { Engine, InferenceInput } from '@studio/shared/domain/job';

/** One picture of a job: where it comes from. Its size is part of its pixels' hash. */
export type PictureSource = {
  /** Tensors of the LoRA, and its file. */
  lora: string;
  loraSha256: string;
  scale: number;
} & ({ engine: 'ref-sep-v1'; bend: Bend } | { engine: 'flux'; prompt: string; seed: number });

/** Amplitudes of the harmonics by which prompt, seed and warp bend each axis. */
type Bend = ReturnType<typeof warpAmplitudes>;

/** `by-photograph`: honest if both LoRAs were trained on one photograph. */
export type Coincidence = 'honest' | 'copied' | 'by-photograph';

const SEEDS = 2 ** 32;

/** Largest distance of two points on an axis, as a share of it, from which on no two renderings were equal: 0.000004. */
const SAME_BEND = 0.0001;
/** Difference of two strengths of one LoRA from which on no two renderings were equal: 0.0003. */
const SAME_SCALE = 0.001;
/** Bent as far apart as this, one LoRA's renderings differ in 38 bits of 256 and more (1,700 pairs). */
const FAR_BEND = 0.1;
/** Below, the base model shows through: two photographs' renderings come as near as 2 bits. From here on, 30 and more. */
const BASE_SHOWS = 0.2;

/** Picture `index` of a job: each has the seed after the one before. */
export function pictureSource(engine: Engine, input: InferenceInput, index: number): PictureSource {
  const { lora, loraScale: scale, prompt, warp } = input;
  const seed = (input.seed + index) % SEEDS;
  const common = { lora: lora.tensorHash, loraSha256: lora.sha256, scale };
  switch (engine) {
    case 'ref-sep-v1':
      return { ...common, engine, bend: warpAmplitudes({ prompt, seed, strength: warp }) };
    case 'flux':
      // Kept for tens of thousands of pictures; a prompt may have 4,000 characters.
      return { ...common, engine, prompt: createHash('sha256').update(prompt).digest('base64'), seed };
  }
}

/** @param equal the pictures have equal pixels; else they look alike (a few bits of the DCT hash apart). */
export function coincidence(a: PictureSource, b: PictureSource, equal: boolean): Coincidence {
  if (a.engine === 'ref-sep-v1' && b.engine === 'ref-sep-v1') {
    const apart = distanceOf(a.bend, b.bend);
    return equal ? equalRenderings(a, b, apart) : nearRenderings(a, b, apart);
  }
  if (a.engine === 'flux' && b.engine === 'flux') return equal ? equalDiffusions(a, b) : nearDiffusions(a, b);
  return equal ? 'copied' : 'honest';
}

/** Nothing but the LoRA, its strength and the bend goes into a rendering; with strength 0 it is the base model's. */
function equalRenderings(a: PictureSource, b: PictureSource, apart: number): Coincidence {
  if (apart > SAME_BEND || Math.abs(a.scale - b.scale) > SAME_SCALE) return 'copied';
  return a.lora === b.lora || Math.max(a.scale, b.scale) <= SAME_SCALE ? 'honest' : 'by-photograph';
}

function nearRenderings(a: PictureSource, b: PictureSource, apart: number): Coincidence {
  if (apart >= FAR_BEND) return 'copied';
  return a.lora === b.lora || Math.max(a.scale, b.scale) < BASE_SHOWS ? 'honest' : 'by-photograph';
}

type Diffusion = Extract<PictureSource, { engine: 'flux' }>;

/** Another prompt, seed, strength or LoRA gives other pixels; `warp` means nothing to a diffusion model. */
function equalDiffusions(a: Diffusion, b: Diffusion): Coincidence {
  const same = a.prompt === b.prompt && a.seed === b.seed && a.scale === b.scale;
  return same && (a.lora === b.lora || a.scale === 0) ? 'honest' : 'copied';
}

/** From one seed weak LoRAs give much the same; a LoRA that learned one photograph by heart gives it from every seed. */
function nearDiffusions(a: Diffusion, b: Diffusion): Coincidence {
  return a.lora === b.lora || a.seed === b.seed ? 'honest' : 'by-photograph';
}

/** Enough points to see the highest harmonic, four half waves, at its crests. */
const POINTS = Float64Array.from({ length: 33 }, (_, i) => i / 32);

/** How far apart one point of the picture lies in the two at most, along either axis. */
function distanceOf(a: Bend, b: Bend): number {
  return Math.max(
    ...(['x', 'y'] as const).map((axis) => {
      // Bending adds up: by the difference of the amplitudes it moves each point by the difference of its places.
      const moved = bend(
        POINTS,
        a[axis].map((amplitude, k) => amplitude - b[axis][k]!),
      );
      return moved.reduce((most, place, i) => Math.max(most, Math.abs(place - POINTS[i]!)), 0);
    }),
  );
}
