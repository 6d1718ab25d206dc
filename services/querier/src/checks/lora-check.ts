/** Tier 1 for LoRA files: strict bytes, the engine's own tensors, sane numbers. Runs in a worker thread. */
import { ADAPTER_FORMATS, adapterFormat, adapterShapes, loraA, loraB } from '@studio/shared/domain/adapter-format';
import type { AdapterFormat, LoraModule } from '@studio/shared/domain/adapter-format';
import type { Engine } from '@studio/shared/domain/job';
import {
  readSafetensors,
  SafetensorsError,
  tensorHash,
  type SafetensorsFile,
} from '@studio/shared/protocol/safetensors';
import { recogniseDiffusionLora } from './diffusion-lora';
import { refuse, type Checked } from './checked';

export interface LoraFacts {
  engine: Engine;
  rank: number;
  /** SHA-256 (hex) over tensors without metadata (protocol/safetensors.ts). */
  tensorHash: string;
}

/** What the training was asked for. */
export interface LoraExpectation {
  engine: Engine;
  rank: number;
  resolution: number;
}

type Tensors = SafetensorsFile['tensors'];

/** Side of the training image, in pixels, that an uploaded LoRA may name. */
const MAX_RESOLUTION = 4_096;

/** What a miner sent, against what was asked for. Never throws for bad bytes. */
export function checkLora(bytes: Uint8Array, { engine, rank, resolution }: LoraExpectation): Checked<LoraFacts> {
  const format = adapterFormat(engine);
  if (!format) return refuse(`LoRA files of engine ${engine} cannot be checked here`);
  return inspect(bytes, (file) => judge(file, format, rank, String(resolution)));
}

/** What a client uploaded: the engine and rank are found from the tensors. */
export function recogniseLora(bytes: Uint8Array): Checked<LoraFacts> {
  return inspect(bytes, (file) => {
    const { tensors, metadata } = file;
    const format = ADAPTER_FORMATS.find(({ modules }) => modules.every(({ name }) => tensors.has(loraA(name))));
    if (!format) return recogniseDiffusionLora(file) ?? refuse('its tensors belong to no engine here');
    const rank = tensors.get(loraA(format.modules[0]!.name))?.shape[0] ?? 0;
    const { resolution = '' } = metadata;
    if (format.describesItself && !(/^[1-9]\d{0,3}$/.test(resolution) && Number(resolution) <= MAX_RESOLUTION)) {
      return refuse(`metadata.resolution has to be a whole number from 1 to ${MAX_RESOLUTION}`);
    }
    return judge(file, format, rank, resolution);
  });
}

function inspect(bytes: Uint8Array, look: (file: SafetensorsFile) => Checked<LoraFacts>): Checked<LoraFacts> {
  try {
    return look(readSafetensors(bytes));
  } catch (error) {
    if (error instanceof SafetensorsError) return refuse(`not a sound safetensors file: ${error.message}`);
    throw error;
  }
}

function judge(file: SafetensorsFile, format: AdapterFormat, rank: number, resolution: string): Checked<LoraFacts> {
  const { tensors, metadata } = file;
  const { engine, maxRank } = format;
  if (rank < 1 || rank > maxRank) return refuse(`rank ${rank} is not between 1 and ${maxRank}`);
  const problem =
    shapeProblem(tensors, adapterShapes(format, rank)) ??
    dtypeProblem(tensors, format) ??
    valueProblem(tensors, format) ??
    metadataProblem(metadata, format, { engine, rank: String(rank), resolution });
  return problem ? refuse(problem) : { ok: true, value: { engine, rank, tensorHash: tensorHash(tensors) } };
}

function metadataProblem(
  metadata: SafetensorsFile['metadata'],
  { describesItself }: AdapterFormat,
  truth: Record<string, string>,
): string | undefined {
  if (!describesItself) return undefined;
  const wrong = Object.keys(truth).find((field) => metadata[field] !== truth[field]);
  return wrong === undefined ? undefined : `metadata.${wrong} has to be ${truth[wrong]}`;
}

function dtypeProblem(tensors: Tensors, { dtype }: AdapterFormat): string | undefined {
  const [name] = [...tensors].find(([, tensor]) => tensor.dtype !== dtype) ?? [];
  return name === undefined ? undefined : `tensor ${name} is not stored as ${dtype}`;
}

function shapeProblem(tensors: Tensors, shapes: ReadonlyMap<string, number[]>): string | undefined {
  for (const [name, shape] of shapes) {
    const found = tensors.get(name);
    if (!found) return `tensor ${name} is missing`;
    if (found.shape.join('×') !== shape.join('×')) {
      return `tensor ${name} is ${found.shape.join('×')} instead of ${shape.join('×')}`;
    }
  }
  const foreign = [...tensors.keys()].find((name) => !shapes.has(name));
  return foreign === undefined
    ? undefined
    : `tensor ${JSON.stringify(foreign.slice(0, 100))} is not part of this engine's LoRA`;
}

function valueProblem(tensors: Tensors, format: AdapterFormat): string | undefined {
  for (const [name, { data }] of tensors)
    if (!data.every(Number.isFinite)) return `tensor ${name} has values that are not finite`;
  const deltas = format.modules.map((module) => deltaNorm(tensors, module));
  const tooLarge = format.modules.find((_, index) => deltas[index]! > format.maxDeltaNorm);
  if (tooLarge) return `the change of module ${tooLarge.name} is larger than any training makes`;
  if (format.modules.every(({ name }) => tensors.get(loraB(name))!.data.every((value) => value === 0))) {
    return 'every lora_B is zero: the LoRA is untrained';
  }
  if (Math.sqrt(deltas.reduce((sum, delta) => sum + delta * delta, 0)) < format.minDeltaNorm) {
    return 'the LoRA changes nothing: it is untrained';
  }
  const products = new Set(format.modules.flatMap(({ name }) => [loraA(name), loraB(name)]));
  for (const [name, { data }] of tensors) {
    if (!products.has(name) && norm(data) > format.maxBiasNorm)
      return `tensor ${name} is larger than any training makes`;
  }
  return undefined;
}

/** ‖B·A‖ (Frobenius) without forming B·A: tr((A·Aᵀ)(Bᵀ·B)) needs rank² products of rows instead of in·out·rank. */
function deltaNorm(tensors: Tensors, { name, inputs, outputs }: LoraModule): number {
  const a = tensors.get(loraA(name))!;
  const b = tensors.get(loraB(name))!;
  const rank = a.shape[0]!;
  let sum = 0;
  for (let i = 0; i < rank; i++) {
    for (let j = 0; j < rank; j++) {
      let rows = 0;
      for (let k = 0; k < inputs; k++) rows += a.data[i * inputs + k]! * a.data[j * inputs + k]!;
      let columns = 0;
      for (let k = 0; k < outputs; k++) columns += b.data[k * rank + i]! * b.data[k * rank + j]!;
      sum += rows * columns;
    }
  }
  return Math.sqrt(Math.max(0, sum));
}

function norm(data: Float32Array): number {
  return Math.sqrt(data.reduce((sum, value) => sum + value * value, 0));
}
