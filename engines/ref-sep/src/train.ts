import { type Adapter, assertRank, tensorLayout } from './adapter';
import { Adam } from './adam';
import { ImageFit } from './fit';
import type { RgbImage } from './image';
import { gaussian, uniformStream } from './prng';

/** One training: everything that decides the result, to the last bit. */
export interface TrainingTask extends RgbImage {
  readonly steps: number;
  readonly rank: number;
  /** 0 … 2³²−1: where A starts. */
  readonly seed: number;
}

export interface TrainingStep {
  /** Steps done, 1 … total. */
  readonly done: number;
  readonly total: number;
  /** Mean squared error before this step, full scale = 1. */
  readonly mse: number;
}

/** 0.015 beat 0.010 and 0.020 on the mean of two photographs and three seeds (64², 300 steps, rank 16). */
const LEARNING_RATE = 0.015;

/** Larger images are no photograph to learn in seconds; the orchestrator's own limit is lower. */
const MAX_SIDE = 512;
const MAX_STEPS = 100_000;
const MAX_SEED = 4_294_967_295;

/**
 * Trains step by step: full-batch Adam on the mean squared error. Between two `next()` the caller may report, yield to
 * its event loop or walk away. The numbers depend on nothing but the task.
 * @throws RangeError on a task out of bounds, naming the field.
 */
export function* trainingSteps(task: TrainingTask): Generator<TrainingStep, Adapter> {
  assertTask(task);
  const { steps, rank, seed } = task;
  const fit = new ImageFit(task, rank);
  initialise(fit.parameters, rank, seed);
  const optimiser = new Adam(fit.parameters.length);
  for (let done = 0; done < steps; done++) {
    const mse = fit.evaluate();
    optimiser.step(fit.parameters, fit.gradient, learningRate(done, steps));
    yield { done: done + 1, total: steps, mse };
  }
  // Float64 to train, float32 to keep (as every LoRA file); `Float32Array.from` rounds to nearest even.
  return { rank, resolution: task.width, parameters: Float32Array.from(fit.parameters) };
}

/**
 * Trains to the end. `onStep` is called after every step; a promise it returns is awaited, which is how a server stays
 * responsive (return `setImmediate`'s promise every few steps) or cancels (reject).
 */
export async function trainAdapter(
  task: TrainingTask,
  onStep: (done: number, total: number, mse: number) => void | Promise<void> = () => undefined,
): Promise<Adapter> {
  const training = trainingSteps(task);
  for (;;) {
    const turn = training.next();
    if (turn.done) return turn.value;
    const pause = onStep(turn.value.done, turn.value.total, turn.value.mse);
    if (pause) await pause;
  }
}

/** Constant for the first half, then linear down to nothing. */
function learningRate(done: number, steps: number): number {
  const left = (2 * (steps - done)) / steps;
  return LEARNING_RATE * (left < 1 ? left : 1);
}

/** A ~ N(0, 1/inputs), B and the biases 0 (Hu et al. 2021): training starts exactly at the base. */
function initialise(parameters: Float64Array, rank: number, seed: number): void {
  const uniform = uniformStream(seed);
  for (const { name, shape, offset, length } of tensorLayout(rank)) {
    if (!name.endsWith('lora_A.weight')) continue;
    const deviation = Math.sqrt(1 / shape[1]!);
    for (let i = offset; i < offset + length; i++) parameters[i] = gaussian(uniform) * deviation;
  }
}

function assertTask({ rgb, width, height, steps, rank, seed }: TrainingTask): void {
  assertWhole('width', width, 1, MAX_SIDE);
  if (height !== width) throw new RangeError(`the training image must be square, not ${width}×${height}`);
  if (rgb.length !== width * height * 3) {
    throw new RangeError(`rgb must hold ${width * height * 3} bytes (${width}×${height}×3), not ${rgb.length}`);
  }
  assertWhole('steps', steps, 1, MAX_STEPS);
  assertRank(rank);
  assertWhole('seed', seed, 0, MAX_SEED);
}

function assertWhole(field: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new RangeError(`${field} must be a whole number from ${min} to ${max}, not ${value}`);
}
