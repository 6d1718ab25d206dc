import { type BranchName, type LayerName, HIDDEN, branchWidth, tensorLayout } from './adapter';
import { type BaseBranch, baseBranch } from './base-model';
import { type Matrix, matrix, multiply, multiplyAdd, transposed } from './matrix';

/** Views of one layer's LoRA, or of its gradient: `a` r×in, `b` out×r, `bias` out. */
export interface LoraTensors {
  readonly a: Matrix;
  readonly b: Matrix;
  readonly bias: Float64Array;
}

export type BranchTensors = Readonly<Record<LayerName, LoraTensors>>;

/** Views of one branch inside a flat vector laid out by `tensorLayout(rank)`; writing to a view writes the vector. */
export function branchTensors(flat: Float64Array, rank: number, branch: BranchName): BranchTensors {
  const slots = new Map(tensorLayout(rank).map((slot) => [slot.name, slot]));
  const view = (name: string): { data: Float64Array; shape: readonly number[] } => {
    const slot = slots.get(name);
    if (!slot) throw new RangeError(`no tensor ${name}`);
    return { data: flat.subarray(slot.offset, slot.offset + slot.length), shape: slot.shape };
  };
  const asMatrix = (name: string): Matrix => {
    const { data, shape } = view(name);
    return matrix(shape[0]!, shape[1]!, data);
  };
  const layer = (name: LayerName): LoraTensors => ({
    a: asMatrix(`${branch}.${name}.lora_A.weight`),
    b: asMatrix(`${branch}.${name}.lora_B.weight`),
    bias: view(`${branch}.${name}.bias`).data,
  });
  return { hidden: layer('hidden'), output: layer('output') };
}

/**
 * One branch over a fixed set of n coordinates: features F → H = ReLU(F·(W₁+B₁A₁)ᵀ + b₁) → H·(W₂+B₂A₂)ᵀ + b₂.
 * B·A is never formed: r is small, so going through the r-wide middle costs less. Buffers are made once; `forward` and
 * `backward` allocate nothing. Each `forward` overwrites the last one's result.
 */
export class Branch {
  private readonly base: BaseBranch;
  /** F·W₁ᵀ, the same at every step. */
  private readonly baseHidden: Matrix;
  private readonly hidden: Matrix;
  private readonly hiddenGradient: Matrix;
  private readonly output: Matrix;
  private readonly hiddenMiddle: Matrix;
  private readonly outputMiddle: Matrix;
  private readonly middleGradient: Matrix;

  constructor(
    branch: BranchName,
    private readonly features: Matrix,
    private readonly lora: BranchTensors,
  ) {
    const n = features.rows;
    const rank = lora.hidden.a.rows;
    this.base = baseBranch(branch);
    this.baseHidden = matrix(n, HIDDEN);
    multiply(this.baseHidden, features, transposed(this.base.hidden));
    this.hidden = matrix(n, HIDDEN);
    this.hiddenGradient = matrix(n, HIDDEN);
    this.output = matrix(n, branchWidth(branch));
    this.hiddenMiddle = matrix(n, rank);
    this.outputMiddle = matrix(n, rank);
    this.middleGradient = matrix(n, rank);
  }

  /** The branch's output, n × width, with the LoRA as it is now. */
  forward(): Matrix {
    const { hidden, output } = this.lora;
    this.hidden.data.set(this.baseHidden.data);
    addToRows(this.hidden, hidden.bias);
    multiply(this.hiddenMiddle, this.features, transposed(hidden.a));
    multiplyAdd(this.hidden, this.hiddenMiddle, transposed(hidden.b));
    rectify(this.hidden.data);
    this.output.data.fill(0);
    addToRows(this.output, output.bias);
    multiplyAdd(this.output, this.hidden, transposed(this.base.output));
    multiply(this.outputMiddle, this.hidden, transposed(output.a));
    multiplyAdd(this.output, this.outputMiddle, transposed(output.b));
    return this.output;
  }

  /** Overwrites `gradient` with the derivatives of the loss, given those of the last `forward`'s output (n × width). */
  backward(outputGradient: Matrix, gradient: BranchTensors): void {
    const { hidden, output } = this.lora;
    const upstream = this.hiddenGradient;
    sumRows(gradient.output.bias, outputGradient);
    multiply(gradient.output.b, transposed(outputGradient), this.outputMiddle);
    multiply(this.middleGradient, outputGradient, output.b);
    multiply(gradient.output.a, transposed(this.middleGradient), this.hidden);
    multiply(upstream, outputGradient, this.base.output);
    multiplyAdd(upstream, this.middleGradient, output.a);
    silenceInactive(upstream.data, this.hidden.data);
    sumRows(gradient.hidden.bias, upstream);
    multiply(gradient.hidden.b, transposed(upstream), this.hiddenMiddle);
    multiply(this.middleGradient, upstream, hidden.b);
    multiply(gradient.hidden.a, transposed(this.middleGradient), this.features);
  }
}

function addToRows(m: Matrix, row: Float64Array): void {
  for (let at = 0; at < m.data.length; at += m.cols) {
    for (let j = 0; j < m.cols; j++) m.data[at + j]! += row[j]!;
  }
}

function sumRows(sums: Float64Array, m: Matrix): void {
  sums.fill(0);
  for (let at = 0; at < m.data.length; at += m.cols) {
    for (let j = 0; j < m.cols; j++) sums[j]! += m.data[at + j]!;
  }
}

function rectify(values: Float64Array): void {
  for (let i = 0; i < values.length; i++) if (!(values[i]! > 0)) values[i] = 0;
}

/** The derivative of ReLU: no gradient where the unit is off. */
function silenceInactive(gradient: Float64Array, activation: Float64Array): void {
  for (let i = 0; i < gradient.length; i++) if (activation[i] === 0) gradient[i] = 0;
}
