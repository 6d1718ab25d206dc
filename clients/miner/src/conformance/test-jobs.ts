/** The jobs of the suite: small ones that end at once, and long ones that hold a slot. */
import { randomUUID } from 'node:crypto';
import type { RgbImage } from '@studio/ref-sep/image';
import type { MinerInferenceInput, MinerTrainingInput } from '@studio/shared/contract/miner-job';
import type { Engine, JobInput, JobKind } from '@studio/shared/domain/job';
import { findTaskKind } from '@studio/shared/domain/task-kinds';
import { train } from '../engine-worker';
import { encodePng } from '../ref-sep-craft';
import { Skip } from './check';
import type { NativeProbe, TestJob } from './native-probe';

const SMALL_STEPS = 8;
const SMALL_RANK = 2;

/** Two of them differ: a miner that hands in an old result again is seen. */
export type Variant = 0 | 1;

export interface JobWishes {
  variant?: Variant;
  /** As large as the engine's limits allow. */
  long?: boolean;
  timeoutMs?: number;
  /** Over the input that would be sent. */
  input?: object;
  /** What the first callbacks are answered with. */
  statuses?: number[];
}

/** @throws Skip where the miner does not do this kind, or a LoRA is missing. */
export async function testJob(probe: NativeProbe, kind: JobKind, wishes: JobWishes = {}): Promise<TestJob> {
  const { engine } = await probe.offer(kind);
  const limits = findTaskKind(kind, engine);
  if (!limits) throw new Skip(`the suite does not know ${kind} on ${engine}`);
  const awaited = probe.listener.expect(wishes.statuses);
  const own =
    kind === 'lora-training' ? await trainingInput(probe, engine, wishes) : await inferenceInput(probe, engine, wishes);
  const input = { ...own, ...wishes.input };
  const most = limits.timeoutMs(asSubmitted(input));
  const timeout_ms = wishes.timeoutMs ?? Math.min(most, probe.target.patienceMs);
  const { url, secret } = awaited;
  const request = { job_id: randomUUID(), attempt: 1, kind, engine, input, timeout_ms, callback: { url, secret } };
  return { request, awaited };
}

/** What a timeout depends on, as clients name it. */
function asSubmitted(input: MinerTrainingInput | MinerInferenceInput): JobInput {
  return ('num_images' in input ? { ...input, numImages: input.num_images } : input) as unknown as JobInput;
}

export function photo(side: number, variant: Variant): RgbImage {
  const rgb = Uint8Array.from(
    { length: side * side * 3 },
    (_, i) => (i * (variant === 0 ? 7 : 3) + (i % 29) * 4) % 256,
  );
  return { rgb, width: side, height: side };
}

/** The LoRA of the suite's inference jobs: computed here where the engine is the built-in one, else the operator's. */
export async function testLora(probe: NativeProbe, engine: Engine): Promise<Buffer> {
  const { lora } = probe.target;
  if (lora) return lora;
  if (engine !== 'ref-sep-v1') throw new Skip(`inference on ${engine} needs a LoRA: give one with --lora <file>`);
  const [side] = findTaskKind('lora-training', engine)!.limits.resolution;
  const work = { image: photo(side, 0), steps: SMALL_STEPS, rank: SMALL_RANK, seed: 3, timeoutMs: 1 };
  return probe.once('lora', async () => Buffer.from(await train(work)));
}

async function trainingInput(probe: NativeProbe, engine: Engine, wishes: JobWishes): Promise<MinerTrainingInput> {
  const { resolution, steps, rank } = findTaskKind('lora-training', engine)!.limits;
  const side = resolution[wishes.long ? 1 : 0];
  const image = probe.listener.file(Buffer.from(await encodePng(photo(side, wishes.variant ?? 0))));
  const effort = wishes.long ? { steps: steps[1], rank: rank[1] } : { steps: SMALL_STEPS, rank: SMALL_RANK };
  return { image, resolution: side, ...effort, seed: 11 + (wishes.variant ?? 0) };
}

async function inferenceInput(probe: NativeProbe, engine: Engine, wishes: JobWishes): Promise<MinerInferenceInput> {
  const { side, numImages } = findTaskKind('lora-inference', engine)!.limits;
  const lora = probe.listener.file(await testLora(probe, engine));
  const size = wishes.long
    ? { width: side[1], height: side[1], num_images: numImages[1] }
    : { width: 2 * side[0], height: side[0], num_images: 2 };
  return { lora, prompt: 'a lighthouse', ...size, seed: 21 + 100 * (wishes.variant ?? 0), lora_scale: 1, warp: 0.5 };
}
