import { deflateSync } from 'node:zlib';
import sharp, { type Sharp } from 'sharp';
import { dctHash } from '@studio/shared/domain/dct-hash';
import { claiming, pngChunk, rgbPng, withChunks } from '@studio/shared/testing/png-file';
import { checkImage } from './image-check';

const SIZE = { width: 32, height: 24 };

function gradient(width: number, height: number): Buffer {
  return Buffer.from(Array.from({ length: width * height * 3 }, (_, i) => (i * 7) % 251));
}
const picture = (width = SIZE.width, height = SIZE.height) =>
  sharp(gradient(width, height), { raw: { width, height, channels: 3 } });

/** Half as high: two of them joined have the size of one picture. */
const frame = (shift: number) => {
  const data = gradient(SIZE.width, SIZE.height / 2).map((value) => value ^ shift);
  return sharp(data, { raw: { width: SIZE.width, height: SIZE.height / 2, channels: 3 } })
    .png()
    .toBuffer();
};

const REASON = expect.objectContaining({ ok: false, reason: expect.any(String) });

describe('checking an image', () => {
  it('keeps the pixels and drops everything else', async () => {
    const sent = await picture()
      .withExif({ IFD0: { Copyright: 'the miner' } })
      .png()
      .toBuffer();
    const checked = await checkImage(sent, SIZE);
    if (!checked.ok) throw new Error(checked.reason);
    expect(checked.value.pixelHash).toMatch(/^[0-9a-f]{64}$/);
    expect(Buffer.from(checked.value.png).includes('the miner')).toBe(false);
    expect(await sharp(checked.value.png).raw().toBuffer()).toEqual(gradient(SIZE.width, SIZE.height));
  });

  it('gives equal pixels equal hashes, whatever the file', async () => {
    const hashes = await Promise.all(
      [picture().png(), picture().webp({ lossless: true }), picture().ensureAlpha().png({ compressionLevel: 1 })].map(
        async (image) => {
          const checked = await checkImage(await image.toBuffer(), SIZE);
          return checked.ok && checked.value.pixelHash;
        },
      ),
    );
    expect(new Set(hashes).size).toBe(1);
    expect(hashes[0]).toBeTruthy();
  });

  const kept = async (bytes: Uint8Array): Promise<Buffer> => {
    const checked = await checkImage(bytes, SIZE);
    if (!checked.ok) throw new Error(checked.reason);
    expect(await sharp(checked.value.png).metadata()).toMatchObject({ ...SIZE, channels: 3, depth: 'uchar' });
    return sharp(checked.value.png).raw().toBuffer();
  };

  it.each<[string, (image: Sharp) => Sharp]>([
    ['sixteen bits', (image) => image.toColourspace('rgb16').png()],
    ['sixteen bits and an opaque alpha channel', (image) => image.ensureAlpha(1).toColourspace('rgb16').png()],
    ['a palette', (image) => image.png({ palette: true })],
    ['interlacing', (image) => image.png({ progressive: true })],
    ['a colour profile', (image) => image.withMetadata().png()], // prettier-ignore
  ])('reads the same pixels from a file with %s', async (_, as) => {
    expect(await kept(await as(picture()).toBuffer())).toEqual(gradient(SIZE.width, SIZE.height));
  });

  it('takes the pixels as they are stored, whatever a colour profile or a camera says about them', async () => {
    const plain = await picture().jpeg().toBuffer();
    const marker = plain.indexOf(Buffer.from([0xff, 0xdb]));
    const said = await picture().withMetadata({ orientation: 6, icc: 'p3' }).jpeg().toBuffer();
    expect(await sharp(said).metadata()).toMatchObject({ hasProfile: true, orientation: 6 });
    // The pixels of the plain file behind what the other one says.
    const lying = Buffer.concat([said.subarray(0, said.indexOf(Buffer.from([0xff, 0xdb]))), plain.subarray(marker)]);
    expect(await kept(lying)).toEqual(await kept(plain));
  });

  it.each<[string, (image: Sharp) => Sharp]>([
    ['grey levels', (image) => image.greyscale().png()],
    ['sixteen bits of grey', (image) => image.toColourspace('grey16').png()],
    ['CMYK', (image) => image.toColourspace('cmyk').jpeg({ quality: 100 })],
  ])('makes three channels of %s', async (_, as) => {
    const rgb = await kept(await as(picture()).toBuffer());
    expect(rgb.length).toBe(SIZE.width * SIZE.height * 3);
  });

  it('is done with a file that would take 16 GiB where the decoder sees its texts', async () => {
    const text = pngChunk('zTXt', Buffer.concat([Buffer.from('Comment\0\0'), deflateSync(Buffer.alloc(50_000_000))]));
    const bomb = withChunks(await picture().png().toBuffer(), ...Array.from({ length: 200 }, () => text));
    expect(await kept(bomb)).toEqual(gradient(SIZE.width, SIZE.height));
  });

  it('gives what the picture shows as a hash, which is of the pixels too', async () => {
    const checked = await checkImage(await picture().png().toBuffer(), SIZE);
    const { width, height } = SIZE;
    expect(checked).toMatchObject({ ok: true, value: { dctHash: dctHash(gradient(width, height), width, height) } });
  });

  it('lets a black picture through where a LoRA beyond its strength was asked for', async () => {
    const black = rgbPng(SIZE, new Uint8Array(SIZE.width * SIZE.height * 3));
    expect(await checkImage(black, { ...SIZE, overdriven: true })).toMatchObject({ ok: true });
    expect(await checkImage(black, SIZE)).toEqual({ ok: false, reason: 'the image is blank' });
  });

  it.each<[string, () => Promise<Uint8Array> | Uint8Array, RegExp]>([
    ['no bytes', () => new Uint8Array(0), /empty/],
    ['text', () => Buffer.from('hello'), /not a PNG/],
    ['SVG', () => Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="32" height="24"/>'), /not a PNG/],
    ['another size', () => picture(24, 32).png().toBuffer(), /24×32 instead of 32×24/],
    ['more pixels', () => picture(64, 64).png().toBuffer(), /pixel limit/],
    ['a pixel bomb', async () => claiming(await picture().png().toBuffer(), 30_000, 30_000), /pixel limit/],
    ['a truncated file', async () => (await picture().png().toBuffer()).subarray(0, 300), /cannot be decoded/],
    ['a truncated JPEG', async () => (await picture().jpeg().toBuffer()).subarray(0, 500), /cannot be decoded/],
    [
      'one flat colour',
      () =>
        sharp({ create: { ...SIZE, channels: 3, background: '#4080c0' } })
          .png()
          .toBuffer(),
      /blank/,
    ],
    ['an interlaced pixel bomb', async () => claiming(await picture().png({ progressive: true }).toBuffer(), 30_000, 30_000), /pixel limit/], // prettier-ignore
    ['1×1 stretched to the size', async () => claiming(await picture(1, 1).png().toBuffer(), SIZE.width, SIZE.height), /cannot be decoded/], // prettier-ignore
    ['one white pixel on black', () => rgbPng(SIZE, new Uint8Array(24 * 32 * 3).fill(255, 300, 303)), /blank/],
    [
      'faint noise on one colour',
      () =>
        rgbPng(
          SIZE,
          gradient(32, 24).map((value) => 100 + (value % 5)),
        ),
      /blank/,
    ],
    ['a picture behind transparency of 99 %', () => picture().ensureAlpha(0.01).png().toBuffer(), /blank/],
    ['transparency in WebP', () => picture().ensureAlpha(0).webp({ lossless: true }).toBuffer(), /blank/],
    ['full transparency', () => picture().ensureAlpha(0).png().toBuffer(), /blank/],
    [
      'an animation',
      async () =>
        sharp(await Promise.all([frame(0), frame(128)]), { join: { animated: true } })
          .webp()
          .toBuffer(),
      /2 frames|pixel limit/,
    ],
  ])('refuses %s', async (_, bytes, reason) => {
    const checked = await checkImage(await bytes(), SIZE);
    expect(checked).toEqual(REASON);
    expect(!checked.ok && checked.reason).toMatch(reason);
  });
});
