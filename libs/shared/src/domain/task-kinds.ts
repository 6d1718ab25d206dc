/**
 * Task kinds as data: one entry per (kind, engine). Adding an engine touches this file only.
 * Read by the submit controller (limits), the worker (timeout), the checks (what a result must be) and the auditor (comparator).
 */
import type { Engine, InferenceInput, JobInput, JobKind, TrainingInput } from './job';

/**
 * How two results of one job are compared. `exact`: bits. `perceptual`: pictures that are not bit-equal across machines.
 * `functional`: adapters that are not, by what a trusted engine renders with them.
 */
export type Comparator = 'exact' | 'perceptual' | 'functional';

export interface TaskKind {
  kind: JobKind;
  engine: Engine;
  /** Points of one job at zero latency, in millionths: 0.7 for training, 0.3 for inference (seed §3.1). */
  weightMicro: number;
  comparator: Comparator;
  /** What a valid result is made of. */
  artifact: 'lora' | 'images';
  limits: TaskLimits;
  /** T_max: the longest a miner may take for this input, in milliseconds. */
  timeoutMs(input: JobInput): number;
}

/** Inclusive bounds that a submitted input must keep. */
export interface TaskLimits {
  resolution: [min: number, max: number];
  steps: [min: number, max: number];
  rank: [min: number, max: number];
  side: [min: number, max: number];
  numImages: [min: number, max: number];
}

const TRAINING_WEIGHT_MICRO = 700_000;
const INFERENCE_WEIGHT_MICRO = 300_000;

/** One core trains 300 steps at 64² in about 3 s; the bounds keep the longest reference job under ten minutes. */
const REF_SEP_LIMITS: TaskLimits = {
  resolution: [16, 256],
  steps: [1, 2_000],
  rank: [1, 32],
  side: [16, 1_024],
  numImages: [1, 4],
};

/** fal's bounds for flux-lora and flux-lora-fast-training, so that its clients' inputs fit. */
const FLUX_LIMITS: TaskLimits = {
  resolution: [256, 1_024],
  steps: [1, 10_000],
  rank: [1, 128],
  side: [64, 2_048],
  numImages: [1, 4],
};

const REF_SEP_BASE_MS = 10_000;
const REF_SEP_STEP_PIXEL_MS = 0.025;

export const TASK_KINDS: readonly TaskKind[] = [
  {
    kind: 'lora-training',
    engine: 'ref-sep-v1',
    weightMicro: TRAINING_WEIGHT_MICRO,
    comparator: 'exact',
    artifact: 'lora',
    limits: REF_SEP_LIMITS,
    timeoutMs: (input) => {
      const { steps, resolution } = input as TrainingInput;
      return REF_SEP_BASE_MS + Math.ceil(REF_SEP_STEP_PIXEL_MS * steps * resolution * resolution);
    },
  },
  {
    kind: 'lora-inference',
    engine: 'ref-sep-v1',
    weightMicro: INFERENCE_WEIGHT_MICRO,
    comparator: 'exact',
    artifact: 'images',
    limits: REF_SEP_LIMITS,
    timeoutMs: (input) => REF_SEP_BASE_MS * (input as InferenceInput).numImages,
  },
  {
    kind: 'lora-training',
    engine: 'flux',
    weightMicro: TRAINING_WEIGHT_MICRO,
    comparator: 'functional',
    artifact: 'lora',
    limits: FLUX_LIMITS,
    timeoutMs: () => 600_000,
  },
  {
    kind: 'lora-inference',
    engine: 'flux',
    weightMicro: INFERENCE_WEIGHT_MICRO,
    comparator: 'perceptual',
    artifact: 'images',
    limits: FLUX_LIMITS,
    timeoutMs: () => 60_000,
  },
];

export const JOB_KINDS: readonly JobKind[] = ['lora-training', 'lora-inference'];
export const ENGINES: readonly Engine[] = ['ref-sep-v1', 'flux'];

/** The entry for (kind, engine), or undefined where that engine does not do that kind. */
export function findTaskKind(kind: string, engine: string): TaskKind | undefined {
  return TASK_KINDS.find((task) => task.kind === kind && task.engine === engine);
}

/** As `findTaskKind`, for rows that were validated when they were stored. */
export function taskKind(kind: JobKind, engine: Engine): TaskKind {
  const found = findTaskKind(kind, engine);
  if (!found) throw new RangeError(`no task kind ${kind} on ${engine}`);
  return found;
}

/** Longest total life of a job: three attempts' worth (architecture.md, policy defaults). */
export const DEADLINE_TIMEOUTS = 3;
