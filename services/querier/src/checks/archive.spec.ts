import { zipSync } from 'fflate';
import sharp from 'sharp';
import { isZip, onlyPhotograph } from './archive';
import { canonicalPhotograph, photographProblem } from './photograph';

const MIB = 1024 * 1024;
const text = Buffer.from('a cat');
const noise = (side: number): Promise<Buffer> =>
  sharp({ create: { width: side, height: side, channels: 3, background: 'red', noise: { type: 'gaussian', mean: 120, sigma: 40 } } }) // prettier-ignore
    .png()
    .toBuffer();

/** Without the bytes, which a failure would print. */
function said(zip: Uint8Array): string {
  const found = onlyPhotograph(zip);
  return found.ok ? `a picture of ${found.value.length} bytes` : found.reason;
}

describe('a zip with a photograph', () => {
  it('is the photograph, whatever lies beside it', async () => {
    const png = await noise(40);
    const zip = zipSync({
      'data/cat.png': png,
      'data/cat.txt': text,
      '__MACOSX/data/._cat.png': png,
      '.hidden.png': png,
    });
    expect(isZip(zip)).toBe(true);
    const found = onlyPhotograph(zip);
    expect(found.ok && Buffer.from(found.value).equals(png)).toBe(true);
    expect(await canonicalPhotograph(zip, 32)).toEqual(await canonicalPhotograph(png, 32));
    expect(await photographProblem(zip)).toBeUndefined();
  });

  it('leaves what is no zip as it is', async () => {
    const png = await noise(40);
    expect(onlyPhotograph(png)).toEqual({ ok: true, value: png });
  });

  it('is refused with none, and with more than one', async () => {
    const png = await noise(40);
    for (const [files, count] of [
      [{ 'a.txt': text }, 0],
      [{ 'a.png': png, 'b.png': png }, 2],
    ] as const)
      // prettier-ignore
      expect(onlyPhotograph(zipSync(files))).toEqual({
        ok: false,
        reason: `is a zip with ${count} pictures (PNG, JPEG or WebP) that are read: send one with a single picture`,
      });
  });

  it('unpacks no bomb: neither one large entry, nor many, nor one that lies about its size', async () => {
    const zeros = new Uint8Array(17 * MIB);
    // Taken for a picture, if it were unpacked.
    zeros.set([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
    const large = zipSync({ 'a.png': zeros });
    expect(large.length).toBeLessThan(MIB);
    expect(said(large)).toContain('0 pictures');
    const some = zipSync({ 'a.png': zeros.subarray(0, 15 * MIB) });
    const many = zipSync(
      Object.fromEntries(Array.from({ length: 5 }, (_, i) => [`${i}.png`, zeros.subarray(0, 15 * MIB)])),
    );
    expect(said(many)).toContain('bytes unpacked');
    const crowd = zipSync(Object.fromEntries(Array.from({ length: 1_001 }, (_, i) => [`${i}`, text])));
    expect(said(crowd)).toContain('more than 1000 entries');
    // Both headers of the entry say 8 bytes: no more is made of it, and that is no picture.
    const lying = Buffer.from(some);
    for (let at = 0; at + 4 <= lying.length; at += 1)
      if (lying.readUInt32LE(at) === 15 * MIB) lying.writeUInt32LE(8, at);
    expect(said(lying)).toBe('a picture of 8 bytes');
    expect(await photographProblem(lying)).toMatch(/^cannot be decoded/);
  });

  it.each([0, 10, 40, 100])('is refused when it is cut after %d bytes', async (length) => {
    const zip = zipSync({ 'cat.png': await noise(40) });
    const cut = Buffer.concat([zip.subarray(0, 4), zip.subarray(4, 4 + length)]);
    expect(onlyPhotograph(cut)).toMatchObject({
      ok: false,
      reason: expect.stringMatching(/^is a zip that cannot be read/) as string,
    });
  });
});
