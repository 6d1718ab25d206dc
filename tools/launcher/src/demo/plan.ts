/**
 * What the demo does, as data: the main training and its pictures, and enough further work that every miner is asked,
 * audited and scored several times over. Pure.
 */
import type { SubmitJobBody } from '@studio/shared/contract/submit-job';

const ENGINE = 'ref-sep-v1';

export interface PlannedTraining {
  /** Names the files under out/. */
  name: string;
  title: string;
  crop: Crop;
  resolution: number;
  steps: number;
  rank: number;
  seed: number;
}

/** A square of the photo: its centre and its side as shares of the photo's width, height and shorter side. */
export interface Crop {
  photo: 'main' | 'chelsea' | 'coffee' | 'rocket';
  x: number;
  y: number;
  side: number;
}

export interface PlannedImage {
  name: string;
  title: string;
  prompt: string;
  width: number;
  height: number;
  seed: number;
  loraScale: number;
  warp: number;
}

const WHOLE: Crop = { photo: 'main', x: 0.5, y: 0.5, side: 1 };

/** 64², 300 steps, rank 16: the size at which the engine's PSNR is stated. */
export const MAIN_TRAINING: PlannedTraining = {
  name: 'photo-64',
  title: 'the photograph, 64²',
  crop: WHOLE,
  resolution: 64,
  steps: 300,
  rank: 16,
  seed: 20_260,
};

/** Larger, to look at. */
export const LARGE_TRAINING: PlannedTraining = {
  ...MAIN_TRAINING,
  name: 'photo-128',
  title: 'the photograph, 128²',
  resolution: 128,
  steps: 150,
};

/** Without prompt or warp the adapter gives back what it was trained on: this one is measured. */
export const PSNR_IMAGE: PlannedImage = {
  name: 'photo-64-as-trained',
  title: 'as trained, 64×64',
  prompt: '',
  width: 64,
  height: 64,
  seed: 1,
  loraScale: 1,
  warp: 0,
};

/** Pictures of the main LoRA: several prompts and sizes. */
export const MAIN_IMAGES: readonly PlannedImage[] = [
  PSNR_IMAGE,
  { ...PSNR_IMAGE, name: 'photo-64-large', title: 'as trained, 256×256', width: 256, height: 256 },
  picture('breeze', 'a portrait in a light breeze', 192, 192, 7, 0.5),
  picture('mirror', 'seen in a fairground mirror', 256, 192, 11, 1),
  picture('water', 'under running water', 192, 256, 23, 0.8),
];

export const LARGE_IMAGES: readonly PlannedImage[] = [
  { ...PSNR_IMAGE, name: 'photo-128-as-trained', title: 'as trained, 128×128', width: 128, height: 128 },
  { ...picture('dream', 'a dream of it', 256, 256, 41, 0.6), name: 'photo-128-dream' },
];

function picture(
  name: string,
  prompt: string,
  width: number,
  height: number,
  seed: number,
  warp: number,
): PlannedImage {
  const title = `"${prompt}"`;
  return { name: `photo-64-${name}`, title, prompt, width, height, seed, loraScale: 1, warp };
}

/** Small trainings on different parts of the three photographs: a quarter second of work each. */
export const SMALL_TRAININGS: readonly PlannedTraining[] = [
  small('cat-eye', 'chelsea', 0.33, 0.36, 0.4),
  small('cup', 'coffee', 0.5, 0.5, 0.9),
  small('flame', 'rocket', 0.5, 0.8, 0.4),
  small('cat-nose', 'chelsea', 0.58, 0.75, 0.45),
  small('spoon', 'coffee', 0.3, 0.6, 0.4),
  small('tower', 'rocket', 0.55, 0.3, 0.5),
  small('cat-ear', 'chelsea', 0.2, 0.2, 0.38),
  small('saucer', 'coffee', 0.7, 0.75, 0.4),
  small('sky', 'rocket', 0.25, 0.3, 0.5),
  small('cat-whole', 'chelsea', 0.4, 0.5, 0.95),
  small('table', 'coffee', 0.2, 0.25, 0.4),
  small('launch', 'rocket', 0.5, 0.5, 1),
];

function small(name: string, photo: Crop['photo'], x: number, y: number, side: number): PlannedTraining {
  const seed = [...name].reduce((sum, letter) => sum + letter.charCodeAt(0), 0);
  return { name, title: `${name}, 32²`, crop: { photo, x, y, side }, resolution: 32, steps: 60, rank: 16, seed };
}

/** Pictures of each small LoRA. */
export function smallImages(training: PlannedTraining): PlannedImage[] {
  return [0, 1, 2].map((index) => ({
    name: `${training.name}-${index}`,
    title: `${training.name}, variation ${index}`,
    prompt: `${training.name}, variation ${index}`,
    width: 64 + 16 * index,
    height: 64,
    seed: training.seed + index,
    loraScale: 1,
    warp: 0.3 * index,
  }));
}

export function trainingBody(plan: PlannedTraining, imageUrl: string): SubmitJobBody {
  const { resolution, steps, rank, seed } = plan;
  return { kind: 'lora-training', engine: ENGINE, input: { image_url: imageUrl, resolution, steps, rank, seed } };
}

export function imageBody(plan: PlannedImage, loraUrl: string): SubmitJobBody {
  const { prompt, width, height, seed, loraScale, warp } = plan;
  return {
    kind: 'lora-inference',
    engine: ENGINE,
    input: { lora_url: loraUrl, prompt, width, height, seed, lora_scale: loraScale, warp },
  };
}
