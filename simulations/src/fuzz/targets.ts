/** What is fed, and what has to hold of its answer whatever it is fed: it refuses with a reason, or what it accepts is sound. */
import type { CheckPool } from '@studio/querier/checks/check-pool';
import { expectedFiles, readMinerResult, ResultRefused } from '@studio/querier/miner-result';
import type { InferenceInput, TrainingInput } from '@studio/shared/domain/job';
import { readSafetensors, SafetensorsError, writeSafetensors } from '@studio/shared/protocol/safetensors';
import { FORM_TYPE } from '@studio/shared/testing/result-form';
import type { Chance } from '../chance';
import { mutated } from './mutations';
import { LORA, SIZE, type Seed, type Seeds } from './seeds';

export const ACCEPTED = 'accepted';

export interface Target {
  name: string;
  /** Of all inputs. */
  share: number;
  seeds: readonly Seed[];
  /** Accepted, or why it is refused. Throws what no input may cause. */
  judge(input: Buffer, chance: Chance): Promise<string> | string;
}

export function makeTargets(seeds: Seeds, pool: CheckPool): Target[] {
  return [
    { name: 'images', share: 0.09, seeds: seeds.pictures, judge: (input) => judgeImage(pool, input) },
    { name: 'photographs', share: 0.02, seeds: seeds.pictures, judge: (input) => judgePhotograph(pool, input) },
    { name: 'LoRAs', share: 0.15, seeds: seeds.loras, judge: async (input) => outcomeOf(await pool.lora(input, LORA)) },
    {
      name: 'LoRA uploads',
      share: 0.1,
      seeds: seeds.uploads,
      judge: async (input) => outcomeOf(await pool.loraUpload(input)),
    },
    { name: 'safetensors', share: 0.32, seeds: [...seeds.loras, ...seeds.uploads], judge: judgeSafetensors },
    { name: 'forms', share: 0.32, seeds: seeds.forms, judge: judgeForm },
  ];
}

/** The target's input from this chance; another seed's bytes may be in it. */
export function inputOf({ seeds }: Target, chance: Chance): Buffer {
  const [seed, other] = [0, 1].map(() => seeds[chance.whole(0, seeds.length - 1)]!) as [Seed, Seed];
  return mutated(seed.bytes, seed.format, chance, other.bytes);
}

type Answer = { ok: true } | { ok: false; reason: string };

function outcomeOf(answer: Answer): string {
  if (answer.ok) return ACCEPTED;
  // No input of this size may need as much as the largest legal one.
  if (/needs more (time|memory)/.test(answer.reason)) throw new Error(answer.reason);
  if (answer.reason === '' || answer.reason.length > 400)
    throw new Error(`a reason of ${answer.reason.length} characters`);
  return answer.reason;
}

async function judgeImage(pool: CheckPool, input: Buffer): Promise<string> {
  const checked = await pool.image(input, SIZE);
  if (checked.ok) assertClean(checked.value);
  return outcomeOf(checked);
}

async function judgePhotograph(pool: CheckPool, input: Buffer): Promise<string> {
  const checked = await pool.photograph(input, SIZE.width);
  if (checked.ok) assertClean(checked.value);
  return outcomeOf(checked);
}

function assertClean({
  png,
  pixelHash,
  dctHash,
  width,
  height,
}: {
  png: Uint8Array;
  pixelHash: string;
  dctHash: string;
  width: number;
  height: number;
}): void {
  const header = Buffer.from(png);
  const isSized = header.readUInt32BE(16) === SIZE.width && header.readUInt32BE(20) === SIZE.height;
  if (!isSized || width !== SIZE.width || height !== SIZE.height) throw new Error('accepted in another size');
  if (![pixelHash, dctHash].every((hash) => /^[0-9a-f]{64}$/.test(hash))) throw new Error('accepted without hashes');
  if (/Exif|iCCP|tEXt|zTXt|iTXt/.test(header.toString('latin1', 0, 200))) throw new Error('kept what is no pixel');
}

/** What is read can be written, and is then read as the same: no file is two LoRAs. */
function judgeSafetensors(input: Buffer): string {
  let file;
  try {
    file = readSafetensors(input);
  } catch (error) {
    if (error instanceof SafetensorsError) return error.fault;
    throw error;
  }
  const tensors = [...file.tensors];
  const bytes = tensors.reduce((sum, [, tensor]) => sum + tensor.bytes.length, 0);
  if (bytes !== input.length - 8 - Number(input.readBigUInt64LE(0))) throw new Error('bytes belong to no tensor');
  const again = readSafetensors(writeSafetensors(tensors, file.metadata));
  for (const [name, { shape, data }] of tensors) {
    const copy = again.tensors.get(name);
    // By value: which NaN it is gets lost on the way, and none is ever accepted.
    const isSame = copy?.shape.join() === shape.join() && copy.data.every((value, i) => Object.is(value, data[i]));
    if (!isSame) throw new Error(`tensor ${JSON.stringify(name)} is not read as it is written`);
  }
  return ACCEPTED;
}

const IMAGE_JOB = expectedFiles('lora-inference', LORA.engine, { ...SIZE, numImages: 1 } as InferenceInput);
const LORA_JOB = expectedFiles('lora-training', LORA.engine, LORA as unknown as TrainingInput);
const TYPES = [FORM_TYPE, FORM_TYPE, FORM_TYPE, 'multipart/form-data; boundary=edg', 'multipart/form-data; boundary="', 'multipart/form-data;;boundary=edge; charset=\u0000', 'multipart/form-data']; // prettier-ignore

/** The same in one piece and in many: how a network cuts it decides nothing. */
async function judgeForm(input: Buffer, chance: Chance): Promise<string> {
  const job = chance.happens(0.5) ? IMAGE_JOB : LORA_JOB;
  const type = TYPES[chance.whole(0, TYPES.length - 1)]!;
  const whole = await readForm(input, Math.max(1, input.length), type, job);
  const cut = await readForm(input, chance.whole(1, 500), type, job);
  if (whole !== cut) throw new Error(`in one piece: ${whole}; in many: ${cut}`);
  return whole;
}

async function readForm(input: Buffer, length: number, type: string, job: typeof IMAGE_JOB): Promise<string> {
  try {
    const { files } = await readMinerResult(pieces(input, length), type, job);
    const names = [...files.keys()];
    if (names.some((name) => !job.names.includes(name))) throw new Error(`took the parts ${names.join()}`);
    if ([...files.values()].some((file) => file.length > job.maxBytesEach)) throw new Error('took a part too large');
    return ACCEPTED;
  } catch (error) {
    if (error instanceof ResultRefused) return error.message;
    throw error;
  }
}

async function* pieces(bytes: Buffer, length: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}
