/** What runs in an engine thread: pure computing, no input or output. */
import { adapterFromTensors, adapterToTensors } from '@studio/ref-sep/adapter-tensors';
import type { RgbImage } from '@studio/ref-sep/image';
import { renderImage } from '@studio/ref-sep/render';
import { trainAdapter } from '@studio/ref-sep/train';
import { readSafetensors, writeSafetensors } from '@studio/shared/protocol/safetensors';
import type { RenderWork, TrainingWork } from './craft';

export async function train({ image, steps, rank, seed }: TrainingWork): Promise<Uint8Array> {
  const { tensors, metadata } = adapterToTensors(await trainAdapter({ ...image, steps, rank, seed }));
  return writeSafetensors(tensors, metadata);
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
