/** Reads a miner's multipart result, in a 200 reply or a callback, with every size bounded before memory is taken. */
import { Busboy, type BusboyInstance } from '@fastify/busboy';
import { LORA_PART, MANIFEST_PART, MinerManifest, imagePart } from '@studio/shared/contract/miner-job';
import { validated } from '@studio/shared/contract/validated';
import { adapterFormat, adapterShapes } from '@studio/shared/domain/adapter-format';
import { isStudioError } from '@studio/shared/domain/errors';
import type { Engine, InferenceInput, JobInput, JobKind, TrainingInput } from '@studio/shared/domain/job';
import { MAX_HEADER_BYTES } from '@studio/shared/protocol/safetensors';

/** Names and caps of the files that a job's result has. */
export interface ExpectedFiles {
  names: string[];
  maxBytesEach: number;
}

export interface MinerResult {
  manifest: MinerManifest;
  files: Map<string, Buffer>;
}

/** The miner sent something that is no result of this job: its own fault, and `message` says what. */
export class ResultRefused extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ResultRefused';
  }
}

/** security.md: an image of 2048² as an uncompressed PNG has 12 MiB. */
const MAX_IMAGE_BYTES = 16 * 1024 * 1024;
const MAX_MANIFEST_BYTES = 64 * 1024;
/** Boundaries and part headers. */
const FRAMING_BYTES = 64 * 1024;
const BYTES_PER_VALUE = 4;

export function expectedFiles(kind: JobKind, engine: Engine, input: JobInput): ExpectedFiles {
  if (kind === 'lora-inference') {
    const count = (input as InferenceInput).numImages;
    return { names: Array.from({ length: count }, (_, index) => imagePart(index)), maxBytesEach: MAX_IMAGE_BYTES };
  }
  return { names: [LORA_PART], maxBytesEach: maxLoraBytes(engine, (input as TrainingInput).rank) };
}

/** Largest body that can hold the result. */
export function maxResultBytes({ names, maxBytesEach }: ExpectedFiles): number {
  return names.length * maxBytesEach + MAX_MANIFEST_BYTES + FRAMING_BYTES;
}

/**
 * @throws ResultRefused for what the miner sent; the stream's own error when it breaks off.
 */
export async function readMinerResult(
  body: AsyncIterable<Uint8Array>,
  contentType: string | undefined,
  expected: ExpectedFiles,
): Promise<MinerResult> {
  // Whatever its case: RFC 9110.
  if (!contentType?.toLowerCase().startsWith('multipart/form-data')) {
    throw new ResultRefused('the result is not multipart/form-data');
  }
  const { names, maxBytesEach } = expected;
  const parts = await collectParts(body, contentType, {
    names: [MANIFEST_PART, ...names],
    // The manifest may come as a field or as a file.
    maxFiles: names.length + 1,
    maxFileBytes: maxBytesEach,
    maxFieldBytes: MAX_MANIFEST_BYTES,
  });
  const manifest = readManifest(parts.get(MANIFEST_PART));
  parts.delete(MANIFEST_PART);
  if (manifest.status === 'completed') {
    const missing = expected.names.find((name) => !parts.has(name));
    if (missing !== undefined) throw new ResultRefused(`the part ${missing} is missing`);
  }
  return { manifest, files: parts };
}

/** What a form may have. Each part comes at most once. */
export interface PartLimits {
  names: readonly string[];
  maxFiles: number;
  maxFileBytes: number;
  maxFieldBytes: number;
}

/** The parts of a form by name. @throws ResultRefused for the form; the stream's own error when it breaks off. */
export async function collectParts(
  body: AsyncIterable<Uint8Array>,
  contentType: string,
  limits: PartLimits,
): Promise<Map<string, Buffer>> {
  const parts = new Map<string, Buffer>();
  let refusal: ResultRefused | undefined;
  const refuse = (message: string): void => void (refusal ??= new ResultRefused(message));
  const keep = (name: string, bytes: Buffer): void => {
    if (!limits.names.includes(name)) refuse('the result has a part that nobody asked for');
    else if (parts.has(name)) refuse(`the part ${name} comes twice`);
    else parts.set(name, bytes);
  };
  const form = openForm(contentType, limits);
  form.on('field', (name, value, _nameCut, valueCut) =>
    valueCut ? refuse(`a field is larger than ${limits.maxFieldBytes} bytes`) : keep(name, Buffer.from(value)),
  );
  form.on('file', (name, file) => {
    const chunks: Buffer[] = [];
    file.on('data', (chunk: Buffer) => chunks.push(chunk));
    file.on('limit', () => refuse(`a part is larger than ${limits.maxFileBytes} bytes`));
    file.on('error', () => refuse('the multipart body ends in the middle of a part'));
    file.on('end', () => keep(name, Buffer.concat(chunks)));
  });
  for (const limit of ['partsLimit', 'filesLimit', 'fieldsLimit'] as const) {
    form.on(limit, () => refuse('the result has too many parts'));
  }
  await feed(body, form);
  if (refusal) throw refusal;
  return parts;
}

/** One more of each than is allowed: that shows that there are too many. */
function openForm(contentType: string, { names, maxFiles, maxFileBytes, maxFieldBytes }: PartLimits): BusboyInstance {
  const [files, fields, parts] = [maxFiles + 1, names.length + 1, names.length + 2];
  try {
    const limits = { files, fields, parts, fileSize: maxFileBytes, fieldSize: maxFieldBytes };
    return new Busboy({ headers: { 'content-type': contentType }, limits });
  } catch {
    throw new ResultRefused('the multipart header has no boundary');
  }
}

/**
 * A break of the incoming stream is thrown as it is: it says nothing about the result. Not `pipeline`: the second stream
 * and the abort signal that it makes for every result cost more than the parsing.
 */
async function feed(body: AsyncIterable<Uint8Array>, form: BusboyInstance): Promise<void> {
  let fault: unknown;
  const parsed = new Promise<void>((resolve) => {
    form.once('finish', resolve);
    // Every error, not the first alone: the parser may report several.
    form.on('error', (error) => {
      fault ??= error;
      resolve();
    });
  });
  for await (const chunk of body) {
    if (fault !== undefined) break;
    if (!form.write(chunk)) await Promise.race([drained(form), parsed]);
  }
  if (fault === undefined) form.end();
  await parsed;
  if (fault === undefined) return;
  throw new ResultRefused(`the multipart body is malformed: ${fault instanceof Error ? fault.message : 'unknown'}`);
}

const drained = (form: BusboyInstance): Promise<void> => new Promise((resolve) => form.once('drain', resolve));

function readManifest(bytes: Buffer | undefined): MinerManifest {
  if (!bytes) throw new ResultRefused(`the part ${MANIFEST_PART} is missing`);
  try {
    return validated(MinerManifest, JSON.parse(bytes.toString('utf8')), MANIFEST_PART);
  } catch (error) {
    throw new ResultRefused(isStudioError(error) ? error.message : `the part ${MANIFEST_PART} is not JSON`);
  }
}

/** Exactly what the tensors need, with the largest header; an engine without a format gets nothing accepted anyway. */
function maxLoraBytes(engine: Engine, rank: number): number {
  const format = adapterFormat(engine);
  const shapes = format ? [...adapterShapes(format, rank).values()] : [];
  const values = shapes.reduce((sum, shape) => sum + shape.reduce((product, side) => product * side, 1), 0);
  return MAX_HEADER_BYTES + 8 + values * BYTES_PER_VALUE;
}
