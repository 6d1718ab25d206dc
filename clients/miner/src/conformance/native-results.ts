/** What comes out: real jobs, by reply and by callback, and what their files are. */
import { createHash } from 'node:crypto';
import { adapterFormat, adapterShapes } from '@studio/shared/domain/adapter-format';
import type { JobKind } from '@studio/shared/domain/job';
import { taskKind } from '@studio/shared/domain/task-kinds';
import type { MinerInferenceInput, MinerTrainingInput } from '@studio/shared/contract/miner-job';
import { LORA_PART, imagePart } from '@studio/shared/contract/miner-job';
import { type SafetensorsFile, readSafetensors, tensorHash } from '@studio/shared/protocol/safetensors';
import { verifyRequest } from '@studio/shared/protocol/signatures';
import sharp from 'sharp';
import { render, train } from '../engine-worker';
import { type Check, Failure, Skip, demand } from './check';
import { demandSigned } from './native-admission';
import { type JobResult, type NativeProbe, type TestJob, names } from './native-probe';
import { type Variant, photo, testJob } from './test-jobs';

/** Slower earns nothing (policy: 90 % of the timeout). */
const LATEST_SHARE = 0.9;

interface Done extends JobResult {
  job: TestJob;
}

/** The result of a small job, each made once however many checks look at it. */
export async function smallResult(probe: NativeProbe, kind: JobKind, variant: Variant = 0, round = 0): Promise<Done> {
  await probe.offer(kind);
  return probe.once(`${kind}-${variant}-${round}`, async () => {
    const job = await testJob(probe, kind, { variant });
    return { job, ...(await probe.result(job)) };
  });
}

/** As `smallResult`, for checks that are not about whether there is one. */
export async function givenResult(probe: NativeProbe, kind: JobKind, variant: Variant = 0, round = 0): Promise<Done> {
  return smallResult(probe, kind, variant, round).catch((error: unknown) => {
    if (error instanceof Failure) throw new Skip(`there is no result to look at: see ${kind}`);
    throw error;
  });
}

function works(kind: JobKind, how: string): Check<NativeProbe> {
  return {
    name: kind,
    requirement: `A real, small ${kind} ends with a result: ${how}.`,
    async run(probe) {
      const { job, manifest, callback, tookMs } = await smallResult(probe, kind);
      demand(
        manifest.status === 'completed',
        `the manifest says ${manifest.status}: ${manifest.error ?? 'no reason'}`,
        "see the miner's log for this job; its inputs are at the URLs it was given",
      );
      const { job_id, attempt } = job.request;
      demand(
        manifest.job_id === job_id && manifest.attempt === attempt,
        `the manifest is of job ${manifest.job_id}, attempt ${manifest.attempt}`,
        'repeat job_id and attempt of the request',
      );
      return `${callback ? 'by callback' : 'in the reply'}, after ${tookMs} ms`;
    },
  };
}

const inTime: Check<NativeProbe> = {
  name: 'in-time',
  requirement: 'A small job takes less than 90 % of its time limit: what is slower earns nothing.',
  async run(probe) {
    const kinds = ['lora-training', 'lora-inference'] as const;
    const results = await Promise.all(kinds.map((kind) => givenResult(probe, kind).catch(() => undefined)));
    const done = results.filter((result) => result !== undefined);
    if (done.length === 0) throw new Skip('there is no result to look at');
    for (const { job, tookMs } of done) {
      const { kind, timeout_ms: limit } = job.request;
      demand(
        tookMs < LATEST_SHARE * limit,
        `${kind} took ${tookMs} of ${limit} ms`,
        'use a faster engine, or fewer slots',
      );
    }
  },
};

const acceptance: Check<NativeProbe> = {
  name: 'acceptance',
  requirement: '202 says {"accepted":true,"job_id","attempt"} and is signed.',
  async run(probe) {
    const { job, answer, callback } = await givenResult(probe, 'lora-training');
    if (!callback) throw new Skip('this miner answers trainings at once');
    const said = JSON.parse(answer.body.toString()) as Record<string, unknown>;
    const { job_id, attempt } = job.request;
    demand(
      said.accepted === true && said.job_id === job_id && said.attempt === attempt,
      JSON.stringify(said),
      `answer ${JSON.stringify({ accepted: true, job_id, attempt })}`,
    );
    demandSigned(probe, answer);
  },
};

