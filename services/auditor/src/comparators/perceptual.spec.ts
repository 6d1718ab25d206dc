import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { PERCEPTUAL_THRESHOLDS } from '@studio/shared/domain/perceptual-thresholds';
import {
  blurred,
  cropped,
  enlarged,
  jpeg,
  mirrored,
  noise,
  recoloured,
  sharpened,
  shrunk,
  stamped,
  webp,
  withLogo,
} from '../calibrate/distortions';
import { comparePictures, failedFigures, type PerceptualComparison } from './perceptual';
import type { Picture } from './pixels';

jest.setTimeout(240_000);

const PHOTOGRAPHS = ['chelsea.png', 'coffee.png', 'rocket.jpg'] as const;
type Photograph = (typeof PHOTOGRAPHS)[number];

/** The middle square, resized as the orchestrator does for a client: to 64² from 300–427 pixels, to 512² enlarged. */
async function square(name: Photograph, side: number): Promise<Picture> {
  const image = sharp(readFileSync(join(__dirname, '../../../../photos', name))).resize(side, side, { fit: 'cover' });
  return { rgb: await image.removeAlpha().toColourspace('srgb').raw().toBuffer(), width: side, height: side };
}

/** Numbers in [0, 1), the same in every run. */
function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** sharp enlarges with nothing sharper than cubic; this is the kernel that image programs call Lanczos. */
function lanczos({ rgb, width, height }: Picture, to: number): Picture {
  const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
  const taps = (size: number): [number, number][][] =>
    Array.from({ length: to }, (_, i) => {
      const centre = ((i + 0.5) * size) / to - 0.5;
      const around = Array.from({ length: 6 }, (_, k) => Math.floor(centre) - 2 + k);
      const weights = around.map((at) => sinc(centre - at) * sinc((centre - at) / 3));
      const sum = weights.reduce((total, weight) => total + weight);
      return around.map((at, k): [number, number] => [Math.min(size - 1, Math.max(0, at)), weights[k]! / sum]);
    });
  const [across, down] = [taps(width), taps(height)];
  const wide = new Float64Array(to * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < to; x++) {
      for (const [from, weight] of across[x]!) {
        for (let c = 0; c < 3; c++) wide[(y * to + x) * 3 + c]! += weight * rgb[(y * width + from) * 3 + c]!;
      }
    }
  }
  const sums = new Float64Array(to * to * 3);
  for (let y = 0; y < to; y++) {
    for (const [from, weight] of down[y]!) {
      for (let i = 0; i < to * 3; i++) sums[y * to * 3 + i]! += weight * wide[from * to * 3 + i]!;
    }
  }
  const large = Uint8ClampedArray.from(sums);
  return { rgb: Uint8Array.from(large), width: to, height: to };
}

/** Several distortions begin with it, and it is the slowest. */
const halves = new WeakMap<Picture, Promise<Picture>>();

function halfSize(picture: Picture): Promise<Picture> {
  const known = halves.get(picture) ?? shrunk(picture, 2).then((small) => lanczos(small, picture.width));
  halves.set(picture, known);
  return known;
}

const halfSharpened = (sigma: number) => async (picture: Picture) => sharpened(await halfSize(picture), sigma);

/** A fine chequered pattern in the mean colour of what it covers: no colour tells of it. */
function pattern(picture: Picture): Picture {
  let at = 0;
  const mean = [0, 1, 2].map((channel) => {
    let [sum, count] = [0, 0];
    stamped(picture, 0.1, () => [0, 0, 0]).rgb.forEach((value, i) => {
      if (i % 3 === channel && value === 0) [sum, count] = [sum + picture.rgb[i]!, count + 1];
    });
    return sum / count;
  });
  return stamped(picture, 0.1, () => {
    at += 1;
    const swing = Math.min(40, ...mean.flatMap((value) => [value, 255 - value])) * (at % 4 < 2 ? 1 : -1);
    return mean.map((value) => Math.round(value + swing)) as [number, number, number];
  });
}

const flat = (value: number) => (picture: Picture) => ({ ...picture, rgb: picture.rgb.map(() => value) });

type Distortion = (picture: Picture, side: number, name: Photograph) => Picture | Promise<Picture>;

const VALID: Record<string, Distortion> = {
  'the same': (picture) => picture,
  'noise of ±1': (picture) => noise(picture, chance(1)),
  'JPEG 95': (picture) => jpeg(picture, 95),
  'JPEG 90': (picture) => jpeg(picture, 90),
  'JPEG 85': (picture) => jpeg(picture, 85),
  'JPEG 80': (picture) => jpeg(picture, 80),
  'WebP 90': (picture) => webp(picture, 90),
  'JPEG 80 and noise': async (picture) => noise(await jpeg(picture, 80), chance(2)),
};

