/**
 * What "success without a usable image" looks like: results of a job for one picture of SIZE that a broken or careless miner
 * sends with a 200, by family, from a seed. Tier 1 has to see it at once, before a client does.
 *
 * Knowingly not in here: pictures that could be right and are not (another seed, an earlier result, half the size scaled up,
 * a large patch on black). Tier 2 compares those with a replay; `PLAUSIBLE` has two, to show where the line is.
 */
import { brotliCompressSync, constants, deflateSync, gzipSync } from 'node:zlib';
import sharp, { type Sharp } from 'sharp';
import { imagePart } from '@studio/shared/contract/miner-job';
import { claiming, PNG_SIGNATURE, pngOf, rgbPng } from '@studio/shared/testing/png-file';
import { field, form, FORM_TYPE, MANIFEST, manifestPart, part } from '@studio/shared/testing/result-form';
import { Chance } from '../chance';

export const SIZE = { width: 32, height: 32 };
const PIXELS = SIZE.width * SIZE.height;

export interface UnusableResult {
  contentType: string;
  body: Buffer;
}

export interface Family {
  name: string;
  make(chance: Chance): UnusableResult | Promise<UnusableResult>;
}

type Level = (pixel: number, channel: number) => number;

/** Whole numbers below a bound, many and cheap: xorshift32 (G. Marsaglia, 2003). */
function scatter(chance: Chance): (below: number) => number {
  let state = chance.whole(1, 0x7fffffff);
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** What a good picture is here: structured, colourful, another one every time. */
export function picture(chance: Chance, { width, height } = SIZE): Buffer {
  const [a, b, any] = [chance.whole(3, 17), chance.whole(3, 17), scatter(chance)];
  const pixels = Buffer.allocUnsafe(width * height * 3);
  let at = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let channel = 0; channel < 3; channel++) {
        pixels[at++] = 40 + ((x * a + channel * 31) % 101) + ((y * b) % 89) + any(20);
      }
    }
  }
  return pixels;
}

function rgb(level: Level): Buffer {
  const pixels = Buffer.allocUnsafe(PIXELS * 3);
  for (let pixel = 0; pixel < PIXELS; pixel++) {
    for (let channel = 0; channel < 3; channel++) pixels[pixel * 3 + channel] = level(pixel, channel);
  }
  return pixels;
}
const open = (pixels: Buffer, { width, height } = SIZE): Sharp =>
  sharp(pixels, { raw: { width, height, channels: 3 } });
const clamped = (level: number): number => (level < 0 ? 0 : level > 255 ? 255 : level);
const color = (chance: Chance): number[] => [0, 1, 2].map(() => chance.whole(0, 255));

function bytes(chance: Chance, length: number): Buffer {
  const any = scatter(chance);
  const random = Buffer.allocUnsafe(length);
  for (let i = 0; i < length; i++) random[i] = any(256);
  return random;
}

/** In any of the formats that are read, with hardly a loss. */
function encoded(pixels: Buffer, chance: Chance, size = SIZE): Promise<Buffer> | Buffer {
  if (chance.happens(0.8)) return rgbPng(size, pixels);
  const image = open(pixels, size);
  return (
    chance.happens(0.5)
      ? image.jpeg({ quality: 100, chromaSubsampling: '4:4:4' })
      : image.webp({ lossless: true, effort: 0 })
  ).toBuffer();
}

const reply = (body: Buffer | string, contentType = FORM_TYPE): UnusableResult => ({
  contentType,
  body: Buffer.from(body as string),
});
const result = (file: Buffer | string): UnusableResult => reply(form(manifestPart(), part(imagePart(0), file)));

/** A family whose files are what `make` gives. */
const files = (name: string, make: (chance: Chance) => Promise<Buffer> | Buffer | string): Family => ({
  name,
  make: async (chance) => result(await make(chance)),
});
const blank = (name: string, make: (chance: Chance) => Level): Family =>
  files(name, (chance) => encoded(rgb(make(chance)), chance));
/** Without loss: JPEG spreads a stray pixel over its block, and that is 6 % of so small a picture. */
const strayed = (name: string, make: (chance: Chance) => Level): Family =>
  files(name, (chance) => rgbPng(SIZE, rgb(make(chance))));

const html = (chance: Chance): string =>
  `<!doctype html><title>50${chance.whole(0, 4)}</title><h1>Error ${chance.whole(1, 9_999)}</h1>`;
const json = (chance: Chance): string => JSON.stringify({ error: 'CUDA out of memory', code: chance.whole(1, 9_999) });

