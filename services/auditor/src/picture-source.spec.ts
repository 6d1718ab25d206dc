import type { Adapter } from '@studio/ref-sep/adapter';
import { renderImage } from '@studio/ref-sep/render';
import { trainAdapter } from '@studio/ref-sep/train';
import type { InferenceInput } from '@studio/shared/domain/job';
import { coincidence, pictureSource } from './picture-source';

const SIDE = 16;
const FILE = { bytes: 34_000, contentType: 'application/octet-stream', rank: 2 };
const lora = (name: string) => ({ ...FILE, sha256: `file of ${name}`, tensorHash: name });

const some: InferenceInput = {
  lora: lora('one'),
  prompt: 'a cat',
  width: SIDE,
  height: SIDE,
  seed: 7,
  loraScale: 1,
  warp: 1,
  numImages: 1,
};
const on = (engine: 'ref-sep-v1' | 'flux', a: Partial<InferenceInput>, b: Partial<InferenceInput>, equal: boolean) =>
  coincidence(pictureSource(engine, { ...some, ...a }, 0), pictureSource(engine, { ...some, ...b }, 0), equal);

describe('pictures of the reference engine', () => {
  let adapters: Record<string, Adapter>;

  beforeAll(async () => {
    const trained = async (twist: number): Promise<Adapter> => {
      const rgb = Uint8Array.from({ length: SIDE * SIDE * 3 }, (_, i) => (i * 5 + ((i * twist) % 31) * 4) % 256);
      return trainAdapter({ rgb, width: SIDE, height: SIDE, steps: 8, rank: 2, seed: twist });
    };
    adapters = { one: await trained(1), other: await trained(9) };
  });

  const everyInput = (): InferenceInput[] =>
    ['one', 'other'].flatMap((name) =>
      ['a cat', 'a cup'].flatMap((prompt) =>
        [7, 8].flatMap((seed) =>
          [0, 1].flatMap((loraScale) =>
            [0, 0.0000001, 0.25].map((warp) => ({ ...some, lora: lora(name), prompt, seed, loraScale, warp })),
          ),
        ),
      ),
    );
  const rendered = ({ lora: { tensorHash }, loraScale, ...task }: InferenceInput): Uint8Array =>
    renderImage({ ...task, adapter: adapters[tensorHash]!, scale: loraScale });
  const mostApart = (a: Uint8Array, b: Uint8Array): number =>
    a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0);

  it('are called copies for equal pixels exactly where the engine gives others', () => {
    const pictures = everyInput().map((input) => ({
      source: pictureSource('ref-sep-v1', input, 0),
      pixels: rendered(input),
    }));
    const seen = new Set<string>();
    for (const a of pictures) {
      for (const b of pictures) {
        const apart = mostApart(a.pixels, b.pixels);
        const judged = coincidence(a.source, b.source, true);
        if (apart === 0) expect(judged).not.toBe('copied');
        if (apart > 1) expect(judged).not.toBe('honest');
        seen.add(`${judged} ${apart === 0}`);
      }
    }
    expect([...seen].sort()).toEqual(expect.arrayContaining(['by-photograph false', 'copied false', 'honest true']));
  });

  it.each<[string, Partial<InferenceInput>, Partial<InferenceInput>]>([
    ['unbent, whatever prompt and seed', { warp: 0 }, { warp: 0, prompt: 'a cup', seed: 8 }],
    ['without the LoRA, whichever it is', { loraScale: 0 }, { loraScale: 0, lora: lora('other') }],
  ])('may honestly be equal: %s', (_, a, b) => expect(on('ref-sep-v1', a, b, true)).toBe('honest'));

  it('resemble each other from one LoRA as long as they are bent alike', () => {
    expect(on('ref-sep-v1', { warp: 0.2 }, { warp: 0.2, seed: 8 }, false)).toBe('honest');
    expect(on('ref-sep-v1', { warp: 1, seed: 6 }, { warp: 0 }, false)).toBe('copied');
  });

  it('of two LoRAs resemble each other where the base shows through, or by their photograph', () => {
    const other = lora('other');
    expect(on('ref-sep-v1', { loraScale: 0.1 }, { loraScale: 0.1, lora: other }, false)).toBe('honest');
    expect(on('ref-sep-v1', { loraScale: 0.1 }, { loraScale: 1, lora: other }, false)).toBe('by-photograph');
    expect(on('ref-sep-v1', {}, { lora: other }, true)).toBe('by-photograph');
  });

  it('are no explanation for those of another engine', () => {
    const [ours, theirs] = [pictureSource('ref-sep-v1', some, 0), pictureSource('flux', some, 0)];
    expect(coincidence(ours, theirs, true)).toBe('copied');
    expect(coincidence(ours, theirs, false)).toBe('honest');
  });
});

describe('pictures of a diffusion model', () => {
  it.each<[string, Partial<InferenceInput>, string]>([
    ['the same', {}, 'honest'],
    ['another bend, which it does not know', { warp: 0 }, 'honest'],
    ['another prompt', { prompt: 'a cup' }, 'copied'],
    ['another seed', { seed: 8 }, 'copied'],
    ['another strength', { loraScale: 0.9 }, 'copied'],
    ['another LoRA', { lora: lora('other') }, 'copied'],
  ])('with equal pixels for %s: %s', (_, b, expected) => expect(on('flux', {}, b, true)).toBe(expected));

  it.each<[string, Partial<InferenceInput>, string]>([
    ['one LoRA, which knows its photograph by heart', { seed: 8 }, 'honest'],
    ['one seed, whose noise makes the picture', { lora: lora('other') }, 'honest'],
    ['neither', { lora: lora('other'), seed: 8 }, 'by-photograph'],
  ])('that resemble each other from %s: %s', (_, b, expected) => expect(on('flux', {}, b, false)).toBe(expected));

  it('need no LoRA where its strength is 0', () => {
    expect(on('flux', { loraScale: 0 }, { loraScale: 0, lora: lora('other') }, true)).toBe('honest');
  });
});

it('gives each picture of a job the seed after the one before, from the last back to the first', () => {
  const last = pictureSource('flux', { ...some, seed: 2 ** 32 - 1 }, 1);
  expect(coincidence(last, pictureSource('flux', { ...some, seed: 0 }, 0), true)).toBe('honest');
});
