import { createHash } from 'node:crypto';

/**
 * The one reader and writer of `.safetensors`: u64 little-endian header length, a JSON header
 * `{name: {dtype, shape, data_offsets}, "__metadata__"?: {string: string}}`, then the tensors' bytes.
 *
 * The reader is stricter than the format: files come from strangers, and whatever two readers could understand
 * differently (duplicate keys, gaps, overlaps, trailing bytes) would let one file be two LoRAs.
 */
export type Dtype = 'F32' | 'F16' | 'BF16';

export interface Tensor {
  dtype: Dtype;
  shape: readonly number[];
  /** The values, whatever their dtype, in row-major order. */
  data: Float32Array;
  /** The stored bytes, a view into the file. */
  bytes: Uint8Array;
}

export interface SafetensorsFile {
  /** In the order of the data. */
  tensors: Map<string, Tensor>;
  metadata: Record<string, string>;
}

export type SafetensorsFault =
  | 'truncated'
  | 'header-size'
  | 'header-json'
  | 'duplicate-key'
  | 'too-many-tensors'
  | 'metadata'
  | 'dtype'
  | 'shape'
  | 'offsets';

/** `fault` for programs, `message` for people: it names the tensor and what is wrong with it. */
export class SafetensorsError extends Error {
  constructor(
    readonly fault: SafetensorsFault,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'SafetensorsError';
  }
}

const LENGTH_BYTES = 8;
/** Real adapters have headers of some kB; 1 MiB holds 4096 tensors with long names. */
export const MAX_HEADER_BYTES = 1024 * 1024;
/** A LoRA of every linear layer of the largest diffusion models stays below 2000. */
export const MAX_TENSORS = 4096;
/** Convolutions have 4. A bound also keeps the product of the sides small enough to compute. */
const MAX_DIMENSIONS = 8;
const METADATA_KEY = '__metadata__';
const DTYPE_BYTES: Record<Dtype, number> = { F32: 4, F16: 2, BF16: 2 };

/** @throws SafetensorsError */
export function readSafetensors(file: Uint8Array): SafetensorsFile {
  const { header, body } = split(file);
  const { metadata, entries } = parseHeader(header);
  assertContiguous(entries, body.byteLength);
  const tensors = new Map(
    entries.map(({ name, dtype, shape, begin, end }): [string, Tensor] => {
      const bytes = body.subarray(begin, end);
      return [name, { dtype, shape, data: decode(dtype, bytes), bytes }];
    }),
  );
  return { tensors, metadata };
}

/**
 * Writes float32 tensors in the given order, the header padded with spaces to a multiple of 8 as the format's own
 * writer does. The same arguments give the same bytes on every machine.
 */
export function writeSafetensors(
  tensors: Iterable<readonly [name: string, tensor: { shape: readonly number[]; data: Float32Array }]>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const list = [...tensors];
  const header: [string, unknown][] = Object.keys(metadata).length > 0 ? [[METADATA_KEY, metadata]] : [];
  let end = 0;
  for (const [name, { shape, data }] of list) {
    header.push([name, { dtype: 'F32', shape, data_offsets: [end, end + data.length * DTYPE_BYTES.F32] }]);
    end += data.length * DTYPE_BYTES.F32;
  }
  // From entries, not by assignment: a tensor may be called __proto__.
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
  const headerBytes = Math.ceil(json.length / 8) * 8;
  const file = new Uint8Array(LENGTH_BYTES + headerBytes + end);
  const view = new DataView(file.buffer);
  view.setBigUint64(0, BigInt(headerBytes), true);
  file.fill(0x20, LENGTH_BYTES, LENGTH_BYTES + headerBytes);
  file.set(json, LENGTH_BYTES);
  let at = LENGTH_BYTES + headerBytes;
  for (const [, { data }] of list) for (const value of data) at = (view.setFloat32(at, value, true), at + 4);
  return file;
}

