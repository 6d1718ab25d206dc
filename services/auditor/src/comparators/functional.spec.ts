import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { Adam } from '@studio/ref-sep/adam';
import { tensorLayout, type Adapter } from '@studio/ref-sep/adapter';
import { adapterToTensors } from '@studio/ref-sep/adapter-tensors';
import { ImageFit } from '@studio/ref-sep/fit';
import { gaussian, uniformStream } from '@studio/ref-sep/prng';
import { loraA, loraB } from '@studio/shared/domain/adapter-format';
import { readSafetensors, writeSafetensors } from '@studio/shared/protocol/safetensors';
import { functionalCheck, type FunctionalVerdict, type TrustedEngine } from './functional';
import type { Picture } from './pixels';
import { refSepEngine } from './ref-sep-engine';

jest.setTimeout(240_000);

const SIDE = 32;
const RANK = 16;

async function photograph(name: string, side = SIDE): Promise<Picture> {
  const image = sharp(readFileSync(join(__dirname, '../../../../photos', name))).resize(side, side, { fit: 'cover' });
  return { rgb: await image.removeAlpha().raw().toBuffer(), width: side, height: side };
}

interface Training {
  steps: number;
  seed?: number;
  /** Relative noise on every gradient, as between machines that round differently (TF32: 0.0005, BF16: 0.004). */
  rounding?: number;
  /** Which machine. */
  machine?: number;
}

/** The engine's own training, on a machine that rounds. */
function train(image: Picture, { steps, seed = 7, rounding = 0, machine = 1 }: Training): Uint8Array {
  const fit = new ImageFit(image, RANK);
  const start = uniformStream(seed);
  for (const { name, shape, offset, length } of tensorLayout(RANK)) {
    if (!name.endsWith('lora_A.weight')) continue;
    const deviation = Math.sqrt(1 / shape[1]!);
    for (let i = offset; i < offset + length; i++) fit.parameters[i] = gaussian(start) * deviation;
  }
  const optimiser = new Adam(fit.parameters.length);
  const uniform = uniformStream(1_000 + machine);
  for (let done = 0; done < steps; done++) {
    fit.evaluate();
    for (let i = 0; i < fit.gradient.length; i++) fit.gradient[i]! *= 1 + rounding * (2 * uniform() - 1);
    optimiser.step(fit.parameters, fit.gradient, 0.015 * Math.min(1, (2 * (steps - done)) / steps));
  }
  return fileOf({ rank: RANK, resolution: image.width, parameters: Float32Array.from(fit.parameters) });
}

function fileOf(adapter: Adapter): Uint8Array {
  const { tensors, metadata } = adapterToTensors(adapter);
  return writeSafetensors(tensors, metadata);
}

function untrained(side = SIDE): Uint8Array {
  const { offset, length } = tensorLayout(RANK).at(-1)!;
  return fileOf({ rank: RANK, resolution: side, parameters: new Float32Array(offset + length) });
}

/** A · 3 and B / 3: other bytes, the same adapter. */
function rescaled(lora: Uint8Array): Uint8Array {
  const { tensors, metadata } = readSafetensors(lora);
  const scaled = [...tensors].map(
    ([name, { shape, data }]): [string, { shape: readonly number[]; data: Float32Array }] => {
      const factor = name.endsWith(loraA('')) ? 3 : name.endsWith(loraB('')) ? 1 / 3 : 1;
      return [name, { shape, data: data.map((value) => value * factor) }];
    },
  );
  return writeSafetensors(scaled, metadata);
}

const PHOTOGRAPHS = ['chelsea.png', 'coffee.png'] as const;
const lines: string[] = [];

function note(label: string, verdict: FunctionalVerdict): void {
  const { psnrTarget, psnrOwn, secondSeedResponse, secondSeedDifference } = verdict.distances;
  const decibels = `${psnrTarget.toFixed(1).padStart(6)}${psnrOwn.toFixed(1).padStart(6)}`;
  const second = `${secondSeedResponse.toFixed(2).padStart(9)}${secondSeedDifference.toFixed(2).padStart(12)}`;
  lines.push(`${label.padEnd(50)}${verdict.agrees ? 'v' : '✗'}${decibels}${second}`);
}