const replies: Family[] = [
  { name: 'no part', make: () => reply(form(manifestPart())) },
  { name: 'an empty body', make: () => reply('') },
  { name: 'a page of HTML', make: (chance) => reply(html(chance), 'text/html') },
  { name: 'an error in JSON', make: (chance) => reply(json(chance), 'application/json') },
  { name: 'an error in JSON that calls itself a form', make: (chance) => reply(json(chance)) },
  {
    name: 'the picture alone, without a form',
    make: async (chance) => reply(await encoded(picture(chance), chance), 'image/png'),
  },
  {
    name: 'a manifest that gives up',
    make: (chance) => {
      const manifest = { ...(JSON.parse(MANIFEST) as object), status: 'failed', error: json(chance) };
      return reply(form(manifestPart(JSON.stringify(manifest)), part(imagePart(0), '')));
    },
  },
  {
    name: 'a broken manifest',
    make: async (chance) => {
      const manifest = manifestPart(MANIFEST.slice(0, chance.whole(0, MANIFEST.length - 1)));
      return reply(form(manifest, part(imagePart(0), await encoded(picture(chance), chance))));
    },
  },
  {
    name: 'a form cut off',
    make: (chance) => {
      const whole = result(rgbPng(SIZE, picture(chance))).body;
      return reply(whole.subarray(0, chance.whole(1, whole.length - 60)));
    },
  },
  {
    name: 'a part of another name',
    make: (chance) => reply(form(manifestPart(), part(`image_${chance.whole(1, 99)}`, rgbPng(SIZE, picture(chance))))),
  },
  {
    name: 'the picture twice',
    make: (chance) => {
      const twice = part(imagePart(0), rgbPng(SIZE, picture(chance)));
      return reply(form(manifestPart(), twice, twice));
    },
  },
  {
    name: 'the picture as text of base64',
    make: (chance) => {
      const text = rgbPng(SIZE, picture(chance)).toString('base64');
      return reply(
        form(manifestPart(), field(imagePart(0), chance.happens(0.5) ? text : `data:image/png;base64,${text}`)),
      );
    },
  },
];

const others: Family[] = [
  files('an empty part', () => ''),
  files('an error in the part', (chance) => (chance.happens(0.5) ? html(chance) : json(chance))),
  files('random bytes', (chance) => bytes(chance, chance.whole(1, 4_000))),
  files('random bytes behind the first of a format', (chance) => {
    const webp = Buffer.concat([Buffer.from('RIFF'), bytes(chance, 4), Buffer.from('WEBP')]);
    const heads = [PNG_SIGNATURE, Buffer.from([0xff, 0xd8, 0xff]), webp];
    return Buffer.concat([heads[chance.whole(0, 2)]!, bytes(chance, chance.whole(0, 4_000))]);
  }),
  files('another format', (chance) => {
    const image = open(picture(chance));
    const formats = [image.gif(), image.tiff(), image.avif({ effort: 0 })];
    return formats[chance.happens(0.02) ? 2 : chance.whole(0, 1)]!.toBuffer();
  }),
  files('a drawing in SVG', (chance) => `<svg xmlns="http://www.w3.org/2000/svg" width="32" height="32"><rect width="${chance.whole(1, 32)}" height="9"/></svg>`), // prettier-ignore
  files('a BMP', (chance) => bmp(picture(chance))),
  files('an archive', (chance) => {
    const png = rgbPng(SIZE, picture(chance));
    return [
      gzipSync(png),
      brotliCompressSync(png, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } }),
      Buffer.concat([Buffer.from('PK\x03\x04'), png]),
    ][chance.whole(0, 2)]!;
  }),
];

const damaged: Family[] = [
  ...(['png', 'jpeg', 'webp'] as const).map((format) =>
    files(`a ${format} cut off`, async (chance) => {
      const image = open(picture(chance));
      const lossless = format === 'webp' && chance.happens(0.5);
      const whole = await (lossless ? image.webp({ lossless, effort: 0 }) : image.toFormat(format)).toBuffer();
      // Without the last bytes, a file may still have every pixel.
      return whole.subarray(0, chance.whole(1, Math.floor(whole.length * 0.9)));
    }),
  ),
  files('a PNG with other bytes among its pixels', (chance) => {
    const png = rgbPng(SIZE, picture(chance));
    const at = chance.whole(50, png.length - 60);
    return Buffer.concat([png.subarray(0, at), bytes(chance, chance.whole(8, 40)), png.subarray(at + 8)]);
  }),
  files('a PNG of pixels that cannot be unpacked', (chance) => {
    const rows = deflateSync(bytes(chance, PIXELS * 3 + SIZE.height));
    rows.fill(chance.whole(0, 255), chance.whole(2, 60), chance.whole(200, 400));
    return pngOf(SIZE.width, SIZE.height, rows);
  }),
  files('a PNG with too few rows', (chance) => {
    const row = SIZE.width * 3 + 1;
    return pngOf(SIZE.width, SIZE.height, deflateSync(bytes(chance, row * chance.whole(0, SIZE.height - 2)).fill(0)));
  }),
  files('a PNG that was sent as text', (chance) => Buffer.from(rgbPng(SIZE, picture(chance)).toString('utf8'))),
  files('a PNG whose line ends were changed', (chance) => {
    const png = rgbPng(SIZE, picture(chance)).toString('latin1');
    return Buffer.from(chance.happens(0.5) ? png.replaceAll('\r\n', '\n') : png.replaceAll('\n', '\r\n'), 'latin1');
  }),
];

