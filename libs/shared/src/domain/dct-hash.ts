/**
 * A 256-bit fingerprint of what a picture shows: two files of one picture are a few bits apart, two pictures about half of
 * them. It is coarse by design (32×32): scaling and recompression vanish in it, and so does fine detail. The auditor
 * compares with it and looks for copies by it; exact integers all the way, so the same bits on every machine.
 */

/** Side of the averaged picture: twice the block's, as in every DCT hash; the upper half is detail and noise. */
const SIDE = 32;
const BLOCK = 16;
export const HASH_BITS = BLOCK * BLOCK;
const HEX_DIGITS = HASH_BITS / 4;

/** Below 16 pixels a side there is less to see than the hash has bits for. */
export const MIN_HASHED_SIDE = 16;

/** ITU-R BT.601 in thousandths. */
const RED = 299;
const GREEN = 587;
const BLUE = 114;
const LUMA_SCALE = 1000;

/** Cells are kept to sixteenths of a grey level. */
const LEVEL_PARTS = 16;

/**
 * Cosines as integers of 14 bits: the largest coefficient, 4,080 · (32 · 2¹⁴)², is 2⁵⁰, so that no sum is ever rounded.
 */
const COSINE_SCALE = 16_384;

/** A coefficient's integer for one grey level in one cell, by a power of two: dividing by it is exact. */
const COEFFICIENT_SCALE = LEVEL_PARTS * COSINE_SCALE * COSINE_SCALE;

/** cos(π / 64): the one number from which the table is made. */
const COS_STEP = 0.9987954562051723927;

/** A full turn in steps of π / 64. */
const TURN = 4 * SIDE;
const COSINES = cosineTable();

/** `FREQUENCIES[bit]` = [across, down]: the low block row by row, the DC's place taken by the next on the diagonal. */
const FREQUENCIES = frequencies();

/** A hexadecimal digit's number of ones. */
const ONES = [0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4];

/**
 * The hash of `width · height` RGB pixels (three bytes each, row by row), as 64 hexadecimal digits.
 * @throws RangeError when a side is below 16 or the bytes are not as many as the pixels need.
 */
export function dctHash(rgb: Uint8Array, width: number, height: number): string {
  const coefficients = dctCoefficients(rgb, width, height);
  let hex = '';
  for (let bit = 0; bit < HASH_BITS; bit += 4) {
    let digit = 0;
    for (let i = bit; i < bit + 4; i++) digit = digit * 2 + (coefficients[i]! > 0 ? 1 : 0);
    hex += digit.toString(16);
  }
  return hex;
}

/**
 * What the hash is made of, in the order of its bits, less their median: a bit is the sign. A grey level in one of the
 * 32×32 cells adds up to 1; averaged over the cells, noise of one grey level has 16.
 * @throws RangeError as `dctHash`.
 */
export function dctCoefficients(rgb: Uint8Array, width: number, height: number): Float64Array {
  assertPicture(rgb, width, height);
  const coefficients = lowFrequencies(averagedLuma(rgb, width, height));
  const sorted = Float64Array.from(coefficients).sort();
  const median = (sorted[HASH_BITS / 2 - 1]! + sorted[HASH_BITS / 2]!) / 2;
  return coefficients.map((coefficient) => (coefficient - median) / COEFFICIENT_SCALE);
}

/**
 * The number of bits in which two hashes differ, 0 … 256.
 * @throws RangeError when one of them is no hash.
 */
export function hashDistance(a: string, b: string): number {
  if (a.length !== HEX_DIGITS || b.length !== HEX_DIGITS) throw new RangeError(`a hash has ${HEX_DIGITS} digits`);
  let distance = 0;
  for (let i = 0; i < HEX_DIGITS; i++) {
    const ones = ONES[parseInt(a[i]!, 16) ^ parseInt(b[i]!, 16)];
    distance += ones ?? 0;
  }
  return distance;
}

/**
 * Means over SIDE × SIDE equal cells, in sixteenths of a grey level. A pixel that a border cuts counts in both cells by its
 * share; everything is measured in 1/32 of a pixel, so that shares are whole, and a small picture is spread the same way.
 */
