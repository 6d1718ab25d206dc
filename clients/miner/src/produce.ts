import type { Craft, Progress } from './craft';
import type { Inputs } from './inputs';
import type { JobRequest } from './job-request';
import { decodeRgb } from './ref-sep-craft';
import type { Produce } from './result-form';

const TWO_TO_32 = 2 ** 32;

/** Fetches what the job needs and lets the craft do it. @throws whatever went wrong, or the signal's reason. */
export async function produce(
  request: JobRequest,
  craft: Craft,
  inputs: Inputs,
  signal: AbortSignal,
  progress: Progress,
): Promise<Produce> {
  const timeoutMs = request.timeout_ms;
  if (request.kind === 'lora-training') {
    const { image, resolution, steps, rank, seed } = request.input;
    const photo = await decodeRgb(await inputs.load(image, signal), resolution);
    const trained = await craft.train({ image: photo, steps, rank, seed, timeoutMs }, signal, progress);
    await inputs.keep(trained);
    return { lora: trained };
  }
  const { lora: file, prompt, width, height, seed, lora_scale: loraScale, warp, num_images: count } = request.input;
  const lora = await inputs.load(file, signal);
  const seeds = Array.from({ length: count }, (_, i) => (seed + i) % TWO_TO_32);
  const work = { lora, prompt, width, height, seeds, loraScale, warp, timeoutMs };
  const images = await craft.render(work, signal, progress);
  return { images: await Promise.all(images.map((image) => craft.encode(image))) };
}
