/** What two pictures of equal size have in common, pixel by pixel. Plain arithmetic in a fixed order: the same everywhere. */

/** A decoded picture: `rgb` holds width · height · 3 bytes, row by row. */
export interface Picture {
  readonly rgb: Uint8Array;
  readonly width: number;
  readonly height: number;
}

/** Brightness of each pixel, in thousandths of a grey level: whole numbers, which a float32 holds exactly. */
export interface Luma {
  readonly values: Float32Array;
  readonly width: number;
  readonly height: number;
}

export const LUMA_PARTS = 1000;

/** ITU-R BT.601. */
export function lumaOf({ rgb, width, height }: Picture): Luma {
  const values = new Float32Array(width * height);
  for (let i = 0, at = 0; i < values.length; i++, at += 3) {
    values[i] = 299 * rgb[at]! + 587 * rgb[at + 1]! + 114 * rgb[at + 2]!;
  }
  return { values, width, height };
}

/** Mean squared difference of all bytes, full scale = 1. */
export function meanSquaredError(a: Picture, b: Picture): number {
  let sum = 0;
  for (let i = 0; i < a.rgb.length; i++) sum += (a.rgb[i]! - b.rgb[i]!) * (a.rgb[i]! - b.rgb[i]!);
  return sum / (a.rgb.length * 255 * 255);
}

/** Variance of the bytes about their channel's mean, full scale = 1: the error of a flat picture in the mean colour. */
export function variance({ rgb }: Picture): number {
  let total = 0;
  const pixels = rgb.length / 3;
  for (let channel = 0; channel < 3; channel++) {
    let sum = 0;
    let squares = 0;
    for (let i = channel; i < rgb.length; i += 3) {
      sum += rgb[i]!;
      squares += rgb[i]! * rgb[i]!;
    }
    total += squares / pixels - (sum / pixels) ** 2;
  }
  return total / (3 * 255 * 255);
}

/** Where it ends: 2,048² pixels of which a single byte is one off have 119 dB. */
const EQUAL_DB = 120;

/** Peak signal-to-noise ratio in dB; 120 for equal pictures, since evidence is JSON, which has no infinity. */
export function psnr(a: Picture, b: Picture): number {
  const error = meanSquaredError(a, b);
  return error === 0 ? EQUAL_DB : Math.min(EQUAL_DB, -10 * Math.log10(error));
}

/**
 * The largest difference of a colour channel's mean in any of `grid` × `grid` equal parts, 0 … 255. Compression and noise
 * vanish in the mean, a stamp or another colour does not.
 */
export function colourDifference(a: Picture, b: Picture, grid: number): number {
  const { width, height } = a;
  const sums = new Float64Array(grid * grid * 3);
  const pixels = new Float64Array(grid * grid);
  const columns = partsOf(width, grid);
  const rows = partsOf(height, grid);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at += 3) {
      const part = rows[y]! * grid + columns[x]!;
      pixels[part]! += 1;
      for (let channel = 0; channel < 3; channel++) {
        sums[part * 3 + channel]! += a.rgb[at + channel]! - b.rgb[at + channel]!;
      }
    }
  }
  return sums.reduce((most, sum, i) => Math.max(most, Math.abs(sum) / pixels[Math.floor(i / 3)]!), 0);
}

/** In which of `grid` equal parts each place of a side lies. */
function partsOf(side: number, grid: number): Uint8Array {
  return Uint8Array.from({ length: side }, (_, at) => Math.floor((at * grid) / side));
}