const sizes: Family[] = [
  files('another size', (chance) => {
    const size = { width: chance.whole(1, 80), height: chance.whole(1, 80) };
    if (size.width === SIZE.width && size.height === SIZE.height) size.width += 1;
    return encoded(picture(chance, size), chance, size);
  }),
  files('half the size', (chance) => {
    const half = { width: 16, height: 16 };
    return encoded(picture(chance, half), chance, half);
  }),
  files('one pixel that claims the size', (chance) =>
    claiming(rgbPng({ width: 1, height: 1 }, bytes(chance, 3)), SIZE.width, SIZE.height),
  ),
  files('a size beyond all memory', (chance) =>
    claiming(rgbPng(SIZE, picture(chance)), chance.whole(10_000, 1_000_000), chance.whole(10_000, 1_000_000)),
  ),
  files('no size', (chance) => claiming(rgbPng(SIZE, picture(chance)), 0, chance.whole(0, 32))),
  files('an animation', async (chance) => {
    const frames = { width: 32, height: 64 };
    const raw = { ...frames, channels: 3 as const, pageHeight: 32 };
    return sharp(picture(chance, frames), { raw }).webp({ loop: 0, lossless: true, effort: 0 }).toBuffer();
  }),
];

const blanks: Family[] = [
  blank('one colour', (chance) => {
    const all = color(chance);
    return (_, channel) => all[channel]!;
  }),
  blank('black or white', (chance) => {
    const all = chance.happens(0.8) ? 0 : 255;
    return () => all;
  }),
  strayed('one colour with up to five strays', (chance) => {
    const [all, stray] = [color(chance), color(chance)];
    const places = new Set(Array.from({ length: chance.whole(1, 5) }, () => chance.whole(0, PIXELS - 1)));
    return (pixel, channel) => (places.has(pixel) ? stray : all)[channel]!;
  }),
  blank('faint noise', (chance) => {
    const [all, most, any] = [color(chance), chance.whole(1, 2), scatter(chance)];
    return (_, channel) => clamped(all[channel]! - most + any(2 * most + 1));
  }),
  strayed('faint noise with strays', (chance) => {
    const [all, place, any] = [color(chance), chance.whole(0, PIXELS - 1), scatter(chance)];
    return (pixel, channel) => (pixel === place ? 255 : clamped(all[channel]! + any(4)));
  }),
  blank('a gradient over five levels', (chance) => {
    const [all, across] = [color(chance), chance.happens(0.5)];
    return (pixel, channel) => {
      const along = across ? pixel % SIZE.width : (pixel / SIZE.width) | 0;
      return clamped(all[channel]! + ((along * 5) >> 5));
    };
  }),
  blank('stripes of nearly one colour', (chance) => {
    const [all, wide, apart] = [color(chance), chance.whole(1, 8), chance.whole(1, 3)];
    return (pixel, channel) => clamped(all[channel]! + (((pixel / wide) | 0) % 2) * apart);
  }),
  files('a picture behind full transparency', (chance) => {
    const hidden = open(picture(chance)).ensureAlpha(0);
    return (chance.happens(0.5) ? hidden.png() : hidden.webp({ lossless: true, exact: true, effort: 0 })).toBuffer();
  }),
  files('a picture behind all but full transparency', (chance) =>
    open(picture(chance))
      .ensureAlpha(chance.whole(1, 2) / 255)
      .png()
      .toBuffer(),
  ),
];

export const FAMILIES: readonly Family[] = [...replies, ...others, ...damaged, ...sizes, ...blanks];

/** Tier 2's: they are pictures, of the size that was asked for. */
export const PLAUSIBLE: readonly Family[] = [
  files('another picture', (chance) => encoded(picture(chance), chance)),
  blank('a patch of a tenth on black', (chance) => {
    const all = chance.whole(100, 255);
    return (pixel) => (pixel % SIZE.width < 10 && pixel < 10 * SIZE.width ? all : 0);
  }),
];

function bmp(pixels: Buffer): Buffer {
  const header = Buffer.alloc(54);
  header.write('BM');
  header.writeUInt32LE(54 + pixels.length, 2);
  header.writeUInt32LE(54, 10);
  header.writeUInt32LE(40, 14);
  header.writeInt32LE(SIZE.width, 18);
  header.writeInt32LE(SIZE.height, 22);
  header.writeUInt32LE((24 << 16) | 1, 26);
  return Buffer.concat([header, pixels]);
}
