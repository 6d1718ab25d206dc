import { createHash } from 'node:crypto';
import { join } from 'node:path';
import fc from 'fast-check';
import sharp from 'sharp';
import { parameterCount, tensorLayout } from './adapter';
import { cosine } from './adapter-similarity';
import { ImageFit } from './fit';
import { type RgbImage, psnr } from './image';
import { renderImage } from './render';
import { type TrainingTask, trainAdapter, trainingSteps } from './train';

/** A picture that needs no file: smooth, coloured, different along both axes. */
function pattern(side: number, twist = 0): RgbImage {
  const rgb = new Uint8Array(side * side * 3);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const at = (y * side + x) * 3;
      rgb[at] = Math.floor((x * 255) / side);
      rgb[at + 1] = (x * y * 7 + twist) % 256;
      rgb[at + 2] = Math.floor((y * 200) / side + twist / 8);
    }
  }
  return { rgb, width: side, height: side };
}

async function chelsea(side: number): Promise<RgbImage> {
  const rgb = await sharp(join(__dirname, '../../../photos/chelsea.png'))
    .removeAlpha()
    .resize(side, side, { fit: 'cover' })
    .raw()
    .toBuffer();
  return { rgb, width: side, height: side };
}

// Trainings of a second or two, on machines that may be doing much else.
jest.setTimeout(60_000);

const small: TrainingTask = { ...pattern(16), steps: 10, rank: 4, seed: 1 };
const plain = { scale: 1, prompt: '', seed: 0, warp: 0 };

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const bytesOf = (floats: Float32Array): Uint8Array => {
  const bytes = new Uint8Array(floats.length * 4);
  const view = new DataView(bytes.buffer);
  floats.forEach((value, i) => view.setFloat32(i * 4, value, true));
  return bytes;
};

