/** Ways in which a sound file becomes one that nobody wrote. Each gives a new buffer, of at most a little more length. */
import { crc32 } from 'node:zlib';
import type { Chance } from '../chance';

export type Format = 'png' | 'jpeg' | 'webp' | 'safetensors' | 'form';

/** What a parser may take for something. */
const WORDS: Readonly<Record<Format, readonly string[]>> = {
  png: ['IHDR', 'PLTE', 'IDAT', 'IEND', 'tRNS', 'zTXt', 'iCCP', 'eXIf', 'acTL', 'fdAT'],
  jpeg: ['\xff\xd8', '\xff\xd9', '\xff\xda', '\xff\xc4', '\xff\xc2', '\xff\xe1\0\x10Exif\0\0', '\xff\xff'],
  webp: ['RIFF', 'WEBP', 'VP8 ', 'VP8L', 'VP8X', 'ALPH', 'ANIM', 'ANMF', 'EXIF', 'ICCP'],
  safetensors: ['"__proto__"', '"__metadata__"', '"dtype"', '"F16"', '"BF16"', '"F64"', '"shape"', '[', ']', '{', '}', ',', '\\u0061', '\\ud800', 'null', '"x.hidden.lora_B.weight"'], // prettier-ignore
  form: ['\r\n', '\r\n\r\n', '--edge', '\r\n--edge--', '\r\n--edge\r\n', 'name="image_0"', 'name="lora"', 'name="__proto__"', 'filename=', 'content-transfer-encoding: base64\r\n', '"', ';', '{', '\\'], // prettier-ignore
};

/** Around which programs go wrong. */
const NUMBERS = [0n, 1n, 2n, 0x7fn, 0x80n, 0xffn, 0x7fffn, 0xffffn, 0x7fff_ffffn, 0x8000_0000n, 0xffff_ffffn, (1n << 53n) + 1n, (1n << 63n) - 1n, (1n << 64n) - 1n]; // prettier-ignore
const DIGITS = ['0', '-1', '-0', '1e2', '1.0', '00', '65536', '4294967296', '9007199254740993', '1e308', '18446744073709551616']; // prettier-ignore

type Mutation = (file: Buffer, chance: Chance, format: Format, other: Buffer) => Buffer;

const place = (file: Buffer, chance: Chance): number => chance.whole(0, Math.max(0, file.length - 1));
const stretch = (file: Buffer, chance: Chance, most: number): [number, number] => {
  const begin = place(file, chance);
  return [begin, Math.min(file.length, begin + chance.whole(1, most))];
};
const pick = <T>(list: readonly T[], chance: Chance): T => list[chance.whole(0, list.length - 1)]!;
/** The file with `to` instead of what lies between the two places. */
const replaced = (file: Buffer, begin: number, end: number, to: Buffer): Buffer =>
  Buffer.concat([file.subarray(0, begin), to, file.subarray(end)]);
const copied = (file: Buffer, change: (copy: Buffer) => void): Buffer => {
  const copy = Buffer.from(file);
  if (copy.length > 0) change(copy);
  return copy;
};

const flipBits: Mutation = (file, chance) =>
  copied(file, (copy) => {
    for (let i = chance.whole(1, 6); i > 0; i--) copy[place(file, chance)]! ^= 1 << chance.whole(0, 7);
  });
const overwrite: Mutation = (file, chance) => {
  const [begin, end] = stretch(file, chance, 64);
  return copied(file, (copy) => copy.fill(pick([0, 0xff, 0x20, chance.whole(0, 255)], chance), begin, end));
};
const writeNumber: Mutation = (file, chance) => {
  const bytes = Buffer.alloc(8);
  const width = pick([1, 2, 4, 8], chance);
  const number = pick([...NUMBERS, BigInt(file.length)], chance);
  if (chance.happens(0.5)) bytes.writeBigUInt64LE(BigInt.asUintN(8 * width, number));
  else bytes.writeBigUInt64BE(BigInt.asUintN(8 * width, number) << BigInt(64 - 8 * width));
  // Headers are at the beginning.
  const begin = chance.happens(0.5) ? chance.whole(0, Math.min(64, Math.max(0, file.length - 1))) : place(file, chance);
  return copied(file, (copy) => void bytes.copy(copy, begin, 0, width));
};
const rewriteDigits: Mutation = (file, chance) => {
  const runs = [...file.toString('latin1').matchAll(/\d+/g)];
  if (runs.length === 0) return file;
  const { 0: run, index } = pick(runs, chance);
  return replaced(file, index, index + run.length, Buffer.from(pick(DIGITS, chance)));
};
const insertWord: Mutation = (file, chance, format) => {
  const [begin, end] = stretch(file, chance, 12);
  const word = Buffer.from(pick(WORDS[format], chance), 'latin1');
  return replaced(file, begin, chance.happens(0.5) ? begin : end, word);
};
const remove: Mutation = (file, chance) => replaced(file, ...stretch(file, chance, 200), Buffer.alloc(0));
const truncate: Mutation = (file, chance) => file.subarray(0, place(file, chance));
const repeat: Mutation = (file, chance) => {
  const [begin, end] = stretch(file, chance, 400);
  return replaced(file, end, end, Buffer.concat(Array<Buffer>(chance.whole(1, 8)).fill(file.subarray(begin, end))));
};
const move: Mutation = (file, chance) => {
  const [begin, end] = stretch(file, chance, 100);
  const at = place(file, chance);
  return replaced(file, at, at, file.subarray(begin, end));
};
const crossOver: Mutation = (file, chance, _format, other) =>
  Buffer.concat([file.subarray(0, place(file, chance)), other.subarray(place(other, chance))]);

const MUTATIONS: readonly Mutation[] = [flipBits, flipBits, overwrite, writeNumber, writeNumber, rewriteDigits, insertWord, remove, truncate, repeat, move, crossOver]; // prettier-ignore

/** `file` after one to four mutations. Half of the files are then repaired where a checksum or a length would end it. */
export function mutated(file: Buffer, format: Format, chance: Chance, other: Buffer): Buffer {
  let bytes = file;
  for (let i = chance.whole(1, 4); i > 0; i--) bytes = pick(MUTATIONS, chance)(bytes, chance, format, other);
  return chance.happens(0.5) ? repaired(bytes, format, file) : bytes;
}

function repaired(bytes: Buffer, format: Format, original: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  if (format === 'png') sumChunks(copy);
  if (format === 'webp' && copy.length >= 8) copy.writeUInt32LE(copy.length - 8, 4);
  if (format === 'safetensors' && copy.length >= 8) {
    // As if all that was put in or taken out were the header's.
    const header = original.readBigUInt64LE(0) + BigInt(copy.length - original.length);
    copy.writeBigUInt64LE(BigInt.asUintN(64, header), 0);
  }
  return copy;
}

function sumChunks(png: Buffer): void {
  let at = 8;
  while (at + 12 <= png.length) {
    const end = at + 8 + png.readUInt32BE(at);
    if (end + 4 > png.length) return;
    png.writeUInt32BE(crc32(png.subarray(at + 4, end)), end);
    at = end + 4;
  }
}
