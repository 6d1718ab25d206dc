import { type Adapter, MODULES, type ModuleName } from './adapter';
import { branchTensors } from './branch';
import { type Matrix, matrix, multiply, transposed } from './matrix';

/** ΔW = B·A of one module, left as its factors: `a` r×in, `b` out×r. */
export interface LowRankUpdate {
  readonly module: ModuleName;
  readonly a: Matrix;
  readonly b: Matrix;
}

/** What the adapter adds to the weights, per module. Rescaling A → 3A, B → B/3 changes the factors and not this. */
export function deltaW(adapter: Adapter): LowRankUpdate[] {
  const flat = Float64Array.from(adapter.parameters);
  const x = branchTensors(flat, adapter.rank, 'x');
  const y = branchTensors(flat, adapter.rank, 'y');
  const layers = { 'x.hidden': x.hidden, 'x.output': x.output, 'y.hidden': y.hidden, 'y.output': y.output };
  return MODULES.map(({ name }) => ({ module: name, a: layers[name].a, b: layers[name].b }));
}

/**
 * Cosine of the angle between two adapters' ΔW, all modules as one vector: 1 for copies however rescaled.
 * 0 when one of them is zero (untrained). The ranks may differ.
 */
export function cosine(one: Adapter, other: Adapter): number {
  const [p, q] = [deltaW(one), deltaW(other)];
  const lengths = Math.sqrt(innerProduct(p, p)) * Math.sqrt(innerProduct(q, q));
  return lengths === 0 ? 0 : innerProduct(p, q) / lengths;
}

/** Σ over modules of ⟨ΔW₁, ΔW₂⟩ = tr((A₂A₁ᵀ)(B₁ᵀB₂)): r×r products instead of out×in matrices. */
function innerProduct(p: readonly LowRankUpdate[], q: readonly LowRankUpdate[]): number {
  let sum = 0;
  p.forEach(({ a: a1, b: b1 }, module) => {
    const { a: a2, b: b2 } = q[module]!;
    const inputs = matrix(a2.rows, a1.rows);
    const outputs = matrix(b1.cols, b2.cols);
    multiply(inputs, a2, transposed(a1));
    multiply(outputs, transposed(b1), b2);
    for (let i = 0; i < inputs.rows; i++) {
      for (let j = 0; j < inputs.cols; j++)
        sum += inputs.data[i * inputs.cols + j]! * outputs.data[j * outputs.cols + i]!;
    }
  });
  return sum;
}
