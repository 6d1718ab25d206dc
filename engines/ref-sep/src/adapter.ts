/**
 * The shape of `ref-sep-v1`: I[y,x,c] = colour_c + Σ_k U[x,k]·V[y,c,k], K = 32. Two branches, U from the x coordinate and V
 * from y, each: 65 features → linear 64 + ReLU → linear K (3K for y). The base weights are frozen; an adapter adds B·A and a
 * bias to each of the four layers and three colour offsets: r·514 + 259 numbers, 8,483 at rank 16.
 */

export const ENGINE = 'ref-sep-v1';

/** 2u−1 and sin, cos of 2π·u·f/2 for f = 1 … FREQUENCIES. */
export const FREQUENCIES = 32;
export const FEATURES = 1 + 2 * FREQUENCIES;
export const HIDDEN = 64;
/** K: the rank of each colour channel's matrix. 32 carries 64² photographs beyond 30 dB. */
export const COMPONENTS = 32;
export const CHANNELS = 3;

/** Above 32 the output layer of x (32 wide) gains nothing. */
export const MAX_RANK = 32;

export type BranchName = 'x' | 'y';
export type LayerName = 'hidden' | 'output';
export type ModuleName = `${BranchName}.${LayerName}`;

/** Width of a branch's last layer. */
export function branchWidth(branch: BranchName): number {
  return branch === 'x' ? COMPONENTS : CHANNELS * COMPONENTS;
}

/** The linear layers that carry a LoRA: the engine's module allow-list, in the order of the file. */
export const MODULES: readonly { name: ModuleName; inputs: number; outputs: number }[] = [
  { name: 'x.hidden', inputs: FEATURES, outputs: HIDDEN },
  { name: 'x.output', inputs: HIDDEN, outputs: branchWidth('x') },
  { name: 'y.hidden', inputs: FEATURES, outputs: HIDDEN },
  { name: 'y.output', inputs: HIDDEN, outputs: branchWidth('y') },
];

/** Name of the three offsets added to every pixel; they belong to no linear layer. */
export const COLOUR_BIAS = 'colour.bias';

/** A trained LoRA. The float32 numbers are the truth: what the file holds is what is rendered. */
export interface Adapter {
  readonly rank: number;
  /** Side of the square training image, in pixels. */
  readonly resolution: number;
  /** All tensors one after the other, in the order of `tensorLayout(rank)`. */
  readonly parameters: Float32Array;
}

/** Where one tensor lies in `Adapter.parameters`. */
export interface TensorSlot {
  readonly name: string;
  readonly shape: readonly number[];
  readonly offset: number;
  readonly length: number;
}

/** Every tensor of an adapter of this rank: A is r×in, B out×r (row-major), a bias `out` long. */
export function tensorLayout(rank: number): TensorSlot[] {
  assertRank(rank);
  const shapes: [string, number[]][] = MODULES.flatMap(({ name, inputs, outputs }): [string, number[]][] => [
    [`${name}.lora_A.weight`, [rank, inputs]],
    [`${name}.lora_B.weight`, [outputs, rank]],
    [`${name}.bias`, [outputs]],
  ]);
  shapes.push([COLOUR_BIAS, [CHANNELS]]);
  let end = 0;
  return shapes.map(([name, shape]) => {
    const length = shape.reduce((product, side) => product * side, 1);
    end += length;
    return { name, shape, offset: end - length, length };
  });
}

/** Number of trainable parameters at this rank. */
export function parameterCount(rank: number): number {
  return tensorLayout(rank).reduce((sum, slot) => sum + slot.length, 0);
}

/** @throws RangeError when `rank` is not a whole number from 1 to `MAX_RANK`. */
export function assertRank(rank: number): void {
  if (!Number.isInteger(rank) || rank < 1 || rank > MAX_RANK) {
    throw new RangeError(`rank must be a whole number from 1 to ${MAX_RANK}, not ${rank}`);
  }
}
