/** What a client sent becomes the complete input of a job: limits kept, defaults filled in, files resolved to artifacts. */
import { InferenceRequest, MAX_SEED, SubmitJobBody, TrainingRequest } from '@studio/shared/contract/submit-job';
import { refusal, validated } from '@studio/shared/contract/validated';
import { StudioError, type ErrorCode, type FieldProblem } from '@studio/shared/domain/errors';
import type { Engine, ImageRef, JobInput, LoraRef } from '@studio/shared/domain/job';
import { findTaskKind, TASK_KINDS, type TaskKind } from '@studio/shared/domain/task-kinds';
import { randomInt } from 'node:crypto';
import { isStorable } from './sql';

/** Used where the client leaves a field out; documented at /docs. */
export const DEFAULTS: Record<Engine, { resolution: number; steps: number; rank: number; side: number }> = {
  // The size at which one core trains in about three seconds, and renders at the training size.
  'ref-sep-v1': { resolution: 64, steps: 300, rank: 16, side: 64 },
  // fal's flux-lora-fast-training and flux-lora.
  flux: { resolution: 512, steps: 1_000, rank: 16, side: 1_024 },
};
const DEFAULT_LORA_SCALE = 1;
/** Enough for different seeds to give visibly different pictures, too little to lose the subject. */
const DEFAULT_WARP = 0.25;
const DEFAULT_NUM_IMAGES = 1;

/** Turns the files that a request names into stored, checked artifacts. */
export interface InputFiles {
  /** @throws StudioError IMAGE_UNREADABLE, UNSUPPORTED_URL, URL_EXPIRED, NOT_FOUND naming `path` */
  image(url: string, resolution: number, path: string): Promise<ImageRef>;
  /** @throws StudioError LORA_UNREADABLE, UNSUPPORTED_URL, URL_EXPIRED, NOT_FOUND naming `path` */
  lora(url: string, engine: Engine, path: string): Promise<LoraRef>;
  /** The same for a LoRA that is named by its SHA-256. @throws StudioError LORA_UNREADABLE, NOT_FOUND naming `path` */
  storedLora(sha256: string, engine: Engine, path: string): Promise<LoraRef>;
  /** The file of an input that is asked for again is in use again. */
  keep(input: JobInput): Promise<void>;
}

/** A request whose every field is known to be right; only its files are still to be looked at. */
export interface JobPlan {
  task: TaskKind;
  /** Audited by references only. */
  private: boolean;
  deadlineS: number | null;
  startDeadlineS: number | null;
  /** As the client wrote it. */
  webhookUrl: string | undefined;
  resolve(files: InputFiles): Promise<JobInput>;
}

/** @throws StudioError INVALID_INPUT, UNKNOWN_KIND */
export function planJob(body: unknown): JobPlan {
  const { kind, engine, input, private: isPrivate = false, ...more } = validated(SubmitJobBody, body);
  const task = findTaskKind(kind, engine);
  if (!task) {
    const known = TASK_KINDS.map((item) => `${item.kind} on ${item.engine}`).join(', ');
    throw fieldError('UNKNOWN_KIND', 'kind', `${kind} does not exist on ${engine}: choose one of ${known}`);
  }
  const plan =
    kind === 'lora-training'
      ? planTraining(task, validated(TrainingRequest, input, 'input'))
      : planInference(task, validated(InferenceRequest, input, 'input'));
  const { deadline_s: deadlineS = null, start_deadline_s: startDeadlineS = null, webhook_url: webhookUrl } = more;
  return { task, private: isPrivate, deadlineS, startDeadlineS, webhookUrl, ...plan };
}

function planTraining(task: TaskKind, request: TrainingRequest): Pick<JobPlan, 'resolve'> {
  const defaults = DEFAULTS[task.engine];
  const { resolution = defaults.resolution, steps = defaults.steps, rank = defaults.rank } = request;
  const seed = request.seed ?? randomSeed();
  assertInput(rangeProblems(task, { resolution, steps, rank }));
  const resolve = async (files: InputFiles): Promise<JobInput> => {
    const image = await files.image(request.image_url, resolution, 'input.image_url');
    return { image, resolution, steps, rank, seed };
  };
  return { resolve };
}

function planInference(task: TaskKind, request: InferenceRequest): Pick<JobPlan, 'resolve'> {
  const defaults = DEFAULTS[task.engine];
  const { prompt, width = defaults.side, height = defaults.side, num_images: numImages = DEFAULT_NUM_IMAGES } = request;
  const { lora_scale: loraScale = DEFAULT_LORA_SCALE, warp = DEFAULT_WARP } = request;
  const seed = request.seed ?? randomSeed();
  const text = isStorable(prompt)
    ? []
    : [{ path: 'input.prompt', message: 'has characters that are not text (NUL, half a surrogate pair): remove them' }];
  assertInput([...rangeProblems(task, { width, height, num_images: numImages }), ...text]);
  const resolve = async (files: InputFiles): Promise<JobInput> => {
    const lora = await files.lora(request.lora_url, task.engine, 'input.lora_url');
    return { lora, prompt, width, height, seed, loraScale, warp, numImages };
  };
  return { resolve };
}

const LIMIT_OF = { width: 'side', height: 'side', num_images: 'numImages' } as const;

function rangeProblems({ engine, limits }: TaskKind, values: Record<string, number>): FieldProblem[] {
  return Object.entries(values).flatMap(([field, value]) => {
    const limit = field in LIMIT_OF ? LIMIT_OF[field as keyof typeof LIMIT_OF] : field;
    const [min, max] = limits[limit as keyof typeof limits];
    if (value >= min && value <= max) return [];
    return [{ path: `input.${field}`, message: `is ${value}: ${engine} takes ${min} to ${max}` }];
  });
}

function assertInput(problems: FieldProblem[]): void {
  if (problems.length > 0) throw refusal(problems);
}

/** Drawn here and stored: a miner that picked its own could not be replayed. */
function randomSeed(): number {
  return randomInt(0, MAX_SEED + 1);
}

export function fieldError(code: ErrorCode, path: string, message: string): StudioError {
  return new StudioError(code, `${path}: ${message}`, [{ path, message }]);
}
