import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tensorLayout } from '@studio/ref-sep/adapter';
import { cosine } from '@studio/ref-sep/adapter-similarity';
import { adapterFromTensors } from '@studio/ref-sep/adapter-tensors';
import { adapterFormat, adapterShapes } from '@studio/shared/domain/adapter-format';
import { readSafetensors, tensorHash } from '@studio/shared/protocol/safetensors';
import sharp from 'sharp';
import { ByteStore } from './byte-store';
import type { Craft, RenderWork, TrainingWork } from './craft';
import { render, train } from './engine-worker';
import { PROFILES, type ProfileName } from './profiles';
import { decodeRgb, encodePng } from './ref-sep-craft';

/** The engine without threads: what the threads do, in this one. */
const engine: Craft = { train: (work) => train(work), render: async (work) => render(work), encode: encodePng };
const signal = new AbortController().signal;

const photo = (twist: number) => {
  const rgb = Uint8Array.from({ length: 16 * 16 * 3 }, (_, i) => (i * 5 + ((i * twist) % 31) * 4) % 256);
  return { rgb, width: 16, height: 16 };
};
const training = (twist: number): TrainingWork => ({ image: photo(twist), steps: 8, rank: 2, seed: 1, timeoutMs: 400 });

let folder: string;
let lora: Uint8Array;
let inference: RenderWork;
const profile = (name: ProfileName): Craft => PROFILES[name](engine, new ByteStore(join(folder, name)));

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'profiles-'));
  lora = await engine.train(training(1), signal);
  inference = { lora, prompt: 'p', width: 20, height: 16, seeds: [3, 4], loraScale: 1, warp: 0.5, timeoutMs: 400 };
});
afterAll(() => rm(folder, { recursive: true }));

describe('the built-in engine', () => {
  it('writes the tensors that the published adapter format names', () => {
    for (const rank of [1, 16, 32]) {
      const shapes = [...adapterShapes(adapterFormat('ref-sep-v1')!, rank)];
      expect(tensorLayout(rank).map(({ name, shape }) => [name, shape])).toEqual(shapes);
    }
    expect(Object.keys(Object.fromEntries(readSafetensors(lora).tensors))).toHaveLength(13);
  });

  it('renders from its own file, and one image per seed', async () => {
    const images = await engine.render(inference, signal);
    expect(images).toHaveLength(2);
    expect(images[0]).not.toEqual(images[1]);
  });

  it('hands in PNG files that decode to the same pixels', async () => {
    const image = photo(9);
    expect(await decodeRgb(await encodePng(image), 16)).toEqual({ ...image, rgb: Buffer.from(image.rgb) });
  });

  it('decodes nothing but an image of the size announced', async () => {
    const png = await encodePng(photo(9));
    await expect(decodeRgb(png, 8)).rejects.toThrow();
    await expect(decodeRgb(png, 17)).rejects.toThrow('the image is 16×16 with 3 channels, not 17×17 RGB');
    await expect(decodeRgb(Buffer.from('not an image'), 16)).rejects.toThrow();
  });
});

describe('profile', () => {
  it('honest - is the engine itself', async () => {
    expect(await profile('honest').train(training(1), signal)).toEqual(lora);
  });

  it('half-size - gives the right size, smooth, and other pixels', async () => {
    const [own] = await engine.render(inference, signal);
    const [image] = await profile('half-size').render(inference, signal);
    expect(image).toMatchObject({ width: 20, height: 16 });
    expect(image!.rgb).toHaveLength(own!.rgb.length);
    expect(Buffer.from(image!.rgb)).not.toEqual(Buffer.from(own!.rgb));
    expect(detail(image!.rgb)).toBeLessThan(detail(own!.rgb));
  });

  it('stale-lora - trains each rank once, and remembers it over a restart', async () => {
    expect(await profile('stale-lora').train(training(1), signal)).toEqual(lora);
    expect(Buffer.from(await profile('stale-lora').train(training(2), signal))).toEqual(Buffer.from(lora));
    const other = await profile('stale-lora').train({ ...training(2), rank: 3 }, signal);
    expect(readSafetensors(other).metadata.rank).toBe('3');
  });

  it('dishonest - is half-size and stale-lora in one', async () => {
    const dishonest = profile('dishonest');
    const [half] = await profile('half-size').render(inference, signal);
    expect((await dishonest.render(inference, signal))[0]!.rgb).toEqual(half!.rgb);
    await dishonest.train(training(1), signal);
    expect(Buffer.from(await dishonest.train(training(2), signal))).toEqual(Buffer.from(lora));
  });

  it('fewer-steps - trains a quarter', async () => {
    const quarter = await engine.train({ ...training(1), steps: 2 }, signal);
    expect(await profile('fewer-steps').train(training(1), signal)).toEqual(quarter);
  });

  it('stale-image - gives the first image of a size for ever', async () => {
    const stale = profile('stale-image');
    const [first] = await stale.render(inference, signal);
    const again = await stale.render({ ...inference, prompt: 'another', seeds: [9] }, signal);
    expect(Buffer.from(again[0]!.rgb)).toEqual(Buffer.from(first!.rgb));
  });

  it('noise - moves every byte by exactly one', async () => {
    const [own] = await engine.render(inference, signal);
    const [noisy] = await profile('noise').render(inference, signal);
    expect(new Set(noisy!.rgb.map((value, i) => Math.abs(value - own!.rgb[i]!)))).toEqual(new Set([1]));
  });

  it('empty - hands in black images and zero bytes', async () => {
    const [image] = await profile('empty').render(inference, signal);
    expect(new Set(image!.rgb)).toEqual(new Set([0]));
    expect(await profile('empty').train(training(1), signal)).toHaveLength(0);
  });

  it('rescaled-lora - hands in a LoRA it has seen: other bytes, the same ΔW', async () => {
    const copier = profile('rescaled-lora');
    await copier.render(inference, signal);
    const copy = readSafetensors(await copier.train(training(2), signal));
    const seen = readSafetensors(lora);
    expect(tensorHash(copy.tensors)).not.toBe(tensorHash(seen.tensors));
    expect(cosine(adapterFromTensors(copy), adapterFromTensors(seen))).toBeCloseTo(1, 6);
  });

  it('slow - is right, after 95 % of the time', async () => {
    const start = performance.now();
    expect(await profile('slow').train(training(1), signal)).toEqual(lora);
    expect(performance.now() - start).toBeGreaterThan(375);
  });

  it.each(['silent', 'slow'] as const)('%s - ends when it is told to', async (name) => {
    const abort = new AbortController();
    const work = profile(name).train({ ...training(1), timeoutMs: 60_000 }, abort.signal);
    setImmediate(() => abort.abort(new Error('cancelled')));
    await expect(work).rejects.toThrow(/cancelled|aborted/);
  });

  it('garbage - hands in bytes that are no image and no LoRA', async () => {
    const garbage = profile('garbage');
    const [image] = await garbage.render(inference, signal);
    await expect(sharp(await garbage.encode(image!)).metadata()).rejects.toThrow();
    const bytes = await garbage.train(training(1), signal);
    expect(() => readSafetensors(bytes)).toThrow();
  });
});

/** Sum of squared second differences along the rows: what scaling up loses. */
function detail(rgb: Uint8Array): number {
  let sum = 0;
  for (let i = 6; i < rgb.length; i++) sum += (rgb[i]! - 2 * rgb[i - 3]! + rgb[i - 6]!) ** 2;
  return sum;
}
