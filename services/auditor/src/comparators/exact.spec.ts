import type { ImageRef, JobResult } from '@studio/shared/domain/job';
import { exact } from './exact';

const image = (pixelHash: string, width = 64, height = 64): ImageRef => ({
  sha256: pixelHash,
  bytes: 1,
  contentType: 'image/png',
  width,
  height,
  pixelHash,
});
const images = (...list: ImageRef[]): JobResult => ({ images: list });
const lora = (tensorHash: string, sha256: string): JobResult => ({
  lora: { sha256, bytes: 1, contentType: 'x/y', rank: 4, tensorHash },
});
const same = (a: JobResult, b: JobResult): boolean => exact.agrees(exact.digest(a), exact.digest(b));

describe('the exact comparator', () => {
  it('looks at pixels and tensors, not at files', () => {
    const reencoded = { ...image('aaaa'), sha256: 'another file', bytes: 2 };
    expect(same(images(image('aaaa')), images(reencoded))).toBe(true);
    expect(same(lora('aaaa', 'one'), lora('aaaa', 'two'))).toBe(true);
    expect(exact.difference(lora('aaaa', 'one'), lora('aaaa', 'two'))).toBeUndefined();
  });

  it.each([
    [images(image('aaaa')), images(image('bbbb')), { what: 'image', how: 'pixel hash aaaa… against bbbb…' }],
    [
      images(image('aaaa'), image('cccc')),
      images(image('aaaa'), image('dddd')),
      { what: 'image 2 of 2', how: 'pixel hash cccc… against dddd…' },
    ],
    [images(image('aaaa', 32, 32)), images(image('aaaa')), { what: 'image', how: '32×32 pixels against 64×64' }],
    [images(), images(image('aaaa')), { what: 'number of images', how: '0 against 1' }],
    [lora('aaaa', 'one'), lora('bbbb', 'one'), { what: 'LoRA', how: 'tensor hash aaaa… against bbbb…' }],
  ])('tells results apart and says how', (target, reference, difference) => {
    expect(same(target, reference)).toBe(false);
    expect(exact.difference(target, reference)).toEqual(difference);
  });

  it('minds the order of images', () => {
    expect(same(images(image('aaaa'), image('bbbb')), images(image('bbbb'), image('aaaa')))).toBe(false);
  });
});
