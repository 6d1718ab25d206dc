import { MessageChannel } from 'node:worker_threads';
import { Piscina } from 'piscina';
import sharp from 'sharp';
import type { RgbImage } from '@studio/ref-sep/image';
import type { Craft, Progress, RenderWork, TrainingWork } from './craft';

/** A thread that stands idle this long gives its memory (about 12 MB) back. */
const IDLE_MS = 10_000;

export interface EngineThreads {
  /** The compiled `engine-worker`. */
  filename: string;
  maxThreads: number;
  /** Flags for Node in the threads: tests load TypeScript. */
  execArgv?: string[];
}

/**
 * `ref-sep-v1`, honestly. Computing happens in threads, so that the miner answers health, capacity and 429 while it
 * trains; an aborted job's thread is ended and replaced.
 */
export class RefSepCraft implements Craft {
  private readonly threads: Piscina;

  constructor({ filename, maxThreads, execArgv }: EngineThreads) {
    this.threads = new Piscina({
      filename,
      // Loaded before the first task; without a name a default export would be looked for.
      name: 'train' satisfies keyof typeof import('./engine-worker'),
      minThreads: 1,
      maxThreads,
      idleTimeout: IDLE_MS,
      ...(execArgv && { execArgv }),
    });
  }

  async train(work: TrainingWork, signal: AbortSignal, progress?: Progress): Promise<Uint8Array> {
    const { port1: told, port2: tell } = new MessageChannel();
    told.on('message', ({ step, total }: { step: number; total: number }) => progress?.(step, total));
    try {
      const task = { work, tell };
      return (await this.threads.run(task, { name: 'trainTelling', signal, transferList: [tell] })) as Uint8Array;
    } finally {
      told.close();
    }
  }

  render(work: RenderWork, signal: AbortSignal): Promise<RgbImage[]> {
    return this.threads.run(work, { name: 'render', signal }) as Promise<RgbImage[]>;
  }

  encode(image: RgbImage): Promise<Uint8Array> {
    return encodePng(image);
  }

  /** Ends every thread at once; jobs in them are lost. */
  async close(): Promise<void> {
    await this.threads.destroy();
  }
}

/** PNG bytes differ between builds of zlib, the decoded pixels do not: audits compare those. */
export function encodePng({ rgb, width, height }: RgbImage): Promise<Uint8Array> {
  return sharp(rgb, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}

/** Decodes an image and demands its exact size. @throws Error naming what is wrong. */
export async function decodeRgb(file: Uint8Array, side: number): Promise<RgbImage> {
  const decoder = sharp(file, { limitInputPixels: side * side, failOn: 'warning' });
  const { data, info } = await decoder.removeAlpha().toColourspace('srgb').raw().toBuffer({ resolveWithObject: true });
  if (info.width !== side || info.height !== side || info.channels !== 3) {
    throw new Error(
      `the image is ${info.width}×${info.height} with ${info.channels} channels, not ${side}×${side} RGB`,
    );
  }
  return { rgb: data, width: side, height: side };
}