const signedCallback: Check<NativeProbe> = {
  name: 'callback-signed',
  requirement: 'A callback carries x-callback-secret and is signed by the miner for the hotkey that sent the job.',
  async run(probe) {
    const { job, callback } = await givenResult(probe, 'lora-training');
    if (!callback) throw new Skip('this miner answers trainings at once');
    demand(
      callback.headers['x-callback-secret'] === job.awaited.secret,
      'the secret is missing or another',
      'send callback.secret in the header x-callback-secret',
    );
    const { address } = probe.target.hotkey;
    const verdict = verifyRequest({ ...callback, nowMs: callback.atMs, recipient: address });
    if (!verdict.ok) {
      throw new Failure(
        verdict.message,
        'sign POST|path|sha256hex(body)|timestamp|nonce|recipient, afresh for every try',
      );
    }
    demand(verdict.hotkey === address, `it is signed by ${verdict.hotkey}`, `sign with the miner's hotkey, ${address}`);
  },
};

const signedResult: Check<NativeProbe> = {
  name: 'result-signed',
  requirement: 'A 200 is signed over exactly the bytes of its body: that is the receipt.',
  async run(probe) {
    const { answer, callback } = await givenResult(probe, 'lora-inference');
    if (callback) throw new Skip('this miner answers inference by callback');
    demandSigned(probe, answer);
  },
};

const partNames: Check<NativeProbe> = {
  name: 'part-names',
  requirement: 'After the manifest come the files: `lora`, or `image_0`, `image_1`, …, and the manifest lists them.',
  async run(probe) {
    for (const [kind, expected] of [
      ['lora-training', [LORA_PART]],
      ['lora-inference', [imagePart(0), imagePart(1)]],
    ] as const) {
      const done = await givenResult(probe, kind).catch(() => undefined);
      if (!done) continue;
      const right = names(done.files) === expected.join(', ') && String(done.manifest.files) === String(expected);
      const seen = `${kind} has the parts ${names(done.files)}, and its manifest lists ${String(done.manifest.files)}`;
      demand(right, seen, `name them ${expected.join(', ')}`);
    }
  },
};

const loraValid: Check<NativeProbe> = {
  name: 'lora-valid',
  requirement:
    'A trained LoRA is a .safetensors file with the tensors that its engine publishes, of the rank asked for.',
  async run(probe) {
    const { job, files } = await givenResult(probe, 'lora-training');
    const lora = readLora(files.get(LORA_PART));
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
      const facts = await sharp(file)
        .metadata()
        .catch(() => undefined);
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
      const { job, files } = await givenResult(probe, 'lora-training', variant);
      requireExact(job);
      const { resolution, steps, rank, seed } = job.request.input as MinerTrainingInput;
      const own = await train({ image: photo(resolution, variant), steps, rank, seed, timeoutMs: 1 });
      demand(
        hashOf(readLora(files.get(LORA_PART))) === hashOf(readSafetensors(own)),
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
      const lora = await probe.once<Buffer>('lora', () => Promise.reject(new Skip("the LoRA is not the suite's own")));
      const seeds = Array.from({ length: count }, (_, i) => seed + i);
      const own = render({ ...input, lora, seeds, loraScale, timeoutMs: 1 });
      for (const [i, { rgb }] of own.entries()) {
        const pixels = await pixelsOf(files.get(imagePart(i)));
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
    if (kind === 'lora-training') return hashOf(readLora(done.files.get(LORA_PART)));
    return (await Promise.all([...done.files.values()].map(pixelsOf))).join();
  } catch {
    return undefined;
  }
}

function requireExact({ request: { kind, engine } }: TestJob): void {
  if (engine !== 'ref-sep-v1') throw new Skip(`the suite cannot compute ${kind} on ${engine}`);
}

function readLora(file: Buffer | undefined): SafetensorsFile {
  if (!file) throw new Skip('there is no part `lora`: see part-names');
  try {
    return readSafetensors(file);
  } catch (error) {
    throw new Failure(
      `the LoRA cannot be read: ${error instanceof Error ? error.message : String(error)}`,
      'write a .safetensors file without gaps',
    );
  }
}

function hashOf({ tensors }: SafetensorsFile): string {
  return tensorHash(tensors);
}

/** PNG bytes differ between builds of zlib; the pixels do not. */
async function pixelsOf(file: Buffer | undefined): Promise<string> {
  if (!file) throw new Skip('an image is missing: see part-names');
  const pixels = await sharp(file)
    .removeAlpha()
    .toColourspace('srgb')
    .raw()
    .toBuffer()
    .catch(() => undefined);
  if (!pixels) throw new Skip('an image cannot be read: see png-size');
  return sha256(pixels);
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export const RESULT_CHECKS: readonly Check<NativeProbe>[] = [
  works('lora-inference', '200 with the images, or 202 and a callback'),
  works('lora-training', '200 with the LoRA, or 202 and a callback'),
  inTime,
  acceptance,
  signedCallback,
  signedResult,
  partNames,
  loraValid,
  pngExact,
  loraExact,
  imageExact,
  deterministic,
];
