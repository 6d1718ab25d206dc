/**
 * What a hostile miner can put into a result: one table for the door that reads results and for the process that has to
 * outlive all of it. Asked for are one picture of 64 × 64, or a LoRA of ref-sep-v1 with rank 4.
 */
import { deflateSync } from 'node:zlib';
import sharp from 'sharp';
import { adapterFormat, adapterShapes } from '../domain/adapter-format';
import { LORA_PART, MANIFEST_PART, imagePart } from '../contract/miner-job';
import { writeSafetensors } from '../protocol/safetensors';
import { claiming, pngChunk, withChunks } from './png-file';
import { field, form, FORM_TYPE, MANIFEST, manifestPart, part } from './result-form';

export const HOSTILE_SIZE = { width: 64, height: 64 };
export const HOSTILE_LORA = { engine: 'ref-sep-v1', rank: 4, resolution: 64 } as const;

export interface HostileResult {
  name: string;
  kind: 'image' | 'lora';
  contentType: string;
  body: Buffer;
  /** Why it is refused; `clean` when it is accepted without what was hidden in it. */
  reason: RegExp | 'clean';
}

/** Hidden where a picture may hide something; never in what we keep. */
export const PAYLOAD = 'PAYLOAD-OF-A-STRANGER';

const TYPE = FORM_TYPE;
const IMAGE = imagePart(0);
const manifest = manifestPart();

export async function hostileResults(): Promise<HostileResult[]> {
  return [...(await pictures()), ...loras(), ...forms(await picture().png().toBuffer())];
}

/** What a well-behaved miner sends: accepted, so that a refusal of everything else says something. */
export async function honestResults(): Promise<Omit<HostileResult, 'reason'>[]> {
  const png = await picture().png().toBuffer();
  return [
    { name: 'a picture', kind: 'image', contentType: TYPE, body: form(manifest, part(IMAGE, png)) },
    { name: 'a LoRA', kind: 'lora', contentType: TYPE, body: form(manifest, part(LORA_PART, lora())) },
  ];
}

function noise({ width, height } = HOSTILE_SIZE): Buffer {
  return Buffer.from(Array.from({ length: width * height * 3 }, (_, i) => (i * 7919) % 251));
}
const picture = () => sharp(noise(), { raw: { ...HOSTILE_SIZE, channels: 3 } });

async function pictures(): Promise<HostileResult[]> {
  const png = await picture().png().toBuffer();
  const still = { ...HOSTILE_SIZE, channels: 3 as const };
  const frames = { ...still, height: 2 * still.height, pageHeight: still.height };
  const moving = await sharp(noise({ width: 64, height: 128 }), { raw: frames })
    .webp({ loop: 0 })
    .toBuffer();
  const bomb = await sharp({ create: { width: 6_000, height: 6_000, channels: 3, background: '#000' } })
    .png({ compressionLevel: 9 })
    .toBuffer();
  const text = pngChunk('zTXt', compressed('Comment', 50_000_000));
  const profile = pngChunk('iCCP', compressed('Profile', 100_000_000));
  const empty = pngChunk('prVt', Buffer.alloc(0));
  const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><image href="file:///etc/passwd"/></svg>';
  const image = (name: string, bytes: Buffer | string, reason: HostileResult['reason']): HostileResult => ({
    name,
    kind: 'image',
    contentType: TYPE,
    body: form(manifest, part(IMAGE, bytes)),
    reason,
  });
  return [
    image('a pixel bomb', bomb, /pixel limit/),
    image('a header that claims 30,000 × 30,000', claiming(png, 30_000, 30_000), /pixel limit/),
    image('a truncated PNG', png.subarray(0, png.length >> 1), /cannot be decoded/),
    image('a PNG whose last chunk is missing', png.subarray(0, png.length - 12), 'clean'),
    image('a PNG that is a zip as well', Buffer.concat([png, Buffer.from(`PK\x03\x04${PAYLOAD}PK\x05\x06`)]), 'clean'),
    image('a PNG with a script behind it', Buffer.concat([png, Buffer.from(`<script>${PAYLOAD}</script>`)]), 'clean'),
    image('a PNG with a text chunk', withChunks(png, pngChunk('tEXt', Buffer.from(`Comment\0${PAYLOAD}`))), 'clean'),
    image('an animated PNG', withChunks(png, pngChunk('acTL', Buffer.from([0, 0, 0, 2, 0, 0, 0, 0]))), 'clean'),
    // Of 16 GiB and 90 s, where the decoder sees it.
    image(
      'a PNG with 200 compressed texts of 50 MB',
      withChunks(png, ...Array.from({ length: 200 }, () => text)),
      'clean',
    ),
    image(
      'a PNG with a million empty chunks',
      withChunks(png, Buffer.concat(Array<Buffer>(1_000_000).fill(empty))),
      'clean',
    ),
    image('a colour profile of 100 MB', withChunks(png, profile), 'clean'),
    image('an animated WebP', moving, /frames instead of one/),
    image('an SVG', svg, /not a PNG, JPEG or WebP/),
    image(
      'an SVG behind the first bytes of a PNG',
      Buffer.concat([png.subarray(0, 8), Buffer.from(svg)]),
      /cannot be decoded/,
    ),
    image('a GIF', await picture().gif().toBuffer(), /not a PNG, JPEG or WebP/),
    image('nothing', '', /empty/),
  ];
}

