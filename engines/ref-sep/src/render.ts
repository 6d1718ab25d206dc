import { type Adapter, CHANNELS, COLOUR_BIAS, type BranchName, tensorLayout } from './adapter';
import { BASE_COLOUR } from './base-model';
import { Branch, branchTensors } from './branch';
import { encodeCoordinates, pixelCentres } from './features';
import { asComponents } from './fit';
import { type Matrix, matrix, multiply, transposed } from './matrix';
import { bend, warpAmplitudes } from './warp';

export interface RenderTask {
  readonly adapter: Adapter;
  /** Strength of the LoRA: 0 gives the base, 1 the adapter as trained. */
  readonly scale: number;
  readonly prompt: string;
  readonly seed: number;
  /** How far prompt and seed bend the picture, 0 … 1; 0 gives the training image. */
  readonly warp?: number;
  readonly width: number;
  readonly height: number;
}

const MAX_SIDE = 4096;
const MAX_SCALE = 4;

/**
 * Renders from the adapter's float32 numbers: width · height · 3 bytes, row by row.
 * @throws RangeError on a task out of bounds, naming the field.
 */
export function renderImage(task: RenderTask): Uint8Array {
  assertTask(task);
  const { adapter, width, height } = task;
  const parameters = scaledParameters(adapter, task.scale);
  const amplitudes = warpAmplitudes({ prompt: task.prompt, seed: task.seed, strength: task.warp ?? 1 });
  const branchOutput = (name: BranchName, size: number): Matrix => {
    const features = encodeCoordinates(bend(pixelCentres(size), amplitudes[name]));
    return asComponents(new Branch(name, features, branchTensors(parameters, adapter.rank, name)).forward());
  };
  const u = branchOutput('x', width);
  const v = branchOutput('y', height);
  const picture = matrix(CHANNELS * height, width);
  multiply(picture, v, transposed(u));
  return interleave(picture.data, colourOf(parameters, adapter.rank), width, height);
}

/** s·B, s·bias and s·colour in float64; A as it is, so that s multiplies B·A once. */
function scaledParameters(adapter: Adapter, scale: number): Float64Array {
  const parameters = Float64Array.from(adapter.parameters);
  for (const { name, offset, length } of tensorLayout(adapter.rank)) {
    if (name.endsWith('lora_A.weight')) continue;
    for (let i = offset; i < offset + length; i++) parameters[i]! *= scale;
  }
  return parameters;
}

function colourOf(parameters: Float64Array, rank: number): number[] {
  const { offset } = tensorLayout(rank).find((slot) => slot.name === COLOUR_BIAS)!;
  return Array.from(parameters.subarray(offset, offset + CHANNELS), (bias) => BASE_COLOUR + bias);
}

/** Rows of one channel (y·3+c) to pixels, clamped and rounded half up to bytes. */
function interleave(channels: Float64Array, colour: readonly number[], width: number, height: number): Uint8Array {
  const rgb = new Uint8Array(width * height * CHANNELS);
  for (let row = 0; row < height * CHANNELS; row++) {
    const channel = row % CHANNELS;
    const offset = colour[channel]!;
    let at = ((row - channel) / CHANNELS) * width * CHANNELS + channel;
    for (let x = 0; x < width; x++, at += CHANNELS) {
      const value = (channels[row * width + x]! + offset) * 255;
      rgb[at] = value > 0 ? (value < 255 ? Math.floor(value + 0.5) : 255) : 0;
    }
  }
  return rgb;
}

function assertTask({ scale, warp = 1, seed, width, height }: RenderTask): void {
  assertWithin('width', width, 1, MAX_SIDE, true);
  assertWithin('height', height, 1, MAX_SIDE, true);
  assertWithin('seed', seed, 0, Number.MAX_SAFE_INTEGER, true);
  assertWithin('scale', scale, -MAX_SCALE, MAX_SCALE, false);
  assertWithin('warp', warp, 0, 1, false);
}

function assertWithin(field: string, value: number, min: number, max: number, whole: boolean): void {
  if (value >= min && value <= max && (!whole || Number.isInteger(value))) return;
  throw new RangeError(`${field} must be a ${whole ? 'whole ' : ''}number from ${min} to ${max}, not ${value}`);
}