/** One photograph at every length of training, the other at one. */
describe.each([
  ['chelsea.png', [20, 60, 300]],
  ['coffee.png', [60]],
] as const)('the functional check of an adapter (%s)', (name, lengths) => {
  let image: Picture;
  let stolen: Uint8Array;
  const own = new Map<number, Uint8Array>();
  const check = (label: string, steps: number, target: Uint8Array, secretSeed = 5): FunctionalVerdict => {
    const verdict = functionalCheck(refSepEngine, { target, own: own.get(steps)!, image, secretSeed });
    note(`${name}, ${steps} steps: ${label}`, verdict);
    return verdict;
  };

  beforeAll(async () => {
    image = await photograph(name);
    for (const steps of lengths) own.set(steps, train(image, { steps }));
    stolen = train(await photograph(PHOTOGRAPHS.find((known) => known !== name)!), { steps: 60 });
  });

  it.each(lengths)('takes that of another machine, after %i steps', (steps) => {
    const target = train(image, { steps, rounding: 0.004 });
    for (const secretSeed of [1, 2, 3]) {
      expect(check('another machine', steps, target, secretSeed)).toMatchObject({ agrees: true });
    }
  });

  it.each(lengths)('takes an adapter whatever its scale, after %i steps', (steps) => {
    expect(check('the same, rescaled', steps, rescaled(own.get(steps)!))).toMatchObject({ agrees: true });
  });

  it.each(lengths)('refuses a quarter of %i steps', (steps) => {
    const { agrees, reason } = check('a quarter of the steps', steps, train(image, { steps: Math.floor(steps / 4) }));
    expect(agrees).toBe(false);
    expect(reason).toMatch(/^The adapter shows the photograph at [\d.]+ dB, the trusted engine's own at [\d.]+ dB/);
  });

  it.each(lengths)('refuses somebody else’s, rescaled or not, after %i steps', (steps) => {
    expect(check("another photograph's", steps, stolen).agrees).toBe(false);
    expect(check("another photograph's, rescaled", steps, rescaled(stolen)).agrees).toBe(false);
  });

  it.each(lengths)('refuses an untrained one, where %i steps were due', (steps) => {
    expect(check('untrained', steps, untrained()).agrees).toBe(false);
  });

  afterAll(() => {
    const head = `${''.padEnd(52)}target  own  response  difference`;
    process.stdout.write(`${[head, ...lines.splice(0)].join('\n')}\n\n`);
  });
});

describe('the functional check', () => {
  let image: Picture;
  let own: Uint8Array;
  let stolen: Uint8Array;

  beforeAll(async () => {
    image = await photograph('coffee.png');
    own = train(image, { steps: 60 });
    stolen = train(await photograph('chelsea.png'), { steps: 60 });
  });

  /** An engine in which an adapter can hold more than a picture: `target` is rendered by `render`, others as they are. */
  const withTarget = (target: Uint8Array, render: TrustedEngine['render']): TrustedEngine => ({
    render: (lora, options) => (lora === target ? render(own, options) : refSepEngine.render(lora, options)),
  });
  const ask = (engine: TrustedEngine, target: Uint8Array): FunctionalVerdict =>
    functionalCheck(engine, { target, own, image, secretSeed: 99 });

  it('refuses an adapter that only reproduces its photograph, whatever the seed', () => {
    const target = new Uint8Array(1);
    const engine = withTarget(target, (lora, options) => refSepEngine.render(lora, { ...options, warp: 0 }));
    expect(ask(engine, target)).toMatchObject({
      agrees: false,
      reason: expect.stringContaining('hardly follows a second seed: its picture moves 0.00 times as far'),
    });
  });

  it('refuses an adapter that shows its photograph under the known seeds and another under the secret one', () => {
    const target = new Uint8Array(1);
    const engine = withTarget(target, (_, options) => refSepEngine.render(options.warp === 0 ? own : stolen, options));
    expect(ask(engine, target)).toMatchObject({
      agrees: false,
      reason: expect.stringContaining('Under a second seed the adapter shows another picture'),
    });
  });

  it('compares with the trusted engine at the same steps, not with perfection', () => {
    const few = functionalCheck(refSepEngine, {
      target: train(image, { steps: 10, rounding: 0.004 }),
      own: train(image, { steps: 10 }),
      image,
      secretSeed: 3,
    });
    expect(few.distances.psnrTarget).toBeLessThan(20);
    expect(few.agrees).toBe(true);
  });

  it('takes an adapter that is better than the trusted engine’s own', () => {
    const better = functionalCheck(refSepEngine, {
      target: own,
      own: train(image, { steps: 15 }),
      image,
      secretSeed: 3,
    });
    expect(better).toMatchObject({ agrees: true });
  });

  it('does not follow the trusted engine beyond what can be seen', async () => {
    const small = await photograph('chelsea.png');
    const perfect: TrustedEngine = {
      render: (lora, options) =>
        options.warp === 0 && options.side === 32 && lora.length === 1 ? small : refSepEngine.render(own, options),
    };
    const good = train(small, { steps: 200 });
    const verdict = functionalCheck(
      { render: (lora, options) => (lora === good ? refSepEngine : perfect).render(lora, options) },
      { target: good, own: new Uint8Array(1), image: small, secretSeed: 1 },
    );
    expect(verdict.distances.psnrOwn).toBe(120);
    expect(verdict.distances.psnrTarget).toBeLessThan(50);
    expect(verdict.reason).not.toContain('were due');
  });

  /** Between the pixels of so small a photograph an adapter is anything: honest ones differ there by more than a flat picture. */
  it.each([1, 2, 3])(
    'judges no second seed where the trusted engine’s own is unsteady (16², machine %i)',
    async (machine) => {
      const tiny = await photograph('chelsea.png', 16);
      const question = {
        own: train(tiny, { steps: 60 }),
        target: train(tiny, { steps: 60, seed: 7 + machine }),
        image: tiny,
        secretSeed: machine,
      };
      const { agrees, distances, reason } = functionalCheck(refSepEngine, question);
      expect(distances.ownUnsteadiness).toBeGreaterThan(0.2);
      expect([agrees, reason]).toEqual([true, expect.stringContaining('was not tried with a second seed')]);
    },
  );

  it('has only finite figures, for a flat photograph too', () => {
    const flat = { ...image, rgb: image.rgb.map(() => 90) };
    const same = functionalCheck({ render: () => flat }, { target: own, own, image: flat, secretSeed: 1 });
    expect(Object.values(same.distances).filter((value) => !Number.isFinite(value))).toEqual([]);
    expect(same.agrees).toBe(true);
  });

  it('needs a square photograph', () => {
    const wide = { rgb: new Uint8Array(6), width: 2, height: 1 };
    expect(() => functionalCheck(refSepEngine, { target: own, own, image: wide, secretSeed: 1 })).toThrow('square');
  });
});