/** What a chunk of compressed text or a profile holds: its name, the method, and a stream that becomes this long. */
function compressed(name: string, length: number): Buffer {
  return Buffer.concat([Buffer.from(`${name}\0\0`), deflateSync(Buffer.alloc(length, 'x'), { level: 9 })]);
}

/** A LoRA of one number everywhere; `value` replaces its first. */
function lora(value?: number, everywhere = 0.01): Buffer {
  const shapes = adapterShapes(adapterFormat(HOSTILE_LORA.engine)!, HOSTILE_LORA.rank);
  const tensors = [...shapes].map(([name, shape], index) => {
    const data = new Float32Array(shape.reduce((product, side) => product * side, 1)).fill(everywhere);
    if (index === 0 && value !== undefined) data[0] = value;
    return [name, { shape, data }] as const;
  });
  const { engine, rank, resolution } = HOSTILE_LORA;
  return Buffer.from(writeSafetensors(tensors, { engine, rank: String(rank), resolution: String(resolution) }));
}

/** The header as it is, whatever it says. */
function safetensors(header: string, bodyBytes: number, claimed = Buffer.byteLength(header)): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(claimed));
  return Buffer.concat([length, Buffer.from(header), Buffer.alloc(bodyBytes)]);
}

const tensor = (begin: number, end: number): object => ({ dtype: 'F32', shape: [2], data_offsets: [begin, end] });
const manyTensors = (count: number): string =>
  JSON.stringify(Object.fromEntries(Array.from({ length: count }, (_, i) => [`t${i}`, tensor(8 * i, 8 * i + 8)])));