function averagedLuma(rgb: Uint8Array, width: number, height: number): Float64Array {
  const across = cellShares(width);
  const down = cellShares(height);
  const sums = new Float64Array(SIDE * SIDE);
  const row = new Float64Array(SIDE);
  for (let y = 0, at = 0; y < height; y++) {
    row.fill(0);
    for (let x = 0; x < width; x++, at += 3) {
      const luma = RED * rgb[at]! + GREEN * rgb[at + 1]! + BLUE * rgb[at + 2]!;
      for (let cell = across.first[x]!, i = x * across.most; cell <= across.last[x]!; cell++, i++) {
        row[cell]! += luma * across.shares[i]!;
      }
    }
    for (let cell = down.first[y]!, i = y * down.most; cell <= down.last[y]!; cell++, i++) {
      for (let x = 0; x < SIDE; x++) sums[cell * SIDE + x]! += row[x]! * down.shares[i]!;
    }
  }
  const area = width * height * LUMA_SCALE;
  return sums.map((sum) => Math.round((sum * LEVEL_PARTS) / area));
}

interface CellShares {
  /** Cells that pixel `p` touches. */
  first: Uint8Array;
  last: Uint8Array;
  /** `shares[p · most + i]`: how many 1/32 of pixel `p` lie in cell `first[p] + i`. */
  shares: Uint8Array;
  most: number;
}

/** Cell c covers [c·size, (c+1)·size) and pixel p [32p, 32(p+1)), both in 1/32 of a pixel. */
function cellShares(size: number): CellShares {
  const most = Math.ceil(SIDE / size) + 1;
  const [first, last, shares] = [new Uint8Array(size), new Uint8Array(size), new Uint8Array(size * most)];
  for (let pixel = 0; pixel < size; pixel++) {
    const [start, end] = [pixel * SIDE, (pixel + 1) * SIDE];
    first[pixel] = Math.floor(start / size);
    last[pixel] = Math.floor((end - 1) / size);
    for (let cell = first[pixel]!; cell <= last[pixel]!; cell++) {
      shares[pixel * most + cell - first[pixel]!] = Math.min(end, (cell + 1) * size) - Math.max(start, cell * size);
    }
  }
  return { first, last, shares, most };
}

/** The DCT-II's coefficients at FREQUENCIES. */
function lowFrequencies(cells: Float64Array): Float64Array {
  const rows = new Float64Array(SIDE * (BLOCK + 1));
  for (let y = 0; y < SIDE; y++) {
    for (let u = 0; u <= BLOCK; u++) {
      let sum = 0;
      for (let x = 0; x < SIDE; x++) sum += cells[y * SIDE + x]! * cosine(x, u);
      rows[y * (BLOCK + 1) + u] = sum;
    }
  }
  return Float64Array.from(FREQUENCIES, ([u, v]) => {
    let sum = 0;
    for (let y = 0; y < SIDE; y++) sum += rows[y * (BLOCK + 1) + u]! * cosine(y, v);
    return sum;
  });
}

/** cos((2x + 1) · u · π / 64), scaled. */
function cosine(x: number, u: number): number {
  return COSINES[((2 * x + 1) * u) % TURN]!;
}

/**
 * Chebyshev's recurrence, cos(nθ) = 2·cos θ·cos((n−1)θ) − cos((n−2)θ), for a quarter turn; the rest is its mirror image, so
 * that the coefficients of a flat picture cancel to exactly 0.
 */
function cosineTable(): Int32Array {
  const quarter = [1, COS_STEP];
  for (let n = 2; n <= SIDE; n++) quarter.push(2 * COS_STEP * quarter[n - 1]! - quarter[n - 2]!);
  const table = new Int32Array(TURN);
  for (let n = 0; n < SIDE; n++) {
    const value = Math.round(quarter[n]! * COSINE_SCALE);
    table[n] = value;
    table[2 * SIDE - n] = -value;
    table[2 * SIDE + n] = -value;
    table[(TURN - n) % TURN] = value;
  }
  return table;
}

/**
 * The DC is the picture's brightness: always far above the median, a bit that would say nothing. With 256 others half of
 * the bits are ones, and two unrelated pictures are 128 apart.
 */
function frequencies(): [number, number][] {
  const block: [number, number][] = [];
  for (let v = 0; v < BLOCK; v++) {
    for (let u = 0; u < BLOCK; u++) block.push(u === 0 && v === 0 ? [BLOCK, BLOCK] : [u, v]);
  }
  return block;
}

function assertPicture(rgb: Uint8Array, width: number, height: number): void {
  for (const side of [width, height]) {
    if (!Number.isInteger(side) || side < MIN_HASHED_SIDE) {
      throw new RangeError(
        `a picture of ${width}×${height} has too few pixels to be hashed: ${MIN_HASHED_SIDE} a side`,
      );
    }
  }
  if (rgb.length !== width * height * 3) {
    throw new RangeError(`${rgb.length} bytes are not ${width}×${height} RGB pixels`);
  }
}
