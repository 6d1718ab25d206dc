/**
 * Tier 1 for LoRA files of the diffusion engine, which come from many trainers: no list of modules to hold them to, only the
 * two ways in which their tensors are named. PEFT and diffusers: `<module>.lora_A.weight` (rank × inputs) and `lora_B`
 * (outputs × rank). Kohya's scripts and what follows them: `lora_down`, `lora_up`, and `<module>.alpha`, one number.
 * Runs in a worker thread.
 */
import type { Engine, LoraRef } from '@studio/shared/domain/job';
import { findTaskKind } from '@studio/shared/domain/task-kinds';
import { tensorHash, type SafetensorsFile, type Tensor } from '@studio/shared/protocol/safetensors';
import { refuse, type Checked } from './checked';

const ENGINE: Engine = 'flux';
const PART = /^(?<module>.+)\.(?:(?<down>lora_A|lora_down)\.weight|(?<up>lora_B|lora_up)\.weight|(?<alpha>alpha))$/;
/** What the blocks of this engine's transformer are called: a LoRA of another model changes none of them. */
const ENGINES_OWN = /(double|single|transformer)_(transformer_)?blocks/;

type Recognised = Checked<Pick<LoraRef, 'rank' | 'tensorHash'> & { engine: Engine }>;

interface Pair {
  down?: Tensor;
  up?: Tensor;
  alpha?: Tensor;
}

/** Undefined where the file is no LoRA of this engine at all; a refusal where it is one that cannot be used. */
export function recogniseDiffusionLora({ tensors }: SafetensorsFile): Recognised | undefined {
  const names = [...tensors.keys()];
  if (!names.some((name) => PART.test(name)) || !names.some((name) => ENGINES_OWN.test(name))) return undefined;
  const foreign = names.find((name) => !PART.test(name));
  if (foreign !== undefined) return refuse(`tensor ${JSON.stringify(foreign.slice(0, 100))} is not part of a LoRA`);
  const pairs = pairsOf(tensors);
  const problem = [...pairs].map(([module, pair]) => pairProblem(module, pair)).find((found) => found !== undefined);
  if (problem !== undefined) return refuse(problem);
  const infinite = names.find((name) => !tensors.get(name)!.data.every(Number.isFinite));
  if (infinite !== undefined) return refuse(`tensor ${infinite} has values that are not finite`);
  const isZero = (tensor: Tensor | undefined): boolean => tensor!.data.every((value) => value === 0);
  if ([...pairs.values()].every(({ down, up }) => isZero(up) || isZero(down))) {
    return refuse('every pair has a matrix of zeros: the LoRA is untrained');
  }
  const rank = Math.max(...[...pairs.values()].map(({ down }) => down!.shape[0]!));
  const [, most] = findTaskKind('lora-training', ENGINE)!.limits.rank;
  if (rank > most) return refuse(`rank ${rank} is not between 1 and ${most}`);
  return { ok: true, value: { engine: ENGINE, rank, tensorHash: tensorHash(tensors) } };
}

function pairsOf(tensors: SafetensorsFile['tensors']): Map<string, Pair> {
  const pairs = new Map<string, Pair>();
  for (const [name, tensor] of tensors) {
    const { module = '', down, up, alpha } = PART.exec(name)?.groups ?? {};
    const pair = pairs.get(module) ?? {};
    if (down) pair.down = tensor;
    if (up) pair.up = tensor;
    if (alpha) pair.alpha = tensor;
    pairs.set(module, pair);
  }
  return pairs;
}

function pairProblem(module: string, { down, up, alpha }: Pair): string | undefined {
  if (!down || !up) return `module ${module} has one of its two matrices only`;
  if (alpha && alpha.data.length !== 1) return `module ${module} has an alpha of more than one number`;
  const [rank, inputs] = down.shape;
  const [outputs, other] = up.shape;
  const flat = down.shape.length === 2 && up.shape.length === 2;
  if (flat && rank !== undefined && rank > 0 && rank === other && inputs! > 0 && outputs! > 0) return undefined;
  return `module ${module} multiplies ${up.shape.join('×')} by ${down.shape.join('×')}, which is no LoRA`;
}