function loras(): HostileResult[] {
  const file = (name: string, bytes: Buffer, reason: RegExp): HostileResult => ({
    name,
    kind: 'lora',
    contentType: TYPE,
    body: form(manifest, part(LORA_PART, bytes)),
    reason,
  });
  return [
    file('a header that claims 100 MB', safetensors('{}', 0, 100_000_000), /header claims 100000000 bytes/),
    file('a header that claims 2⁶³ bytes', safetensors('{}', 0, Number.MAX_SAFE_INTEGER), /header claims/),
    file('a header of 100 MB', safetensors(' '.repeat(100_000_000), 0), /larger than/),
    file('100,000 tensors', safetensors(manyTensors(100_000), 800_000), /larger than/),
    file('more tensors than are read', safetensors(manyTensors(5_000), 40_000), /5000 tensors/),
    file(
      'tensors that overlap',
      safetensors(JSON.stringify({ a: tensor(0, 8), b: tensor(4, 12) }), 12),
      /does not begin where/,
    ),
    file('one key twice', safetensors('{"a":{},"a":{}}', 0), /the key "a" twice/),
    file(
      'a deep header',
      safetensors(`{"a":${'['.repeat(400_000)}${']'.repeat(400_000)}}`, 0),
      /not a sound safetensors file/,
    ),
    file('a tensor that is not a number', lora(NaN), /not finite/),
    file('a tensor without an end', lora(Infinity), /not finite/),
    file('numbers beyond any training', lora(1e30), /larger than any training/),
    file('numbers that change nothing', lora(0, 1e-20), /changes nothing/),
    file('a shape of 1e2', safetensors('{"a":{"dtype":"F32","shape":[1e0],"data_offsets":[0,4]}}', 4), /plain whole/),
    file(
      'half a character',
      safetensors('{"\\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', 4),
      /surrogate/,
    ),
    file('a tensor named __proto__', safetensors(JSON.stringify({ ['__proto__']: tensor(0, 8) }), 8), /missing/),
    file('a cut file', lora().subarray(0, 2_000), /the file is cut/),
  ];
}

function forms(png: Buffer): HostileResult[] {
  const image = part(IMAGE, png);
  const sent = (name: string, body: Buffer, reason: HostileResult['reason'], contentType = TYPE): HostileResult => ({
    name,
    kind: 'image',
    contentType,
    body,
    reason,
  });
  const deep = '['.repeat(30_000) + ']'.repeat(30_000);
  const json = 'content-type: application/json\r\n';
  return [
    sent('a deep manifest', form(part(MANIFEST_PART, deep, json), image), /manifest/),
    sent(
      'a manifest with a deep field',
      form(part(MANIFEST_PART, `${MANIFEST.slice(0, -1)},"x":${deep}}`, json), image),
      /manifest/,
    ),
    sent('a manifest of 1 MiB', form(part(MANIFEST_PART, `"${'x'.repeat(1 << 20)}"`, json), image), /manifest/),
    sent(
      'a field of 10 MiB',
      form(field(MANIFEST_PART, 'x'.repeat(10 << 20)), image),
      /a field is larger|manifest is too large/,
    ),
    sent(
      '10,000 parts',
      form(manifest, ...Array.from({ length: 10_000 }, (_, i) => part(`image_${i}`, 'x'))),
      /nobody asked for|too many parts/,
    ),
    sent(
      '10,000 fields',
      form(manifest, ...Array.from({ length: 10_000 }, (_, i) => field(`f${i}`, 'x'))),
      /nobody asked for|too many parts/,
    ),
    sent('a part twice', form(manifest, image, image), /comes twice/),
    sent('a part named __proto__', form(manifest, part('__proto__', png), image), /nobody asked for/),
    sent('a part without a name', form(manifest, part('', png), image), /nobody asked for/),
    sent('a part name with a path', form(manifest, part('../../image_0', png)), /nobody asked for/),
    sent('a part with a header of 1 MiB', form(manifest, part(IMAGE, png, `a: ${'x'.repeat(1 << 20)}\r\n`)), 'clean'),
    sent('a part with 100,000 headers', form(manifest, part(IMAGE, png, 'a: b\r\n'.repeat(100_000))), 'clean'),
    sent('no boundary', form(manifest, image), /no boundary/, 'multipart/form-data'),
    sent('another boundary', form(manifest, image), /malformed|ends|missing/, 'multipart/form-data; boundary=other'),
    sent(
      'a boundary of 10,000 characters',
      form(manifest, image),
      /malformed|ends|missing|boundary/,
      `multipart/form-data; boundary=${'b'.repeat(10_000)}`,
    ),
    sent('JSON', Buffer.from(MANIFEST), /not multipart/, 'application/json'),
    sent('no last boundary', Buffer.concat([manifest, image]), /malformed|ends/),
    sent(
      '10 MiB before the first part',
      Buffer.concat([Buffer.alloc(10 << 20, 'x'), form(manifest)]),
      /missing|malformed/,
    ),
  ];
}
