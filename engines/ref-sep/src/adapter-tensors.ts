import { type Adapter, ENGINE, MAX_RANK, parameterCount, tensorLayout } from './adapter';

/**
 * The content of a `.safetensors` file. The container itself is not the engine's business: callers pass what their
 * reader gives, and hand the result to their writer.
 */
export interface TensorFile {
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, FloatTensor>;
}

/** Row-major. `dtype` is how the file stores the numbers; `data` holds them as float32. */
export interface FloatTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** What was read is no LoRA of this engine; the message says why. */
export class AdapterError extends Error {
  override readonly name = 'AdapterError';
}

/** The adapter as named F32 tensors and string metadata, in the order of the file. The data are views, not copies. */
export function adapterToTensors({ rank, resolution, parameters }: Adapter): TensorFile {
  const tensors = tensorLayout(rank).map(({ name, shape, offset, length }): [string, FloatTensor] => [
    name,
    { dtype: 'F32', shape, data: parameters.subarray(offset, offset + length) },
  ]);
  const metadata = { engine: ENGINE, rank: String(rank), resolution: String(resolution) };
  return { metadata, tensors: new Map(tensors) };
}

/**
 * The adapter that the tensors hold.
 * @throws AdapterError when they are of another engine, incomplete, of the wrong shape or type, or hold NaN or infinity.
 */
export function adapterFromTensors({ metadata, tensors }: TensorFile): Adapter {
  if (metadata.engine !== ENGINE) refuse(`metadata.engine is ${metadata.engine ?? 'missing'}`);
  const rank = wholeNumber('rank', metadata.rank, MAX_RANK);
  const resolution = wholeNumber('resolution', metadata.resolution, Number.MAX_SAFE_INTEGER);
  const layout = tensorLayout(rank);
  if (tensors.size !== layout.length) refuse(`it has ${tensors.size} tensors, not ${layout.length}`);
  const parameters = new Float32Array(parameterCount(rank));
  for (const { name, shape, offset } of layout) parameters.set(checkedData(name, shape, tensors.get(name)), offset);
  return { rank, resolution, parameters };
}

function checkedData(name: string, shape: readonly number[], tensor: FloatTensor | undefined): Float32Array {
  if (!tensor) refuse(`tensor ${name} is missing`);
  if (tensor.dtype !== 'F32') refuse(`tensor ${name} is ${tensor.dtype}, not F32`);
  const [found, expected] = [tensor.shape.join('×'), shape.join('×')];
  if (found !== expected) refuse(`tensor ${name} is ${found}, not ${expected}`);
  const odd = tensor.data.find((value) => !Number.isFinite(value));
  if (odd !== undefined) refuse(`tensor ${name} holds ${odd}`);
  return tensor.data;
}

function wholeNumber(field: string, text: string | undefined, max: number): number {
  const value = Number(text);
  if (text === String(value) && Number.isInteger(value) && value >= 1 && value <= max) return value;
  return refuse(`metadata.${field} must be a whole number from 1 to ${max}, not ${text ?? 'missing'}`);
}

function refuse(complaint: string): never {
  throw new AdapterError(`not a LoRA of ${ENGINE}: ${complaint}`);
}
