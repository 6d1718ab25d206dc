import type { RgbImage } from '@studio/ref-sep/image';
import type { Craft, Progress, RenderWork, TrainingWork } from '../craft';
import { encodePng } from '../ref-sep-craft';
import { type Size, decodeExact } from './exact-image';
import { type LinkedAbort, linkJob } from './linked-abort';
import type { LoraFolder, PlacedLora } from './lora-folder';

/** One picture that a server is asked for. */
export interface Drawing extends Size {
  prompt: string;
  seed: number;
  lora: PlacedLora;
  loraScale: number;
  warp: number;
}

/** How it draws, whatever it draws: the operator's choice. */
export interface DrawingSettings {
  steps: number;
  guidance: number;
}

/** A program that draws behind HTTP: ComfyUI, or Automatic1111 and what speaks like it. */
export interface ImageServer {
  readonly name: string;
  /** @throws Error where it does not answer, or is another program. */
  greet(): Promise<void>;
  /**
   * The bytes of an image file of exactly that size. When `signal` aborts it stops the server's work on this drawing,
   * and on no other, before it throws the signal's reason: the slot that becomes free is really free.
   */
  draw(drawing: Drawing, signal: AbortSignal): Promise<Uint8Array>;
}

/** What `greet` waits for: a miner that starts with its image server away should not start late. */
export const GREET_MS = 3_000;

/** Flux packs 2 × 2 latent pixels of 8 × 8: what is not a multiple would come back smaller. */
const SIZE_STEP = 16;

/**
 * `flux` on the operator's image server.
 *
 * - One request per image: image i is drawn with seed + i, as alone as every other. What a batch makes of its later
 *   images differs between servers.
 * - A side that is not a multiple of 16 is drawn with the next one and cut to size around the middle.
 * - The picture is decoded and encoded anew: a server writes its workflow, with the operator's folders, into its files.
 *
 * Training is refused unless a trainer stands beside it.
 */
export class HttpCraft implements Craft {
  constructor(
    private readonly server: ImageServer,
    private readonly loras: LoraFolder,
    private readonly trainer?: Craft,
  ) {}

  train(work: TrainingWork, signal: AbortSignal, progress?: Progress): Promise<Uint8Array> {
    if (this.trainer) return this.trainer.train(work, signal, progress);
    return Promise.reject(new Error('this miner does not train: set MINER_COMMAND_TRAIN to the program that does'));
  }

  async render(work: RenderWork, signal: AbortSignal): Promise<RgbImage[]> {
    const end = linkJob(signal, work.timeoutMs);
    try {
      return await this.loras.use(work.lora, (lora) => this.images(work, lora, end));
    } finally {
      end.release();
    }
  }

  encode(image: RgbImage): Promise<Uint8Array> {
    return encodePng(image);
  }

  /** All or none: the first that fails ends the others. Returns when none of them needs the LoRA any more. */
  private async images(work: RenderWork, lora: PlacedLora, end: LinkedAbort): Promise<RgbImage[]> {
    const images = work.seeds.map((seed) => this.image(work, lora, seed, end.signal));
    for (const image of images) image.catch((error: unknown) => end.abort(error));
    await Promise.allSettled(images);
    end.signal.throwIfAborted();
    return Promise.all(images);
  }

  private async image(work: RenderWork, lora: PlacedLora, seed: number, signal: AbortSignal): Promise<RgbImage> {
    const { prompt, loraScale, warp, width, height } = work;
    const drawn = { width: roundUp(width), height: roundUp(height) };
    const file = await this.server.draw({ prompt, seed, lora, loraScale, warp, ...drawn }, signal);
    return decodeExact(file, drawn, { width, height }, this.server.name);
  }
}

function roundUp(side: number): number {
  return Math.ceil(side / SIZE_STEP) * SIZE_STEP;
}
