/** What is in the files of a result: whether they can be used, and whether they are what was asked for. */
import { createHash } from 'node:crypto';
import {
  LORA_PART,
  type MinerInferenceInput,
  type MinerTrainingInput,
  imagePart,
} from '@studio/shared/contract/miner-job';
import { adapterFormat, adapterShapes } from '@studio/shared/domain/adapter-format';
import type { JobKind } from '@studio/shared/domain/job';
import { taskKind } from '@studio/shared/domain/task-kinds';
import { type SafetensorsFile, readSafetensors, tensorHash } from '@studio/shared/protocol/safetensors';
import sharp from 'sharp';
import { render, train } from '../engine-worker';
import { type Check, Failure, Skip, demand } from './check';
import type { NativeProbe, TestJob } from './native-probe';
import { type Done, givenResult } from './native-results';
import { photo, testLora } from './test-jobs';

const loraValid: Check<NativeProbe> = {
  name: 'lora-valid',
  requirement:
    'A trained LoRA is a .safetensors file with the tensors that its engine publishes, of the rank asked for.',
  async run(probe) {
    const done = await givenResult(probe, 'lora-training');
    const lora = demandLora(done);
    const { job } = done;
    const format = adapterFormat(job.request.engine);
    if (!format) return `${lora.tensors.size} tensors (the suite knows no format of ${job.request.engine})`;
    const { rank } = job.request.input as MinerTrainingInput;
    for (const [name, shape] of adapterShapes(format, rank)) {
      const tensor = lora.tensors.get(name);
      const seen = `${name} is ${tensor ? `${tensor.dtype} ${tensor.shape.join('×')}` : 'missing'}`;
      const right = tensor?.dtype === format.dtype && String(tensor.shape) === String(shape);
      demand(right, seen, `write it as ${format.dtype} ${shape.join('×')}`);
      demand(
        tensor.data.every(Number.isFinite),
        `${name} holds numbers that are not finite`,
        'see that training converges',
      );
    }
    return `${lora.tensors.size} tensors`;
  },
};

const pngExact: Check<NativeProbe> = {
  name: 'png-size',
  requirement: 'An image is a PNG of exactly the width and height asked for.',
  async run(probe) {
    const { job, files } = await givenResult(probe, 'lora-inference');
    const { width, height } = job.request.input as MinerInferenceInput;
    for (const [name, file] of files) {
      demand(file.length > 0, `${name} has no bytes`, 'send the image as PNG');
      const decoder = sharp(file);
      const facts = await decoder.metadata().catch(() => undefined);
      const seen = facts ? `${name} is ${facts.format} ${facts.width}×${facts.height}` : `${name} is no image`;
      const right = facts?.format === 'png' && facts.width === width && facts.height === height;
      demand(right, seen, `render ${width}×${height} and send it as PNG`);
    }
  },
};

/** Training 0 and then 1: a miner that hands in an earlier LoRA is right once. */
const loraExact: Check<NativeProbe> = {
  name: 'lora-exact',
  requirement: 'On ref-sep-v1 a trained LoRA is equal, tensor by tensor, to what the published engine computes.',
  async run(probe) {
    for (const variant of [0, 1] as const) {
      const done = await givenResult(probe, 'lora-training', variant);
      const { job } = done;
      requireExact(job);
      const { resolution, steps, rank, seed } = job.request.input as MinerTrainingInput;
      const own = await train({ image: photo(resolution, variant), steps, rank, seed, timeoutMs: 1 });
      demand(
        hashOf(readableLora(done)) === hashOf(readSafetensors(own)),
        `training ${variant + 1} of 2 differs`,
        'train every job, with all its steps, from the image and the seed it names; audits repeat jobs and compare',
      );
    }
  },
};

