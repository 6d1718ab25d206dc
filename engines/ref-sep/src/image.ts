/** An image as decoded: `rgb` holds width · height · 3 bytes, row by row from the top left. */
export interface RgbImage {
  readonly rgb: Uint8Array;
  readonly width: number;
  readonly height: number;
}

/** Mean squared difference of two equally long byte images, in units of full scale (0 … 1). */
export function meanSquaredError(a: Uint8Array, b: Uint8Array): number {
  if (a.length !== b.length) throw new RangeError(`images differ in size: ${a.length} and ${b.length} bytes`);
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i]! - b[i]!) * (a[i]! - b[i]!);
  return sum / (a.length * 255 * 255);
}

/**
 * Peak signal-to-noise ratio in dB; Infinity for equal images. The caller passes `Math.log10`: this figure is for
 * people, and the engine itself stays free of functions that differ between machines.
 */
export function psnr(a: Uint8Array, b: Uint8Array, log10: (x: number) => number): number {
  return -10 * log10(meanSquaredError(a, b));
}
