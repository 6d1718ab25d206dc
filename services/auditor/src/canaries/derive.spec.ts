import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { derive, openPhotograph, type Photograph } from './derive';

const PHOTOS = join(__dirname, '../../../../photos');

function bytesOf(dataUri: string): Buffer {
  return Buffer.from(dataUri.slice(dataUri.indexOf(',') + 1), 'base64');
}

/** As large as it may be, and every pixel another: nothing compresses less. */
function noise(side: number): Photograph {
  let state = 1;
  const rgb = Buffer.alloc(side * side * 3);
  for (let i = 0; i < rgb.length; i += 1) {
    state = Math.imul(state, 1_103_515_245) + 12_345;
    rgb[i] = (state >>> 16) & 0xff;
  }
  return { rgb, width: side, height: side };
}

describe('a derived photograph', () => {
  it('is never made twice, in a thousand times', async () => {
    // The smallest that is taken: the fewest places to cut, and the quickest.
    const small = await sharp(join(PHOTOS, 'chelsea.png')).resize(256, 256).raw().toBuffer();
    const photograph = { rgb: small, width: 256, height: 256 };
    const prints = new Set<string>();
    for (let n = 0; n < 1_000; n += 1) prints.add((await derive(photograph, Math.random)).print);
    expect(prints.size).toBe(1_000);
  }, 120_000);

  it.each(['chelsea.png', 'coffee.png', 'rocket.jpg'])(
    'is a square PNG or JPEG as clients send them (%s)',
    async (name) => {
      const photograph = await openPhotograph(join(PHOTOS, name));
      const types = new Set<string>();
      for (let n = 0; n < 20; n += 1) {
        const { dataUri, print } = await derive(photograph, Math.random);
        const [, type = ''] = /^data:image\/(png|jpeg);base64,/.exec(dataUri) ?? [];
        types.add(type);
        const image = sharp(bytesOf(dataUri));
        const { format, width, height, channels } = await image.metadata();
        expect({ format, square: width === height, channels }).toEqual({ format: type, square: true, channels: 3 });
        expect(width).toBeGreaterThanOrEqual(100);
        expect(width).toBeLessThanOrEqual(768);
        const rgb = await image.raw().toBuffer();
        expect(print).toBe(createHash('sha256').update(`${width}|${height}|`).update(rgb).digest('hex'));
      }
      expect([...types].sort()).toEqual(['jpeg', 'png']);
    },
  );

  it('fits into a message, whatever the photograph is', async () => {
    const photograph = noise(1_024);
    for (let n = 0; n < 6; n += 1) {
      const { dataUri } = await derive(photograph, Math.random);
      expect(dataUri.length).toBeLessThanOrEqual(500_000);
    }
  });

  it('shows something: parts of one colour are passed over, and a photograph of nothing else is refused', async () => {
    const side = 400;
    const half = noise(side);
    // Grey but for its lower right quarter.
    for (let y = 0; y < side; y += 1) {
      for (let x = 0; x < side; x += 1) {
        if (x < side / 2 || y < side / 2) half.rgb.fill(128, (y * side + x) * 3, (y * side + x) * 3 + 3);
      }
    }
    for (let n = 0; n < 10; n += 1) {
      const { channels } = await sharp(bytesOf((await derive(half, Math.random)).dataUri)).stats();
      expect(Math.max(...channels.map(({ stdev }) => stdev))).toBeGreaterThan(6);
    }
    const grey = { ...half, rgb: Buffer.alloc(half.rgb.length, 128) };
    await expect(derive(grey, Math.random)).rejects.toThrow(/no part that shows enough/);
  });
});

describe('a photograph of the corpus', () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'photographs-'));
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  const stored = async (image: sharp.Sharp): Promise<string> => {
    const file = join(directory, `${Math.random()}.png`);
    await writeFile(file, await image.png().toBuffer());
    return file;
  };

  it('is read as people see it: turned as its EXIF says, without transparency, not larger than needed', async () => {
    const create = { width: 3_000, height: 1_500, channels: 4 as const, background: { r: 255, g: 0, b: 0, alpha: 0 } };
    const noisy = sharp(noise(300).rgb, { raw: { width: 300, height: 300, channels: 3 } });
    const image = sharp({ create }).composite([{ input: await noisy.png().toBuffer() }]);
    const file = join(directory, 'turned.webp');
    await writeFile(file, await image.withMetadata({ orientation: 6 }).webp({ lossless: true }).toBuffer());
    const { width, height, rgb } = await openPhotograph(file);
    expect({ width, height }).toEqual({ width: 1_024, height: 2_048 });
    expect([...rgb.subarray(0, 3)]).toEqual([255, 255, 255]);
  });

  it('is refused with the reason when it is too small or of one colour', async () => {
    const grey = (side: number): sharp.Sharp =>
      sharp({ create: { width: side, height: side, channels: 3, background: '#888' } });
    await expect(openPhotograph(await stored(grey(200)))).rejects.toThrow('is 200×200');
    await expect(openPhotograph(await stored(grey(400)))).rejects.toThrow('shows nothing');
  });
});
