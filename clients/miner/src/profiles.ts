/**
 * How a miner behaves: `honest`, or one of the ways to cheat or fail that the orchestrator has to catch (tests and the
 * demo). Each profile wraps the honest craft and changes one thing; all are deterministic where their kind allows it.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RgbImage } from '@studio/ref-sep/image';
import { loraA, loraB } from '@studio/shared/domain/adapter-format';
import { readSafetensors, writeSafetensors } from '@studio/shared/protocol/safetensors';
import sharp from 'sharp';
import type { Craft, RenderWork, TrainingWork } from './craft';
import type { ByteStore } from './byte-store';

/** `keepsakes` is where a profile remembers earlier work, across restarts. */
export type Profile = (honest: Craft, keepsakes: ByteStore) => Craft;

/** Slow miners answer within the time limit, but after the 90 % of it that still earns points. */
const SLOW_SHARE = 0.95;
const FEWER_STEPS_DIVISOR = 4;
const GARBAGE_BYTES = 4096;

const honest: Profile = (craft) => craft;

/** Renders a quarter of the pixels and scales them up. */
const halfSize: Profile = (craft) => ({
  ...delegate(craft),
  async render(work, signal, progress) {
    const small = { ...work, width: Math.ceil(work.width / 2), height: Math.ceil(work.height / 2) };
    const images = await craft.render(small, signal, progress);
    return Promise.all(images.map((image) => upscale(image, work.width, work.height)));
  },
});

/** The first training of each rank is honest; its adapter is handed in for every later one. */
const staleLora: Profile = (craft, keepsakes) => ({
  ...delegate(craft),
  async train(work, signal, progress) {
    const name = `stale-lora-rank-${work.rank}`;
    const stale = await keepsakes.read(name);
    if (stale) return stale;
    const lora = await craft.train(work, signal, progress);
    await keepsakes.write(name, lora);
    return lora;
  },
});

/** The first image of each size is honest, and handed in for every later one. */
const staleImage: Profile = (craft, keepsakes) => ({
  ...delegate(craft),
  async render(work, signal, progress) {
    const name = `stale-image-${work.width}x${work.height}`;
    const { width, height } = work;
    const stale = await keepsakes.read(name);
    if (stale) return work.seeds.map(() => ({ rgb: stale, width, height }));
    const images = await craft.render(work, signal, progress);
    await keepsakes.write(name, images[0]!.rgb);
    return images;
  },
});

const fewerSteps: Profile = (craft) => ({
  ...delegate(craft),
  train: (work, signal, progress) =>
    craft.train({ ...work, steps: Math.max(1, Math.floor(work.steps / FEWER_STEPS_DIVISOR)) }, signal, progress),
});

/** Every byte one up or down, like checkers: invisible, and not what was asked. */
const noise: Profile = (craft) => ({
  ...delegate(craft),
  async render(work, signal, progress) {
    const images = await craft.render(work, signal, progress);
    return images.map((image) => ({ ...image, rgb: image.rgb.map((value, i) => nudge(value, i % 2 === 0 ? 1 : -1)) }));
  },
});

/** Success without work: a black image, a LoRA of zero bytes. */
const empty: Profile = (craft) => ({
  ...delegate(craft),
  train: async () => new Uint8Array(0),
  render: async ({ seeds, width, height }) =>
    seeds.map(() => ({ rgb: new Uint8Array(width * height * 3), width, height })),
});

/** Somebody else's LoRA, seen in an inference job, with A · 3 and B / 3: every byte differs, and ΔW is the same. */
const rescaledLora: Profile = (craft, keepsakes) => ({
  ...delegate(craft),
  async train(work, signal, progress) {
    const seen = await keepsakes.read(`seen-lora-rank-${work.rank}`);
    return seen ? rescale(seen) : craft.train(work, signal, progress);
  },
  async render(work, signal, progress) {
    const rank = readSafetensors(work.lora).metadata.rank;
    await keepsakes.write(`seen-lora-rank-${Number(rank)}`, work.lora);
    return craft.render(work, signal, progress);
  },
});

const slow: Profile = (craft) => ({
  ...delegate(craft),
  train: (work, signal, progress) => late(work, signal, () => craft.train(work, signal, progress)),
  render: (work, signal, progress) => late(work, signal, () => craft.render(work, signal, progress)),
});

/** Accepts, and is never heard of again. */
const silent: Profile = (craft) => ({
  ...delegate(craft),
  train: (_, signal) => never(signal),
  render: (_, signal) => never(signal),
});

const garbage: Profile = (craft) => ({
  ...delegate(craft),
  train: async () => randomBytes(GARBAGE_BYTES),
  render: async ({ seeds, width, height }) => seeds.map(() => ({ rgb: new Uint8Array(0), width, height })),
  encode: async () => randomBytes(GARBAGE_BYTES),
});

/** The demo's dishonest miner: cheap at both kinds. */
const dishonest: Profile = (craft, keepsakes) => halfSize(staleLora(craft, keepsakes), keepsakes);

export const PROFILES = {
  honest,
  'half-size': halfSize,
  'stale-lora': staleLora,
  dishonest,
  'fewer-steps': fewerSteps,
  'stale-image': staleImage,
  noise,
  empty,
  'rescaled-lora': rescaledLora,
  slow,
  silent,
  garbage,
} satisfies Record<string, Profile>;

export type ProfileName = keyof typeof PROFILES;

/** The craft's methods as own properties, so that a profile can spread them and replace some. */
function delegate(craft: Craft): Craft {
  return {
    train: (work, signal, progress) => craft.train(work, signal, progress),
    render: (work, signal, progress) => craft.render(work, signal, progress),
    encode: (image) => craft.encode(image),
  };
}

async function upscale({ rgb, width, height }: RgbImage, toWidth: number, toHeight: number): Promise<RgbImage> {
  const large = sharp(rgb, { raw: { width, height, channels: 3 } }).resize(toWidth, toHeight, {
    fit: 'fill',
    kernel: 'linear',
  });
  return { rgb: await large.raw().toBuffer(), width: toWidth, height: toHeight };
}

/** value ± 1; the other way at the ends, so that every byte changes. */
function nudge(value: number, by: number): number {
  const moved = value + by;
  return moved < 0 || moved > 255 ? value - by : moved;
}

function rescale(lora: Uint8Array): Uint8Array {
  const { tensors, metadata } = readSafetensors(lora);
  const scaled = [...tensors].map(
    ([name, { shape, data }]): [string, { shape: readonly number[]; data: Float32Array }] => {
      const factor = name.endsWith(loraA('')) ? 3 : name.endsWith(loraB('')) ? 1 / 3 : 1;
      return [name, { shape, data: data.map((value) => value * factor) }];
    },
  );
  return writeSafetensors(scaled, metadata);
}

async function late<T>(work: TrainingWork | RenderWork, signal: AbortSignal, act: () => Promise<T>): Promise<T> {
  const until = performance.now() + SLOW_SHARE * work.timeoutMs;
  const result = await act();
  await sleep(Math.max(0, until - performance.now()), undefined, { signal });
  return result;
}

function never(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
}
