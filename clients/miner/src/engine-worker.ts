/** What runs in an engine thread: pure computing, no input or output. */
import { adapterFromTensors, adapterToTensors } from '@studio/ref-sep/adapter-tensors';
import type { RgbImage } from '@studio/ref-sep/image';
import { renderImage } from '@studio/ref-sep/render';
import { trainAdapter } from '@studio/ref-sep/train';
import { readSafetensors, writeSafetensors } from '@studio/shared/protocol/safetensors';
import type { MessagePort } from 'node:worker_threads';
import type { Progress, RenderWork, TrainingWork } from './craft';

/** Steps take milliseconds: people read one line a second. */
const TELL_MS = 500;

export async function train({ image, steps, rank, seed }: TrainingWork, onStep?: Progress): Promise<Uint8Array> {
  const { tensors, metadata } = adapterToTensors(await trainAdapter({ ...image, steps, rank, seed }, onStep));
  return writeSafetensors(tensors, metadata);
}

/** The same, saying now and then how far it is. */
export function trainTelling({ work, tell }: { work: TrainingWork; tell: MessagePort }): Promise<Uint8Array> {
  let toldMs = performance.now();
  return train(work, (step, total) => {
    if (performance.now() - toldMs < TELL_MS) return;
    toldMs = performance.now();
    tell.postMessage({ step, total });
  });
}

export function render(work: RenderWork): RgbImage[] {
  const adapter = adapterFromTensors(readSafetensors(work.lora));
  const { prompt, width, height, loraScale: scale, warp } = work;
  return work.seeds.map((seed) => ({
    rgb: renderImage({ adapter, prompt, width, height, scale, warp, seed }),
    width,
    height,
  }));
}