const INVALID: Record<string, Distortion> = {
  'crop to 95 %': (picture) => cropped(picture, 0.95),
  'crop to 90 %': (picture) => cropped(picture, 0.9),
  'crop to 80 %': (picture) => cropped(picture, 0.8),
  'logo, 1/4 of the side': (picture) => withLogo(picture, 1 / 4),
  'logo, 1/10': (picture) => withLogo(picture, 1 / 10),
  'logo, 1/16': (picture) => withLogo(picture, 1 / 16),
  'pattern, 1/10': pattern,
  'half size, linear': (picture) => enlarged(picture, 2, 'linear'),
  'half size, cubic': (picture) => enlarged(picture, 2, 'cubic'),
  'half size, Lanczos': halfSize,
  'half size, sharpened 0.5': halfSharpened(0.5),
  'half size, sharpened 0.7': halfSharpened(0.7),
  'half size, sharpened 1': halfSharpened(1),
  'half size, sharpened 1.5': halfSharpened(1.5),
  'half size, sharpened 2': halfSharpened(2),
  'half size cubic, sharpened 1': async (picture) => sharpened(await enlarged(picture, 2, 'cubic'), 1),
  'half size, sharpened twice': async (picture) => sharpened(await halfSharpened(0.7)(picture), 0.7),
  'quarter size': (picture) => enlarged(picture, 4, 'cubic'),
  'quarter size, sharpened 2': async (picture) => sharpened(await enlarged(picture, 4, 'cubic'), 2),
  'another photograph': (_, side, name) => square(PHOTOGRAPHS[(PHOTOGRAPHS.indexOf(name) + 1) % 3]!, side),
  'the third photograph': (_, side, name) => square(PHOTOGRAPHS[(PHOTOGRAPHS.indexOf(name) + 2) % 3]!, side),
  mirrored: (picture) => mirrored(picture),
  'blurred, σ 1': (picture) => blurred(picture, 1),
  'blurred, σ 4': (picture) => blurred(picture, 4),
  'hue turned by 40°': (picture) => recoloured(picture, 40),
  blank: flat(128),
  black: flat(0),
};

interface Row {
  distortion: string;
  side: number;
  name: Photograph;
  valid: boolean;
  found: PerceptualComparison;
}

const rows: Row[] = [];

async function measure(side: number, name: Photograph): Promise<void> {
  const picture = await square(name, side);
  for (const [valid, distortions] of [[true, VALID] as const, [false, INVALID] as const]) {
    for (const [distortion, distort] of Object.entries(distortions)) {
      const found = comparePictures(picture, await distort(picture, side, name), PERCEPTUAL_THRESHOLDS);
      rows.push({ distortion, side, name, valid, found });
    }
  }
}

/** The table's columns: figure, title, digits. */
const COLUMNS = [
  ['dctDistance', 'dct', 0],
  ['ssim', 'ssim', 3],
  ['localSsim', 'local', 2],
  ['colourDifference', 'colour', 1],
  ['laplacianRatio', 'ratio', 2],
  ['laplacianCosine', 'cosine', 2],
  ['fineCosine', 'fine', 2],
] as const;
const COLUMN_WIDTH = 13;

/** One line per distortion: the decision on each photograph, each figure's range over the three, what caught it. */
function tableOf(side: number): string {
  const lines = [...Object.keys(VALID), ...Object.keys(INVALID)].map((distortion) => {
    const cells = rows.filter((row) => row.side === side && row.distortion === distortion);
    const decisions = cells.map(({ found }) => (found.agrees ? 'v' : '✗')).join('');
    const ranges = COLUMNS.map(([figure, , digits]) => {
      const values = cells.map(({ found }) => found.distances![figure]).sort((a, b) => a - b);
      const [least, most] = [values[0]!, values.at(-1)!].map((value) => (value > 999 ? '>999' : value.toFixed(digits)));
      return `${least}…${most}`.padEnd(COLUMN_WIDTH);
    });
    const failed = COLUMNS.filter(([figure]) => cells.some(({ found }) => found.failed.includes(figure)));
    return `${distortion.padEnd(30)}${decisions} ${ranges.join('')}${failed.map(([, title]) => title).join(' ')}`;
  });
  const titles = COLUMNS.map(([, title]) => title.padEnd(COLUMN_WIDTH)).join('');
  return [`${`${side}²`.padEnd(34)}${titles}caught by`, ...lines].join('\n');
}

beforeAll(() => {
  process.stdout.write(
    `\n${PHOTOGRAPHS.join(', ')}: v the same work, ✗ not; figures from the least to the most of the three\n`,
  );
});

describe.each([512, 256, 64])('the perceptual comparator at %i²', (side) => {
  beforeAll(async () => {
    for (const name of PHOTOGRAPHS) await measure(side, name);
    process.stdout.write(`${tableOf(side)}\n\n`);
  });

  it('takes what encoders and rounding do for the same work', () => {
    const convicted = rows.filter((row) => row.side === side && row.valid && !row.found.agrees);
    expect(convicted).toEqual([]);
  });

  it('takes nothing else for it', () => {
    const missed = rows.filter((row) => row.side === side && !row.valid && row.found.agrees);
    expect(missed).toEqual([]);
  });
});

