/** β₁ and β₂. 0.99 instead of the usual 0.999: a few hundred full-batch steps are too few for the longer memory (28.0 against 28.9 dB). */
const MOMENTUM = 0.9;
const VARIANCE_MEMORY = 0.99;
/** Keeps a parameter that has never had a gradient where it is. */
const EPSILON = 1e-8;

/** Adam (Kingma & Ba 2015) over one flat vector. β¹, β², … are kept as running products: no power function. */
export class Adam {
  private readonly mean: Float64Array;
  private readonly variance: Float64Array;
  private momentumPower = 1;
  private memoryPower = 1;

  constructor(size: number) {
    this.mean = new Float64Array(size);
    this.variance = new Float64Array(size);
  }

  /** Moves `parameters` against `gradient`, in place. */
  step(parameters: Float64Array, gradient: Float64Array, learningRate: number): void {
    const { mean, variance } = this;
    this.momentumPower *= MOMENTUM;
    this.memoryPower *= VARIANCE_MEMORY;
    const rate = learningRate / (1 - this.momentumPower);
    const unbias = 1 / (1 - this.memoryPower);
    for (let i = 0; i < parameters.length; i++) {
      const g = gradient[i]!;
      const m = MOMENTUM * mean[i]! + (1 - MOMENTUM) * g;
      const v = VARIANCE_MEMORY * variance[i]! + (1 - VARIANCE_MEMORY) * g * g;
      mean[i] = m;
      variance[i] = v;
      parameters[i]! -= (rate * m) / (Math.sqrt(v * unbias) + EPSILON);
    }
  }
}