const imageExact: Check<NativeProbe> = {
  name: 'image-exact',
  requirement: 'On ref-sep-v1 an image is equal, pixel by pixel, to what the published engine computes.',
  async run(probe) {
    for (const variant of [0, 1] as const) {
      const { job, files } = await givenResult(probe, 'lora-inference', variant);
      requireExact(job);
      const { lora_scale: loraScale, num_images: count, seed, ...input } = job.request.input as MinerInferenceInput;
      const lora = await testLora(probe, job.request.engine);
      const seeds = Array.from({ length: count }, (_, i) => seed + i);
      const own = render({ ...input, lora, seeds, loraScale, timeoutMs: 1 });
      for (const [i, { rgb }] of own.entries()) {
        const pixels = await pixelsOf(files.get(imagePart(i)), input);
        const change = 'render every image in full, with its own seed; audits repeat jobs and compare the pixels';
        demand(pixels === sha256(rgb), `image ${i} of job ${variant + 1} differs`, change);
      }
    }
  },
};

const deterministic: Check<NativeProbe> = {
  name: 'deterministic',
  requirement: 'The same job gives the same tensors and pixels again: audits of exact engines rest on it.',
  async run(probe) {
    let compared = 0;
    for (const kind of ['lora-training', 'lora-inference'] as const) {
      const [one, other] = [await trace(probe, kind, 0), await trace(probe, kind, 1)];
      if (one === undefined || other === undefined) continue;
      compared++;
      demand(one === other, `two equal ${kind} jobs gave different results`, 'fix every seed; no wall clock, no races');
    }
    if (compared === 0) throw new Skip('no two results of an exactly audited engine to compare');
  },
};

/** A hash of what matters in a result; undefined where its engine is not compared exactly, or it cannot be read. */
async function trace(probe: NativeProbe, kind: JobKind, round: number): Promise<string | undefined> {
  const done = await givenResult(probe, kind, 0, round).catch(() => undefined);
  if (!done || taskKind(kind, done.job.request.engine).comparator !== 'exact') return undefined;
  try {
    if (kind === 'lora-training') return hashOf(readLora(done));
    return (await Promise.all([...done.files.values()].map((file) => pixelsOf(file)))).join();
  } catch {
    return undefined;
  }
}

function requireExact({ request: { kind, engine } }: TestJob): void {
  if (engine !== 'ref-sep-v1') throw new Skip(`the suite cannot compute ${kind} on ${engine}`);
}

/** @throws Error where it is no .safetensors file. */
function readLora({ files }: Done): SafetensorsFile {
  const file = files.get(LORA_PART);
  if (!file) throw new Skip('there is no part `lora`: see part-names');
  return readSafetensors(file);
}

/** For checks that are not about whether it can be read. */
function readableLora(done: Done): SafetensorsFile {
  try {
    return readLora(done);
  } catch {
    throw new Skip('there is no LoRA to look at: see lora-valid');
  }
}

/** @throws Failure where it cannot be read. */
function demandLora(done: Done): SafetensorsFile {
  try {
    return readLora(done);
  } catch (error) {
    if (error instanceof Skip) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new Failure(`the LoRA cannot be read: ${why}`, 'write a .safetensors file without gaps');
  }
}

function hashOf({ tensors }: SafetensorsFile): string {
  return tensorHash(tensors);
}

/** PNG bytes differ between builds of zlib; the pixels do not. */
async function pixelsOf(file: Buffer | undefined, size?: { width: number; height: number }): Promise<string> {
  if (!file?.length) throw new Skip('an image is missing: see part-names and png-size');
  const raw = sharp(file).removeAlpha().toColourspace('srgb').raw();
  const pixels = await raw.toBuffer({ resolveWithObject: true }).catch(() => undefined);
  const fits = pixels && (!size || (pixels.info.width === size.width && pixels.info.height === size.height));
  if (!fits) throw new Skip('there is no image of the right size to look at: see png-size');
  return sha256(pixels.data);
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export const FILE_CHECKS: readonly Check<NativeProbe>[] = [loraValid, pngExact, loraExact, imageExact, deterministic];