describe('the perceptual comparator', () => {
  /** With a figure's threshold out of the way, who gets through? */
  it.each([
    ['localSsim', { localSsim: -1 }, 'pattern, 1/10'],
    ['colourDifference', { colourDifference: 255 }, 'hue turned by 40°'],
    ['laplacianRatio', { laplacianRatioMin: 0, laplacianRatioMax: Infinity }, 'blurred, σ 1'],
    ['fineCosine', { fineCosine: -1 }, 'half size, sharpened 1'],
  ])('needs %s', (_, without, through) => {
    const limits = { ...PERCEPTUAL_THRESHOLDS, ...without };
    const missed = rows.filter(({ valid, found }) => !valid && failedFigures(found.distances!, limits).length === 0);
    expect(missed.map(({ distortion }) => distortion)).toContain(through);
  });

  it('needs laplacianCosine where a picture is too soft for the finest detail', async () => {
    const soft = await blurred(await square('rocket.jpg', 256), 0.8);
    const { distances, failed } = comparePictures(soft, await INVALID['half size cubic, sharpened 1']!(soft, 256, 'rocket.jpg'), PERCEPTUAL_THRESHOLDS); // prettier-ignore
    expect([distances!.fineDetail < PERCEPTUAL_THRESHOLDS.fineFloor, failed]).toEqual([true, ['laplacianCosine']]);
  });

  it.each([...Object.entries(VALID), ...Object.entries(INVALID)])(
    'decides the same whichever picture comes first (%s)',
    async (_, distort) => {
      const picture = await square('coffee.png', 64);
      const other = await distort(picture, 64, 'coffee.png');
      const [found, backwards] = [
        comparePictures(picture, other, PERCEPTUAL_THRESHOLDS),
        comparePictures(other, picture, PERCEPTUAL_THRESHOLDS),
      ];
      expect(backwards.failed).toEqual(found.failed);
      expect(backwards.distances!.laplacianRatio).toBeCloseTo(1 / found.distances!.laplacianRatio, 5);
    },
  );

  it('counts the ratio of energies both ways', () => {
    const equal = rows.find(({ distortion }) => distortion === 'the same')!.found.distances!;
    const failures = (laplacianRatio: number): number =>
      failedFigures({ ...equal, laplacianRatio }, PERCEPTUAL_THRESHOLDS).length;
    expect([0.624, 0.626, 1, 1.599, 1.601].map(failures)).toEqual([1, 0, 0, 0, 1]);
  });

  it('cannot lay pictures of different sizes over each other', async () => {
    const [large, small] = [await square('coffee.png', 64), await square('coffee.png', 48)];
    expect(comparePictures(large, small, PERCEPTUAL_THRESHOLDS)).toEqual({
      agrees: false,
      distances: undefined,
      failed: ['size'],
    });
  });

  /** No hash, ratio or cosine may convict two honest renderings of a plain background: what they see of it is noise. */
  it.each(['a plain gradient', ...PHOTOGRAPHS])('takes no noise for detail in soft pictures (%s)', async (name) => {
    const photograph = PHOTOGRAPHS.find((known) => known === name);
    for (const sigma of photograph ? [0.6, 1, 1.5, 2, 6] : [0.3]) {
      const soft = await blurred(photograph ? await square(photograph, 256) : gradient(256), sigma);
      for (const other of [noise(soft, chance(3)), await jpeg(soft, 95), await jpeg(soft, 80)]) {
        const { failed } = comparePictures(noise(soft, chance(4)), other, PERCEPTUAL_THRESHOLDS);
        expect([sigma, ...failed]).toEqual([sigma]);
      }
    }
  });

  it('gives finite figures for flat pictures, and takes two of one colour for the same', async () => {
    const picture = await square('coffee.png', 64);
    const [grey, black] = [flat(128)(picture), flat(0)(picture)];
    for (const [a, b] of [
      [grey, grey],
      [grey, picture],
      [picture, grey],
      [grey, black],
    ] as const) {
      const { distances } = comparePictures(a, b, PERCEPTUAL_THRESHOLDS);
      expect(Object.values(distances!).filter((value) => !Number.isFinite(value))).toEqual([]);
    }
    expect(comparePictures(grey, grey, PERCEPTUAL_THRESHOLDS).agrees).toBe(true);
  });
});

function gradient(side: number): Picture {
  const rgb = Uint8Array.from({ length: side * side * 3 }, (_, i) => {
    const [x, y] = [Math.floor(i / 3) % side, Math.floor(i / 3 / side)];
    return [x, y, (x + y) / 4][i % 3]!;
  });
  return { rgb, width: side, height: side };
}
