import type { RgbImage } from '@studio/ref-sep/image';

/** One training, its photograph decoded and checked. */
export interface TrainingWork {
  image: RgbImage;
  steps: number;
  rank: number;
  seed: number;
  timeoutMs: number;
}

/** One inference job: `seeds.length` images. */
export interface RenderWork {
  /** The LoRA file's bytes. */
  lora: Uint8Array;
  prompt: string;
  width: number;
  height: number;
  seeds: number[];
  loraScale: number;
  warp: number;
  timeoutMs: number;
}

/** Hears of steps that are done, as often as it suits whoever works. */
export type Progress = (step: number, total: number) => void;

/**
 * What a miner can do, whatever does it: the built-in engine, or a profile that wraps it. Long work ends early with the
 * signal's reason when `signal` aborts. Errors are for the orchestrator's eyes: they go into the manifest.
 */
export interface Craft {
  /** The bytes of a `.safetensors` file. */
  train(work: TrainingWork, signal: AbortSignal, progress?: Progress): Promise<Uint8Array>;
  /** One image per seed, in order. */
  render(work: RenderWork, signal: AbortSignal, progress?: Progress): Promise<RgbImage[]>;
  /** The bytes of the image file that is handed in. */
  encode(image: RgbImage): Promise<Uint8Array>;
}