/** SHA-256 (hex) over the sorted tensors' names, dtypes, shapes and bytes: equal for files that differ in metadata only. */
export function tensorHash(tensors: ReadonlyMap<string, Pick<Tensor, 'dtype' | 'shape' | 'bytes'>>): string {
  const hash = createHash('sha256');
  const sorted = [...tensors].sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [name, { dtype, shape, bytes }] of sorted) {
    // JSON keeps a name apart from what follows it, and the shape fixes how many bytes follow.
    hash.update(JSON.stringify([name, dtype, shape])).update(bytes);
  }
  return hash.digest('hex');
}

function split(file: Uint8Array): { header: Uint8Array; body: Uint8Array } {
  if (file.byteLength < LENGTH_BYTES + 2) throw new SafetensorsError('truncated', 'the file is too short for a header');
  const length = new DataView(file.buffer, file.byteOffset, LENGTH_BYTES).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES))
    throw new SafetensorsError(
      'header-size',
      `the header claims ${length} bytes; at most ${MAX_HEADER_BYTES} are read`,
    );
  if (length > BigInt(file.byteLength - LENGTH_BYTES))
    throw new SafetensorsError('truncated', `the header claims ${length} bytes, more than the file has`);
  const end = LENGTH_BYTES + Number(length);
  return { header: file.subarray(LENGTH_BYTES, end), body: file.subarray(end) };
}

interface Entry {
  name: string;
  dtype: Dtype;
  shape: number[];
  begin: number;
  end: number;
}

function parseHeader(header: Uint8Array): { metadata: Record<string, string>; entries: Entry[] } {
  if (header[0] !== 0x7b) throw new SafetensorsError('header-json', 'the header does not start with {');
  const { text, parsed } = parseJson(header);
  const names = Object.keys(parsed).filter((name) => name !== METADATA_KEY);
  if (names.length === 0) throw new SafetensorsError('shape', 'the file has no tensors');
  if (names.length > MAX_TENSORS)
    throw new SafetensorsError('too-many-tensors', `${names.length} tensors; at most ${MAX_TENSORS} are read`);
  const metadata = readMetadata(parsed[METADATA_KEY]);
  const entries = names.map((name) => readEntry(name, parsed[name]));
  assertPlain(text);
  return { metadata, entries };
}

function parseJson(header: Uint8Array): { text: string; parsed: Record<string, unknown> } {
  let text: string;
  let parsed: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(header);
    parsed = JSON.parse(text);
  } catch (error) {
    throw new SafetensorsError('header-json', 'the header is not JSON in UTF-8', { cause: error });
  }
  const duplicate = findDuplicateKey(text);
  if (duplicate !== undefined)
    throw new SafetensorsError('duplicate-key', `the header has the key ${JSON.stringify(duplicate)} twice`);
  return { text, parsed: parsed as Record<string, unknown> };
}

