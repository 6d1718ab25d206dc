import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import sharp from 'sharp';
import { claiming, pngChunk, rgbPng, withChunks } from '@studio/shared/testing/png-file';
import { canonicalPhotograph, photographProblem } from './photograph';

const CHELSEA = readFileSync(join(__dirname, '../../../../photos/chelsea.png'));
const noise = (width: number, height: number) =>
  sharp({
    create: { width, height, channels: 3, background: '#000', noise: { type: 'gaussian', mean: 128, sigma: 40 } },
  });

async function reasonOf(bytes: Uint8Array): Promise<string> {
  const checked = await canonicalPhotograph(bytes, 64);
  return checked.ok ? 'accepted' : checked.reason;
}

describe('a photograph', () => {
  it('becomes a square RGB PNG of the asked size, the same every time', async () => {
    const [one, other] = await Promise.all([canonicalPhotograph(CHELSEA, 64), canonicalPhotograph(CHELSEA, 64)]);
    if (!one.ok || !other.ok) throw new Error('refused');
    expect(one.value.pixelHash).toBe(other.value.pixelHash);
    expect(await sharp(one.value.png).metadata()).toMatchObject({ width: 64, height: 64, channels: 3, format: 'png' });
  });

  it('is turned as its EXIF says', async () => {
    const square = await sharp(CHELSEA).extract({ left: 0, top: 0, width: 300, height: 300 }).png().toBuffer();
    const lying = await sharp(square).rotate(90).withMetadata({ orientation: 8 }).png().toBuffer();
    const turned = await canonicalPhotograph(lying, 64);
    const upright = await canonicalPhotograph(square, 64);
    if (!turned.ok || !upright.ok) throw new Error('refused');
    expect(await meanDifference(turned.value.png, upright.value.png)).toBeLessThan(1);
  });

  it('loses its metadata', async () => {
    const tagged = await sharp(CHELSEA)
      .withExif({ IFD0: { Copyright: 'somebody' } })
      .jpeg()
      .toBuffer();
    const checked = await canonicalPhotograph(tagged, 64);
    expect(checked.ok && Buffer.from(checked.value.png).includes('somebody')).toBe(false);
  });

  it.each<[string, () => Promise<Uint8Array> | Uint8Array, RegExp]>([
    ['text', () => Buffer.from('not an image'), /is not an image we read: send a PNG/],
    ['a GIF', () => noise(8, 8).gif().toBuffer(), /is not an image we read/],
    ['0×0', () => emptyPng(), /cannot be decoded|has no pixels/],
    ['100 megapixels', () => hugePng(), /10000×10000 \(100 megapixels\): send one of at most 50/],
    ['a truncated file', () => CHELSEA.subarray(0, 50_000), /cannot be decoded .*: send a whole/],
    [
      'one flat colour',
      () =>
        sharp({ create: { width: 90, height: 90, channels: 3, background: '#888' } })
          .png()
          .toBuffer(),
      /blank/,
    ],
    [
      'a dot on black',
      () => rgbPng({ width: 64, height: 64 }, new Uint8Array(3 * 64 * 64).fill(255, 3_000, 3_060)),
      /blank/,
    ],
    ['interlaced and needs more memory than three bytes a pixel', async () => claiming(await noise(8, 8).ensureAlpha().png({ progressive: true }).toBuffer(), 7_000, 7_000), /is interlaced \(progressive\) and too large/], // prettier-ignore
    ['an animation', async () => sharp(await Promise.all([noise(8, 8).png().toBuffer(), noise(8, 8).png().toBuffer()]), { join: { animated: true } }).webp().toBuffer(), /animated/], // prettier-ignore
  ])('that is %s is refused with the remedy', async (_, bytes, reason) => {
    expect(await reasonOf(await bytes())).toMatch(reason);
  });

  it('has its colours by its profile', async () => {
    const green = { create: { width: 90, height: 90, channels: 3 as const, background: '#20c040' } };
    const dot = {
      input: { create: { width: 45, height: 90, channels: 3 as const, background: '#fff' } },
      left: 0,
      top: 0,
    };
    const plain = await sharp(green).composite([dot]).png().toBuffer();
    const wide = await sharp(plain).withIccProfile('p3').png().toBuffer();
    const [as, named] = await Promise.all([canonicalPhotograph(plain, 64), canonicalPhotograph(wide, 64)]);
    if (!as.ok || !named.ok) throw new Error('refused');
    expect(await sharp(wide).removeAlpha().raw().toBuffer()).not.toEqual(await sharp(plain).raw().toBuffer());
    expect(await meanDifference(as.value.png, named.value.png)).toBeLessThan(1);
  });

  it('costs nothing by what is written into it', async () => {
    const text = pngChunk('zTXt', Buffer.concat([Buffer.from('Comment\0\0'), deflateSync(Buffer.alloc(50_000_000))]));
    const bomb = withChunks(CHELSEA, ...Array.from({ length: 200 }, () => text));
    const [one, other] = await Promise.all([canonicalPhotograph(bomb, 64), canonicalPhotograph(CHELSEA, 64)]);
    expect(one).toEqual(other);
    expect(await photographProblem(bomb)).toBeUndefined();
  });

  it('is refused by its header alone when it is uploaded', async () => {
    expect(await photographProblem(CHELSEA)).toBeUndefined();
    expect(await photographProblem(await hugePng())).toMatch(/megapixels/);
  });
});

/** All black, so that 100 megapixels are a small file. */
function hugePng(): Promise<Buffer> {
  const create = { width: 10_000, height: 10_000, channels: 3 as const, background: '#000' };
  return sharp({ create, limitInputPixels: false }).png({ compressionLevel: 9 }).toBuffer();
}

async function emptyPng(): Promise<Buffer> {
  const png = await noise(8, 8).png().toBuffer();
  png.writeUInt32BE(0, 16);
  png.writeUInt32BE(0, 20);
  return png;
}

/** Not equal to the byte: turning before or after resizing rounds differently. */
async function meanDifference(one: Uint8Array, other: Uint8Array): Promise<number> {
  const [a, b] = await Promise.all([sharp(one).raw().toBuffer(), sharp(other).raw().toBuffer()]);
  return a.reduce((sum, value, index) => sum + Math.abs(value - b[index]!), 0) / a.length;
}
