import sharp from 'sharp';
import { checkImage } from './image-check';

const SIZE = { width: 32, height: 24 };

function gradient(width: number, height: number): Buffer {
  return Buffer.from(Array.from({ length: width * height * 3 }, (_, i) => (i * 7) % 251));
}
const picture = (width = SIZE.width, height = SIZE.height) =>
  sharp(gradient(width, height), { raw: { width, height, channels: 3 } });

/** A PNG whose header claims this size; the pixels behind it are not there. */
async function pngClaiming(width: number, height: number): Promise<Buffer> {
  const png = await picture().png().toBuffer();
  png.writeUInt32BE(width, 16);
  png.writeUInt32BE(height, 20);
  png.writeUInt32BE(crc32(png.subarray(12, 29)), 29);
  return png;
}
function crc32(bytes: Uint8Array): number {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

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

  it.each<[string, () => Promise<Uint8Array> | Uint8Array, RegExp]>([
    ['no bytes', () => new Uint8Array(0), /empty/],
    ['text', () => Buffer.from('hello'), /not a PNG/],
    ['SVG', () => Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="32" height="24"/>'), /not a PNG/],
    ['another size', () => picture(24, 32).png().toBuffer(), /24×32 instead of 32×24/],
    ['more pixels', () => picture(64, 64).png().toBuffer(), /pixel limit/],
    ['a pixel bomb', () => pngClaiming(30_000, 30_000), /cannot be decoded/],
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