/** A string, as a token of text that is known to be JSON. */
const STRING = /"[^"\\]*(?:\\.[^"\\]*)*"/g;

/**
 * What JSON.parse reads and the format's own reader does not: numbers in other forms than digits (1e2, 1.0, -0), and halves
 * of surrogate pairs. Such a file would be sound here and of no use to any honest renderer.
 */
function assertPlain(json: string): void {
  if (/[^\s{}[\]:,0-9]/.test(json.replace(STRING, '')))
    throw new SafetensorsError('header-json', 'the header has more than objects, lists, text and plain whole numbers');
  for (const [token] of json.matchAll(STRING))
    if (/\\u/.test(token) && /\p{Surrogate}/u.test(JSON.parse(token) as string))
      throw new SafetensorsError('header-json', 'the header has half a surrogate pair');
}

/** JSON.parse keeps the last of two equal keys and says nothing, so the text is scanned. It is known to be JSON. */
function findDuplicateKey(json: string): string | undefined {
  const tokens = /"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?|[{}]/g;
  const open: Set<string>[] = [];
  for (const [token, colon] of json.matchAll(tokens)) {
    if (token === '{') open.push(new Set());
    else if (token === '}') open.pop();
    else if (colon !== undefined) {
      // Unescaped first: "a" and "\u0061" are one key.
      const key = JSON.parse(token.slice(0, -colon.length)) as string;
      const keys = open.at(-1);
      if (keys?.has(key)) return key;
      keys?.add(key);
    }
  }
  return undefined;
}

function readMetadata(value: unknown): Record<string, string> {
  if (value === undefined) return {};
  if (!isRecord(value) || !Object.values(value).every((item) => typeof item === 'string'))
    throw new SafetensorsError('metadata', '__metadata__ has to map strings to strings');
  return value as Record<string, string>;
}

function readEntry(name: string, value: unknown): Entry {
  const label = JSON.stringify(name);
  if (!isRecord(value) || Object.keys(value).sort().join() !== 'data_offsets,dtype,shape')
    throw new SafetensorsError('header-json', `tensor ${label} needs exactly dtype, shape and data_offsets`);
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== 'string' || !Object.hasOwn(DTYPE_BYTES, dtype))
    throw new SafetensorsError('dtype', `tensor ${label} has another dtype than F32, F16 or BF16`);
  if (!isCounts(shape) || shape.length > MAX_DIMENSIONS || shape.includes(0))
    throw new SafetensorsError(
      'shape',
      `tensor ${label} has a shape that is not 0 to ${MAX_DIMENSIONS} positive sides`,
    );
  if (!isCounts(offsets) || offsets.length !== 2)
    throw new SafetensorsError('offsets', `tensor ${label} has data_offsets that are not two whole numbers`);
  const [begin, end] = offsets as [number, number];
  // BigInt: a product of sides beyond 2⁵³ would round to a number that happens to fit.
  const bytes = shape.reduce((product, side) => product * BigInt(side), BigInt(DTYPE_BYTES[dtype as Dtype]));
  if (bytes !== BigInt(end) - BigInt(begin))
    throw new SafetensorsError(
      'offsets',
      `tensor ${label} has ${bytes} bytes by its shape, other than its data_offsets say`,
    );
  return { name, dtype: dtype as Dtype, shape, begin, end };
}

/** Sorts the entries by where they lie. */
function assertContiguous(entries: Entry[], bodyBytes: number): void {
  entries.sort((a, b) => a.begin - b.begin);
  let end = 0;
  for (const entry of entries) {
    if (entry.begin !== end)
      throw new SafetensorsError(
        'offsets',
        `tensor ${JSON.stringify(entry.name)} does not begin where the last one ends`,
      );
    end = entry.end;
  }
  if (end !== bodyBytes)
    throw new SafetensorsError(
      'offsets',
      `the tensors end at byte ${end} of ${bodyBytes}: the file is cut or has more`,
    );
}

function decode(dtype: Dtype, bytes: Uint8Array): Float32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const data = new Float32Array(bytes.byteLength / DTYPE_BYTES[dtype]);
  if (dtype === 'F32') for (let i = 0; i < data.length; i++) data[i] = view.getFloat32(4 * i, true);
  else {
    const bits = new Uint32Array(data.buffer);
    const widen = dtype === 'BF16' ? (half: number) => half << 16 : widenHalf;
    for (let i = 0; i < bits.length; i++) bits[i] = widen(view.getUint16(2 * i, true));
  }
  return data;
}

const SUBNORMAL = new Float32Array(1);
const SUBNORMAL_BITS = new Uint32Array(SUBNORMAL.buffer);

/** IEEE 754 binary16 bits to binary32 bits; exact. */
function widenHalf(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0x1f) return sign | 0x7f800000 | (fraction << 13);
  if (exponent > 0) return sign | ((exponent + 112) << 23) | (fraction << 13);
  SUBNORMAL[0] = fraction * 2 ** -24;
  return sign | SUBNORMAL_BITS[0]!;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whole numbers from 0 that a double holds exactly. */
function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && (item as number) >= 0);
}