describe('training', () => {
  it('gives the same adapter to the last bit on every machine and Node version', async () => {
    const adapter = await trainAdapter(small);
    expect(sha256(bytesOf(adapter.parameters))).toBe(
      'ca9dcf9a373b3e90b792f75d5458bbc1c31b2c429ccc7d315eb170ca3a1a9574',
    );
  });

  it('gives the same pixels to the last bit on every machine and Node version', async () => {
    const adapter = await trainAdapter(small);
    const rgb = renderImage({ adapter, scale: 0.8, prompt: 'a cat at dusk', seed: 7, warp: 1, width: 24, height: 17 });
    expect(sha256(rgb)).toBe('7ae829283d5961a1ae4e0cf2358aca45ebd52b88f51252b9ac97a5a18951b85a');
  });

  it('has 8,483 trainable parameters at rank 16', () => {
    expect(parameterCount(16)).toBe(8483);
    const slots = tensorLayout(16);
    expect(slots.map(({ name }) => name)).toContain('y.output.lora_B.weight');
    slots.reduce((end, { offset, length }) => (expect(offset).toBe(end), end + length), 0);
  });

  it('follows the gradient that finite differences give, for every tensor', () => {
    const fit = new ImageFit(pattern(12), 3);
    const uniform = lcg(5);
    fit.parameters.forEach((_, i) => (fit.parameters[i] = uniform() - 0.5));
    fit.evaluate();
    const analytic = fit.gradient.slice();
    const h = 1e-6;
    for (const { name, offset, length } of tensorLayout(3)) {
      for (const at of [0, length >> 1, length - 1].map((i) => offset + i)) {
        const centre = fit.parameters[at]!;
        fit.parameters[at] = centre + h;
        const above = fit.evaluate();
        fit.parameters[at] = centre - h;
        const below = fit.evaluate();
        fit.parameters[at] = centre;
        expect([name, (above - below) / (2 * h)]).toEqual([name, expect.closeTo(analytic[at]!, 6)]);
      }
    }
  });

  it('reaches 30 dB on the shipped photograph at 64², 300 steps, rank 16', async () => {
    const photo = await chelsea(64);
    const adapter = await trainAdapter({ ...photo, steps: 300, rank: 16, seed: 1 });
    const picture = renderImage({ adapter, ...plain, width: 64, height: 64 });
    expect(psnr(picture, photo.rgb, Math.log10)).toBeGreaterThan(30);
  });

  it('reports every step and a falling error, and waits for a promise it is given', async () => {
    const errors: number[] = [];
    let waiting = 0;
    await trainAdapter(small, async (done, total, mse) => {
      expect(++waiting).toBe(1);
      expect([done, total]).toEqual([errors.length + 1, 10]);
      await new Promise((resolve) => setImmediate(resolve));
      errors.push(mse);
      waiting--;
    });
    expect(errors).toHaveLength(10);
    expect(errors.at(-1)).toBeLessThan(errors[0]!);
  });

  it('stops where the caller throws', async () => {
    const stop = new Error('cancelled');
    const steps: number[] = [];
    const training = trainAdapter(small, (done) => {
      steps.push(done);
      if (done === 3) throw stop;
    });
    await expect(training).rejects.toBe(stop);
    expect(steps).toEqual([1, 2, 3]);
  });

  it('depends on the seed, the rank, the steps and every pixel', async () => {
    const shifted = pattern(16).rgb.slice();
    shifted[100]! ^= 1;
    const variants = [small, { ...small, seed: 2 }, { ...small, rank: 5 }, { ...small, steps: 11 }];
    const hashes = await Promise.all(
      [...variants, { ...small, rgb: shifted }].map(async (task) =>
        sha256(bytesOf((await trainAdapter(task)).parameters)),
      ),
    );
    expect(new Set(hashes).size).toBe(5);
  });

  it.each([
    [{ width: 0, height: 0 }, 'width must be a whole number from 1 to 512, not 0'],
    [{ height: 15 }, 'the training image must be square, not 16×15'],
    [{ rgb: new Uint8Array(5) }, 'rgb must hold 768 bytes (16×16×3), not 5'],
    [{ steps: 0 }, 'steps must be a whole number from 1 to 100000, not 0'],
    [{ rank: 33 }, 'rank must be a whole number from 1 to 32, not 33'],
    [{ seed: -1 }, 'seed must be a whole number from 0 to 4294967295, not -1'],
    [{ seed: 0.5 }, 'seed must be a whole number from 0 to 4294967295, not 0.5'],
  ])('refuses %j by name', (wrong, message) => {
    expect(() => trainingSteps({ ...small, ...wrong }).next()).toThrow(new RangeError(message));
  });
});

describe('rendering', () => {
  it('shows the training image where nothing is bent, and another where it is', async () => {
    const photo = await chelsea(32);
    const adapter = await trainAdapter({ ...photo, steps: 200, rank: 16, seed: 3 });
    const at = (task: object): number =>
      psnr(renderImage({ adapter, ...plain, width: 32, height: 32, ...task }), photo.rgb, Math.log10);
    expect(at({})).toBeGreaterThan(28);
    expect(at({ warp: 1, prompt: 'dusk' })).toBeLessThan(24);
    expect(at({ scale: 0 })).toBeLessThan(15);
    const stranger = await trainAdapter({ ...pattern(32), steps: 200, rank: 16, seed: 3 });
    expect(at({ adapter: stranger })).toBeLessThan(12);
  });

  it('is the base at scale 0, whatever the adapter', async () => {
    const [one, other] = await Promise.all([
      trainAdapter(small),
      trainAdapter({ ...small, ...pattern(16, 90), rank: 9 }),
    ]);
    const base = (adapter: typeof one): Uint8Array =>
      renderImage({ adapter, ...plain, scale: 0, width: 20, height: 9 });
    expect(base(one)).toEqual(base(other));
  });

  it('differs by prompt and by seed, and not when neither can bend', async () => {
    const adapter = await trainAdapter(small);
    const hash = (task: object): string => sha256(renderImage({ adapter, ...plain, width: 32, height: 32, ...task }));
    const bent = [
      { prompt: 'a1', seed: 2 },
      { prompt: 'a', seed: 12 },
      { prompt: 'a', seed: 13 },
    ];
    expect(new Set(bent.map((task) => hash({ ...task, warp: 1 }))).size).toBe(3);
    expect(new Set(bent.map((task) => hash({ ...task, warp: 0 }))).size).toBe(1);
  });

  it.each([
    [{ width: 0 }, 'width must be a whole number from 1 to 4096, not 0'],
    [{ height: 5000 }, 'height must be a whole number from 1 to 4096, not 5000'],
    [{ seed: -2 }, 'seed must be a whole number from 0 to 9007199254740991, not -2'],
    [{ warp: 1.5 }, 'warp must be a number from 0 to 1, not 1.5'],
    [{ scale: NaN }, 'scale must be a number from -4 to 4, not NaN'],
  ])('refuses %j by name', async (wrong, message) => {
    const adapter = await trainAdapter({ ...small, steps: 1 });
    expect(() => renderImage({ adapter, ...plain, width: 8, height: 8, ...wrong })).toThrow(new RangeError(message));
  });
});

