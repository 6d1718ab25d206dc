import fc from 'fast-check';
import sharp, { type Sharp } from 'sharp';
import { PNG_SIGNATURE, pngChunk, withChunks } from '@studio/shared/testing/png-file';
import { bareImage } from './bare-image';
import type { ImageFormat } from './image-format';

const HIDDEN = 'WHAT-SOMEBODY-HID';
const SIZE = { width: 32, height: 24 };
const pixels = Buffer.from(Array.from({ length: SIZE.width * SIZE.height * 3 }, (_, i) => (i * 7) % 251));
const picture = (): Sharp => sharp(pixels, { raw: { ...SIZE, channels: 3 } });
const tagged = (): Sharp =>
  picture()
    .withExif({ IFD0: { Copyright: HIDDEN } })
    .withXmp(`<x:xmpmeta xmlns:x="adobe:ns:meta/"><a>${HIDDEN}</a></x:xmpmeta>`)
    .withIccProfile('p3');

const FILES: readonly [ImageFormat, (image: Sharp) => Sharp][] = [
  ['png', (image) => image.png()],
  ['jpeg', (image) => image.jpeg()],
  ['webp', (image) => image.webp()],
];

const decoded = (file: Uint8Array): Promise<Buffer> => sharp(file, { ignoreIcc: true }).raw().toBuffer();

describe('a bare image', () => {
  it.each(FILES)('of a %s has the pixels, and nothing else', async (format, as) => {
    const file = await as(tagged()).toBuffer();
    expect(await sharp(file).metadata()).toMatchObject({ hasProfile: true, exif: expect.anything() });
    const bare = bareImage(file, format, 'pixels');
    const { hasProfile, exif, xmp } = await sharp(bare).metadata();
    expect({ hasProfile, exif, xmp }).toEqual({ hasProfile: false, exif: undefined, xmp: undefined });
    expect(Buffer.from(bare).includes(HIDDEN)).toBe(false);
    expect(await decoded(bare)).toEqual(await decoded(file));
  });

  it.each(FILES)('of a %s without anything else is the same file', async (format, as) => {
    const file = await as(picture()).toBuffer();
    const bare = Buffer.from(bareImage(file, format, 'pixels'));
    // Our encoder's PNGs have the resolution as well.
    if (format !== 'png') expect(bare.equals(file)).toBe(true);
    expect(bareImage(bare, format, 'pixels')).toEqual(bare);
  });

  it.each(FILES)('of a %s photograph keeps its orientation and its colour profile', async (format, as) => {
    const file = await as(tagged().withMetadata({ orientation: 6 })).toBuffer();
    const bare = bareImage(file, format, 'photograph');
    const { hasProfile, orientation, xmp } = await sharp(bare).metadata();
    expect({ hasProfile, orientation, xmp }).toEqual({ hasProfile: true, orientation: 6, xmp: undefined });
    const turned = (bytes: Uint8Array): Promise<Buffer> => sharp(bytes).autoOrient().raw().toBuffer();
    expect(await turned(bare)).toEqual(await turned(file));
  });

  it('of a PNG ends where it ends, without texts, profiles, frames and chunks of anybody’s own', async () => {
    const png = await picture().png({ palette: true }).toBuffer();
    const plain = bareImage(png, 'png', 'pixels');
    const chunks = ['tEXt', 'zTXt', 'iTXt', 'iCCP', 'eXIf', 'acTL', 'fcTL', 'fdAT', 'sPLT', 'prVt'].map((type) =>
      pngChunk(type, Buffer.from(`a\0\0${HIDDEN}`)),
    );
    const full = Buffer.concat([withChunks(png, ...chunks), Buffer.from(HIDDEN)]);
    expect(bareImage(full, 'png', 'pixels')).toEqual(plain);
  });

  it('keeps the transparency, and how a JPEG stores its colours', async () => {
    const palette = await picture().ensureAlpha(0.5).png({ palette: true }).toBuffer();
    expect(palette.includes('tRNS')).toBe(true);
    expect(await decoded(bareImage(palette, 'png', 'pixels'))).toEqual(await decoded(palette));
    // With this segment the three channels are RGB and not what JPEG makes of them.
    const jpeg = await picture().jpeg({ chromaSubsampling: '4:4:4' }).toBuffer();
    const adobe = Buffer.from([0xff, 0xee, 0, 14, ...Buffer.from('Adobe'), 0, 100, 0, 0, 0, 0, 0]);
    const asRgb = Buffer.concat([jpeg.subarray(0, 2), adobe, jpeg.subarray(2)]);
    expect(await decoded(asRgb)).not.toEqual(await decoded(jpeg));
    expect(await decoded(bareImage(asRgb, 'jpeg', 'pixels'))).toEqual(await decoded(asRgb));
  });

  it('of an animation still has its frames, so that it can be refused', async () => {
    const frames = { width: 32, height: 24, channels: 3 as const, pageHeight: 12 };
    const moving = await sharp(pixels, { raw: frames }).webp({ loop: 0 }).toBuffer();
    expect((await sharp(bareImage(moving, 'webp', 'pixels')).metadata()).pages).toBe(2);
  });

  it('leaves out extras that are larger than any camera or printer makes them', async () => {
    const big = Buffer.alloc(1024 * 1024 + 1);
    const png = withChunks(await picture().png().toBuffer(), pngChunk('iCCP', big), pngChunk('eXIf', big));
    expect(bareImage(png, 'png', 'photograph').length).toBeLessThan(png.length - 2 * big.length);
  });

  it('is made of any bytes, and never longer than they are', () => {
    const heads: Record<ImageFormat, Buffer> = {
      png: PNG_SIGNATURE,
      jpeg: Buffer.from([0xff, 0xd8, 0xff]),
      webp: Buffer.concat([Buffer.from('RIFF'), Buffer.alloc(4), Buffer.from('WEBP')]),
    };
    const format = fc.constantFrom<ImageFormat>('png', 'jpeg', 'webp');
    const kept = fc.constantFrom('pixels' as const, 'photograph' as const);
    fc.assert(
      fc.property(format, kept, fc.uint8Array({ maxLength: 60 }), fc.nat(40), (name, extras, tail, size) => {
        const file = Buffer.concat([heads[name], tail]);
        if (name === 'webp') file.writeUInt32LE(size, 4);
        const before = Buffer.from(file);
        expect(bareImage(file, name, extras).length).toBeLessThanOrEqual(file.length);
        expect(file).toEqual(before);
      }),
      { numRuns: 3_000 },
    );
  });
});
