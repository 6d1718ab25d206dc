/** Sound files of every kind that tier 1 reads. What is mutated, and first of all accepted as it is. */
import sharp, { type Sharp } from 'sharp';
import { adapterToTensors } from '@studio/ref-sep/adapter-tensors';
import { trainAdapter } from '@studio/ref-sep/train';
import { imagePart, LORA_PART, MANIFEST_PART } from '@studio/shared/contract/miner-job';
import { writeSafetensors } from '@studio/shared/protocol/safetensors';
import { field, form, MANIFEST, manifestPart, part } from '@studio/shared/testing/result-form';
import { Chance } from '../chance';
import { picture } from '../tier1/unusable-results';
import type { Format } from './mutations';

/** As small as a job may ask for: a decoder goes wrong over its input, not over many pixels. */
export const SIZE = { width: 16, height: 16 };
export const LORA = { engine: 'ref-sep-v1', rank: 1, resolution: 16 } as const;

export interface Seed {
  format: Format;
  bytes: Buffer;
}

export interface Seeds {
  pictures: Seed[];
  loras: Seed[];
  /** Of other trainers, for another engine: what a client may upload. */
  uploads: Seed[];
  forms: Seed[];
}

const pixels = picture(new Chance(1), SIZE);
const open = (): Sharp => sharp(pixels, { raw: { ...SIZE, channels: 3 } });

export async function makeSeeds(): Promise<Seeds> {
  const loras = await trainedLoras();
  const pictures = await encodedPictures();
  return { pictures, loras, uploads: uploadedLoras(), forms: forms(pictures[0]!.bytes, loras[0]!.bytes) };
}

async function encodedPictures(): Promise<Seed[]> {
  const tagged = (): Sharp =>
    open()
      .withExif({ IFD0: { Copyright: 'somebody' } })
      .withIccProfile('p3');
  const images: [Format, Sharp][] = [
    ['png', open().png()],
    ['png', open().png({ progressive: true })],
    ['png', open().png({ palette: true, colours: 16 })],
    ['png', open().greyscale().png()],
    ['png', open().ensureAlpha(0.9).png()],
    ['png', open().ensureAlpha(0.9).toColourspace('rgb16').png()],
    ['png', tagged().png()],
    ['jpeg', open().jpeg()],
    ['jpeg', open().jpeg({ progressive: true, chromaSubsampling: '4:4:4' })],
    ['jpeg', open().greyscale().jpeg()],
    ['jpeg', open().toColourspace('cmyk').jpeg()],
    ['jpeg', tagged().jpeg()],
    ['webp', open().webp()],
    ['webp', open().webp({ lossless: true })],
    ['webp', open().ensureAlpha(0.9).webp()],
    ['webp', tagged().webp()],
  ];
  return Promise.all(images.map(async ([format, image]) => ({ format, bytes: await image.toBuffer() })));
}

async function trainedLoras(): Promise<Seed[]> {
  const adapter = await trainAdapter({ rgb: pixels, ...SIZE, steps: 20, rank: LORA.rank, seed: 1 });
  const { tensors, metadata } = adapterToTensors(adapter);
  const written = (more: Record<string, string>): Seed => ({
    format: 'safetensors',
    bytes: Buffer.from(writeSafetensors(tensors, { ...metadata, ...more })),
  });
  return [written({}), written({ format: 'pt', trainer: 'an \u00e9l\u00e8ve\u2019s "own" \\ one' })];
}

function uploadedLoras(): Seed[] {
  const module = 'transformer.single_transformer_blocks.0.attn.to_q';
  const kohya = 'lora_unet_double_blocks_0_img_attn_proj';
  const tensor = (...shape: number[]) => ({
    shape,
    data: Float32Array.from(
      { length: shape.reduce((product, side) => product * side, 1) },
      (_, i) => (i % 7) / 9 - 0.3,
    ),
  });
  const files = [
    writeSafetensors([
      [`${module}.lora_A.weight`, tensor(4, 8)],
      [`${module}.lora_B.weight`, tensor(6, 4)],
    ]),
    writeSafetensors([
      [`${kohya}.lora_down.weight`, tensor(4, 8)],
      [`${kohya}.lora_up.weight`, tensor(6, 4)],
      [`${kohya}.alpha`, tensor(1)],
    ]),
  ];
  return files.map((file) => ({ format: 'safetensors', bytes: Buffer.from(file) }));
}

/** One for a picture, one for a LoRA, and what other clients make of the same. */
function forms(png: Buffer, lora: Buffer): Seed[] {
  const image = part(imagePart(0), png, 'content-type: image/png\r\n');
  return [
    form(manifestPart(), image),
    form(manifestPart(), part(LORA_PART, lora)),
    form(field(MANIFEST_PART, MANIFEST), image),
    form(image, manifestPart()),
    form(manifestPart(), part(imagePart(0), png, 'x-a: b\r\ncontent-transfer-encoding: binary\r\n')),
  ].map((bytes) => ({ format: 'form', bytes }));
}
