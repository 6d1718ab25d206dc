/**
 * What a program of the operator's (MINER_ENGINE=command) has to do:
 *
 * - It reads one `CommandJob` as JSON on stdin, until the end of the input.
 * - It writes the files that `output` names. All paths are absolute and lie in a folder that was made for this job, which
 *   is also `JOB_WORK_DIR` and `TMPDIR`, and which is removed afterwards.
 * - It exits with 0. Any other exit is a failed attempt; the last line of its stderr says why, to the operator in the
 *   miner's log and to the orchestrator in the result.
 * - Lines `progress 120/300` on its stdout go to the client and into the log (level debug); others are ignored.
 * - When the job is cancelled or its time is over it gets SIGTERM, and MINER_COMMAND_GRACE_MS later SIGKILL, together
 *   with everything that it started. What it started and left behind is ended when it exits.
 * - It runs in the folder in which the miner was started, without a shell, once per job, as many at a time as there are
 *   slots, and sees of the environment what a trainer needs (`env.ts`), not the miner's key.
 */
import type { Engine } from '@studio/shared/domain/job';

export const IMAGE_INPUT = 'image.png';
export const LORA_FILE = 'lora.safetensors';
/** In the order of the seeds. */
export const imageFile = (index: number): string => `image_${index}.png`;

interface AnyCommandJob {
  version: 1;
  engine: Engine;
  /** From the beginning of the job; a later result is worth nothing. */
  timeout_ms: number;
}

export interface CommandTraining extends AnyCommandJob {
  kind: 'lora-training';
  /** `image`: a PNG of `resolution` × `resolution` RGB pixels. `seed`: 0 to 2³² − 1. */
  input: { image: string; resolution: number; steps: number; rank: number; seed: number };
  /** A `.safetensors` file. */
  output: { lora: string };
}

export interface CommandRendering extends AnyCommandJob {
  kind: 'lora-inference';
  /** Image i is made with seeds[i], and has exactly `width` × `height` pixels. */
  input: {
    lora: string;
    prompt: string;
    width: number;
    height: number;
    seeds: number[];
    lora_scale: number;
    warp: number;
  };
  /** PNG, JPEG or WebP files; PNG loses nothing. */
  output: { images: string[] };
}

export type CommandJob = CommandTraining | CommandRendering;