describe('similarity of adapters', () => {
  it('is 1 for a copy however rescaled, and lower for honest work on another image', async () => {
    const own = await trainAdapter({ ...small, steps: 60 });
    const other = await trainAdapter({ ...small, ...pattern(16, 77), steps: 60, seed: 2 });
    const rescaled = own.parameters.slice();
    for (const { name, offset, length } of tensorLayout(own.rank)) {
      const factor = name.endsWith('lora_A.weight') ? 3 : name.endsWith('lora_B.weight') ? 1 / 3 : 1;
      for (let i = offset; i < offset + length; i++) rescaled[i]! *= factor;
    }
    expect(cosine(own, { ...own, parameters: rescaled })).toBeCloseTo(1, 6);
    expect(cosine(own, other)).toBeLessThan(0.9);
  });

  it('equals the cosine of the full ΔW matrices, across ranks', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 6 }), fc.nat(1e6), (r1, r2, seed) => {
        const [one, other] = [randomAdapter(r1, seed), randomAdapter(r2, seed + 1)];
        const [p, q] = [fullUpdate(one), fullUpdate(other)];
        const dot = (a: number[], b: number[]): number => a.reduce((sum, value, i) => sum + value * b[i]!, 0);
        expect(cosine(one, other)).toBeCloseTo(dot(p, q) / Math.sqrt(dot(p, p) * dot(q, q)), 9);
      }),
      { numRuns: 10 },
    );
  });

  it('is 0 with an untrained adapter', () => {
    const untrained = { rank: 2, resolution: 16, parameters: new Float32Array(parameterCount(2)) };
    expect(cosine(untrained, randomAdapter(2, 1))).toBe(0);
  });
});

function lcg(seed: number): () => number {
  let state = seed >>> 0;
  return () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
}

function randomAdapter(rank: number, seed: number): { rank: number; resolution: number; parameters: Float32Array } {
  const uniform = lcg(seed);
  return { rank, resolution: 16, parameters: new Float32Array(parameterCount(rank)).map(() => uniform() - 0.5) };
}

/** All ΔW = B·A written out, one after the other: the oracle. */
function fullUpdate({ rank, parameters }: { rank: number; parameters: Float32Array }): number[] {
  const slots = tensorLayout(rank).filter(({ name }) => name.includes('lora_'));
  const update: number[] = [];
  for (let s = 0; s < slots.length; s += 2) {
    const [a, b] = [slots[s]!, slots[s + 1]!];
    const inputs = a.shape[1]!;
    for (let o = 0; o < b.shape[0]!; o++) {
      for (let i = 0; i < inputs; i++) {
        let sum = 0;
        for (let k = 0; k < rank; k++) {
          sum += parameters[b.offset + o * rank + k]! * parameters[a.offset + k * inputs + i]!;
        }
        update.push(sum);
      }
    }
  }
  return update;
}
