/**
 * SSIM as in Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural similarity"
 * (2004): on the luma, in windows of 11×11 weighted by a Gaussian of σ = 1.5, only where a window lies wholly inside.
 */
import { LUMA_PARTS, type Luma } from './pixels';

/** e^(−i²/4.5) for i = −5 … 5, of sum 1. Literals: Math.exp differs between machines in the last bit. */
const HALF_WINDOW = [
  0.26601172486179, 0.21300553771125, 0.1093606895097, 0.03600077212843, 0.00759875813524, 0.00102838008448,
];
const WINDOW = Float64Array.from([...HALF_WINDOW.slice(1).reverse(), ...HALF_WINDOW]);
export const WINDOW_SIDE = WINDOW.length;

/** K₁ = 0.01 and K₂ = 0.03 of the paper; the luma is in thousandths. */
const C1 = (0.01 * 255 * LUMA_PARTS) ** 2;
const C2 = (0.03 * 255 * LUMA_PARTS) ** 2;

export interface StructuralSimilarity {
  /** Of all windows. */
  mean: number;
  /** Of the worst part: parts are 1/16 of the picture wide and high, and overlap by half. */
  worstPart: number;
}

/** Half a part's side: four of these cells are a part. */
const CELLS = 32;

/** A picture's rows of means in a ring: only the eleven that a window covers are kept, so that memory does not grow. */
type Ring = Float64Array[];

/** Both of the same size, at least 11×11. */
export function structuralSimilarity(a: Luma, b: Luma): StructuralSimilarity {
  const columns = a.width - WINDOW_SIDE + 1;
  const rows = a.height - WINDOW_SIDE + 1;
  const rings: Ring[] = Array.from({ length: 4 }, () =>
    Array.from({ length: WINDOW_SIDE }, () => new Float64Array(columns)),
  );
  const cells = new Cells(columns, rows);
  const windows = Array.from({ length: 4 }, () => new Float64Array(columns)) as Fields;
  for (let y = 0; y < a.height; y++) {
    weighRow(a, b, y, rings);
    const top = y - WINDOW_SIDE + 1;
    if (top < 0) continue;
    rings.forEach((ring, field) => weighColumns(ring, top, windows[field]!));
    cells.add(top, windows);
  }
  return cells.similarity();
}

/** Weighted means over windows of a, b, a² + b² and a·b: the two variances are only needed as a sum. */
type Fields = [Float64Array, Float64Array, Float64Array, Float64Array];

/** The four fields of one row, weighted along it, into the ring. */
function weighRow(a: Luma, b: Luma, y: number, rings: readonly Ring[]): void {
  const [meanA, meanB, squares, products] = rings.map((ring) => ring[y % WINDOW_SIDE]!) as Fields;
  for (let x = 0, start = y * a.width; x < meanA.length; x++, start++) {
    let sumA = 0;
    let sumB = 0;
    let sumSquares = 0;
    let sumProducts = 0;
    for (let i = 0; i < WINDOW_SIDE; i++) {
      const weight = WINDOW[i]!;
      const p = a.values[start + i]!;
      const q = b.values[start + i]!;
      sumA += weight * p;
      sumB += weight * q;
      sumSquares += weight * (p * p + q * q);
      sumProducts += weight * p * q;
    }
    meanA[x] = sumA;
    meanB[x] = sumB;
    squares[x] = sumSquares;
    products[x] = sumProducts;
  }
}

function weighColumns(ring: Ring, top: number, sums: Float64Array): void {
  sums.fill(0);
  for (let i = 0; i < WINDOW_SIDE; i++) {
    const row = ring[(top + i) % WINDOW_SIDE]!;
    const weight = WINDOW[i]!;
    for (let x = 0; x < sums.length; x++) sums[x]! += weight * row[x]!;
  }
}

/** Gathers the similarity of each window by the place that it has in the picture. */
class Cells {
  private readonly sums = new Float64Array(CELLS * CELLS);
  private readonly counts = new Float64Array(CELLS * CELLS);

  private readonly columnOf: Uint8Array;

  constructor(
    columns: number,
    private readonly rows: number,
  ) {
    this.columnOf = Uint8Array.from({ length: columns }, (_, x) => Math.floor((x * CELLS) / columns));
  }

  add(top: number, [meanA, meanB, squares, products]: Fields): void {
    const row = Math.floor((top * CELLS) / this.rows) * CELLS;
    for (let x = 0; x < meanA.length; x++) {
      const p = meanA[x]!;
      const q = meanB[x]!;
      const variances = squares[x]! - p * p - q * q;
      const covariance = products[x]! - p * q;
      const cell = row + this.columnOf[x]!;
      this.sums[cell]! += ((2 * p * q + C1) * (2 * covariance + C2)) / ((p * p + q * q + C1) * (variances + C2));
      this.counts[cell]! += 1;
    }
  }

  similarity(): StructuralSimilarity {
    let worstPart = 1;
    for (let y = 0; y + 1 < CELLS; y++) {
      for (let x = 0; x + 1 < CELLS; x++) {
        const part = [0, 1, CELLS, CELLS + 1].map((step) => y * CELLS + x + step);
        const windows = total(part, this.counts);
        // A small picture has fewer windows than there are cells.
        if (windows > 0) worstPart = Math.min(worstPart, total(part, this.sums) / windows);
      }
    }
    const every = [...this.sums.keys()];
    return { mean: total(every, this.sums) / total(every, this.counts), worstPart };
  }
}

function total(cells: readonly number[], values: Float64Array): number {
  return cells.reduce((sum, cell) => sum + values[cell]!, 0);
}
