/** One of our inferences in the words of a Dippy Studio miner. Pure: the same attempt always gives the same words. */
import { createHmac } from 'node:crypto';
import type { InferenceInput, JobInput, JobKind } from '@studio/shared/domain/job';

/** Body of `POST /inference`. */
export interface DippyRequest {
  prompt: string;
  lora_path: string;
  width: number;
  height: number;
  num_inference_steps: number;
  guidance_scale: number;
  seed: number;
  job_id: string;
  callback_url: string;
  callback_secret: string;
  /** ISO 8601 in UTC, as their request model reads it: after it, no callback is sent. */
  expiry: string;
}

export interface DippyRequestParts {
  input: InferenceInput;
  jobId: string;
  loraUrl: string;
  callbackUrl: string;
  callbackSecret: string;
  expiresAtMs: number;
}

/** What they use when nothing is said; said, so that another build's defaults change no picture. */
const STEPS = 28;
const GUIDANCE = 7.0;

/** They answer 422 outside of it. */
const SIDES = [64, 2_048] as const;

/** Our largest seed, and one that a generator of 32 bits still takes. */
const SEED_FOR_ZERO = 2 ** 32 - 1;

/**
 * One image, of a size they know, with the LoRA at full strength: they have a word neither for its strength nor for more
 * images. Bending (`warp`) is the reference engine's own and means nothing to a diffusion model.
 */
export function canBeDippy(kind: JobKind, input: JobInput): boolean {
  if (kind !== 'lora-inference') return false;
  const { numImages, width, height, loraScale } = input as InferenceInput;
  const [least, most] = SIDES;
  return numImages === 1 && loraScale === 1 && [width, height].every((side) => side >= least && side <= most);
}

export function dippyRequest(parts: DippyRequestParts): DippyRequest {
  const { prompt, width, height, seed } = parts.input;
  return {
    prompt,
    lora_path: parts.loraUrl,
    width,
    height,
    num_inference_steps: STEPS,
    guidance_scale: GUIDANCE,
    seed: dippySeed(seed),
    job_id: parts.jobId,
    callback_url: parts.callbackUrl,
    callback_secret: parts.callbackSecret,
    expiry: new Date(parts.expiresAtMs).toISOString(),
  };
}

/**
 * Zero becomes 42 with them, like a seed that is left out, so it is sent as 2³² − 1; every other seed is itself. Seed 0
 * then looks like seed 2³² − 1, which takes nothing from anybody: whoever renders such a job again uses this rule too.
 */
export function dippySeed(seed: number): number {
  return seed === 0 ? SEED_FOR_ZERO : seed;
}

/**
 * Fresh for each attempt, because a used id gets the old file from them, and the same for each send of one attempt, so
 * that a repetition meets the running job (409) or its file. Derived (a UUID of version 8), so that nothing is stored and
 * nobody can guess another attempt's.
 */
export function dippyJobId(urlSecret: string, jobId: string, attemptNo: number): string {
  const bytes = createHmac('sha256', urlSecret).update(`dippy|${jobId}|${attemptNo}`).digest().subarray(0, 16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x80;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
