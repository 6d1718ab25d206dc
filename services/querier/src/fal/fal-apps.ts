/**
 * fal's LoRA apps as jobs of ours: what is asked becomes a request in our words, and a result becomes the output that fal's
 * clients read. The same shapes on two engines: `fal-ai/…` are GPUs', `studio/…` need none.
 */
import type { FileView, ImageView } from '@studio/shared/contract/job-view';
import { refusal, validated } from '@studio/shared/contract/validated';
import { isStudioError, StudioError } from '@studio/shared/domain/errors';
import type { Engine, InferenceInput, JobKind, Presentation, TrainingInput } from '@studio/shared/domain/job';
import type { ArtifactStore } from '@studio/shared/platform/artifacts';
import type { StoredJob } from '../job.store';
import type { JobViews } from '../job-view';
import { inlined } from '../pictures';
import { FalInference, FalSize, FalTraining } from './fal-requests';

export interface FalApp {
  /** `owner/alias`. */
  id: string;
  kind: JobKind;
  engine: Engine;
}

const APPS: readonly FalApp[] = [
  { id: 'studio/lora-fast-training', kind: 'lora-training', engine: 'ref-sep-v1' },
  { id: 'studio/lora', kind: 'lora-inference', engine: 'ref-sep-v1' },
  { id: 'fal-ai/flux-lora-fast-training', kind: 'lora-training', engine: 'flux' },
  { id: 'fal-ai/flux-lora', kind: 'lora-inference', engine: 'flux' },
];

/** fal's names, width × height. */
export const IMAGE_SIZES: Readonly<Record<string, readonly [width: number, height: number]>> = {
  square_hd: [1_024, 1_024],
  square: [512, 512],
  portrait_4_3: [768, 1_024],
  portrait_16_9: [576, 1_024],
  landscape_4_3: [1_024, 768],
  landscape_16_9: [1_024, 576],
};
const DEFAULT_SIZE = 'landscape_4_3';

/** @throws StudioError NOT_FOUND */
export function findApp(owner: string, alias: string): FalApp {
  const id = `${owner}/${alias}`;
  const app = APPS.find((candidate) => candidate.id === id);
  if (app) return app;
  throw new StudioError('NOT_FOUND', `there is no app ${id}: choose one of ${APPS.map((each) => each.id).join(', ')}`);
}

/** The app's input in our words (`SubmitJobBody`). @throws StudioError INVALID_INPUT with fal's names of the fields. */
export function toRequest({ kind, engine }: FalApp, body: unknown): object {
  return { kind, engine, input: kind === 'lora-training' ? trainingOf(body) : inferenceOf(body) };
}

/** How the client wants its images; fal's default is JPEG. */
export function presentationOf({ kind }: FalApp, body: unknown): Presentation {
  if (kind === 'lora-training') return {};
  const { output_format = 'jpeg', sync_mode = false } = validated(FalInference, body, '', 'drop');
  return { ...(output_format === 'jpeg' && { format: 'jpeg' }), ...(sync_mode && { inline: true }) };
}

function trainingOf(body: unknown): object {
  const { images_data_url, steps, seed } = validated(FalTraining, body, '', 'drop');
  return { image_url: images_data_url, steps, seed };
}

function inferenceOf(body: unknown): object {
  const { prompt, image_size, num_images, seed, loras } = validated(FalInference, body, '', 'drop');
  const [lora] = loras;
  return { prompt, ...sizeOf(image_size), num_images, seed, lora_url: lora?.path, lora_scale: lora?.scale };
}

function sizeOf(asked: unknown = DEFAULT_SIZE): { width: number; height: number } {
  if (typeof asked === 'object') {
    const { width, height } = validated(FalSize, asked, 'image_size', 'drop');
    return { width, height };
  }
  const size = typeof asked === 'string' ? IMAGE_SIZES[asked] : undefined;
  if (size) return { width: size[0], height: size[1] };
  const names = Object.keys(IMAGE_SIZES).join(', ');
  throw refusal([{ path: 'image_size', message: `has to be one of ${names}, or an object with width and height` }]);
}

/** Our names of fields → fal's. */
const FAL_NAMES: Readonly<Record<string, string>> = {
  image_url: 'images_data_url',
  lora_url: 'loras.0.path',
  lora_scale: 'loras.0.scale',
  width: 'image_size.width',
  height: 'image_size.height',
  webhook_url: 'fal_webhook',
};

/** The same refusal about the fields that the client knows. */
export function inFalNames(error: unknown): unknown {
  if (!isStudioError(error) || error.fields.length === 0) return error;
  const fields = error.fields.map(({ path, message }) => {
    const own = path.replace(/^input\./, '');
    return { path: FAL_NAMES[own] ?? own, message };
  });
  const message = fields.map((field) => `${field.path}: ${field.message}`).join('; ');
  return new StudioError(error.code, message, fields, { cause: error });
}

/** What the app gives. @throws StudioError as JobViews.result. */
export async function outputOf(job: StoredJob, views: JobViews, store: ArtifactStore): Promise<object> {
  const { lora, images = [], seed } = views.result(job);
  if (lora) return { diffusers_lora_file: fileOf(lora), config_file: configOf(job.input as TrainingInput) };
  return {
    images: await Promise.all(images.map((image) => imageOf(image, job.presentation ?? {}, store))),
    timings: { inference: inferenceSeconds(job) ?? 0 },
    seed,
    has_nsfw_concepts: images.map(() => false),
    prompt: (job.input as InferenceInput).prompt,
  };
}

/** What the accepted miner took; null until there is one. */
export function inferenceSeconds({ attempts }: StoredJob): number | null {
  const us = attempts.find(({ state }) => state === 'accepted')?.rawUs ?? null;
  return us === null ? null : us / 1_000_000;
}

const EXTENSIONS: Readonly<Record<string, string>> = { 'image/png': 'png', 'image/jpeg': 'jpg', 'image/webp': 'webp' };

function fileOf({ url, sha256, content_type, file_size }: FileView): object {
  const extension = EXTENSIONS[content_type] ?? 'safetensors';
  return { url, content_type, file_name: `${sha256.slice(0, 16)}.${extension}`, file_size };
}

async function imageOf(
  { width, height, ...file }: ImageView,
  form: Presentation,
  store: ArtifactStore,
): Promise<object> {
  const type = form.format === 'jpeg' ? { content_type: 'image/jpeg' } : {};
  const about = { ...fileOf({ ...file, ...type }), width, height };
  if (form.inline) return { ...about, url: await inlined(store, file.sha256, form), file_size: null };
  // How long a JPEG is shows when somebody asks for it.
  return form.format === 'jpeg' ? { ...about, url: `${file.url}&as=jpeg`, file_size: null } : about;
}

/** Small enough to be its own link. */
function configOf({ resolution, steps, rank, seed }: TrainingInput): object {
  const text = JSON.stringify({ resolution, steps, rank, seed });
  return {
    url: `data:application/json;base64,${Buffer.from(text).toString('base64')}`,
    content_type: 'application/json',
    file_name: 'config.json',
    file_size: Buffer.byteLength(text),
  };
}
