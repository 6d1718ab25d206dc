import { CHANNELS, COLOUR_BIAS, COMPONENTS, parameterCount, tensorLayout } from './adapter';
import { BASE_COLOUR } from './base-model';
import { Branch, branchTensors } from './branch';
import { encodeCoordinates, pixelCentres } from './features';
import type { RgbImage } from './image';
import { type Matrix, matrix, multiply, transposed } from './matrix';

/**
 * The loss of an adapter on one image, and its gradient.
 * Inside, the image is a width × (3 · height) matrix, column y·3+c: the x branch's output (width × K) times the y branch's
 * output read as (3 · height) × K, transposed. One product makes all three channels, one each the two gradients.
 */
export class ImageFit {
  /** Set before `evaluate`; laid out by `tensorLayout(rank)`. */
  readonly parameters: Float64Array;
  /** Derivatives of the mean squared error, filled by `evaluate`. */
  readonly gradient: Float64Array;
  private readonly x: FittedBranch;
  private readonly y: FittedBranch;
  private readonly target: Float64Array;
  private readonly residual: Matrix;
  private readonly colour: Float64Array;
  private readonly colourGradient: Float64Array;

  constructor({ rgb, width, height }: RgbImage, rank: number) {
    this.parameters = new Float64Array(parameterCount(rank));
    this.gradient = new Float64Array(this.parameters.length);
    this.x = new FittedBranch('x', width, rank, this.parameters, this.gradient);
    this.y = new FittedBranch('y', height, rank, this.parameters, this.gradient);
    this.target = columnsFirst(rgb, width, height);
    this.residual = matrix(width, CHANNELS * height);
    const { offset } = tensorLayout(rank).find((slot) => slot.name === COLOUR_BIAS)!;
    this.colour = this.parameters.subarray(offset, offset + CHANNELS);
    this.colourGradient = this.gradient.subarray(offset, offset + CHANNELS);
  }

  /** Mean squared error of the picture at `parameters` (full scale = 1); leaves its derivatives in `gradient`. */
  evaluate(): number {
    const u = this.x.forward();
    const v = this.y.forward();
    multiply(this.residual, u, transposed(v));
    const loss = this.subtractTarget();
    multiply(this.x.outputGradient, this.residual, v);
    multiply(this.y.outputGradient, transposed(this.residual), u);
    this.x.backward();
    this.y.backward();
    return loss;
  }

  /** Turns the picture into the derivative of the loss with respect to it, in place. */
  private subtractTarget(): number {
    const { target, colour, colourGradient } = this;
    const pixels = this.residual.data;
    const slope = 2 / pixels.length;
    let squares = 0;
    colourGradient.fill(0);
    for (let i = 0; i < pixels.length; i += CHANNELS) {
      for (let c = 0; c < CHANNELS; c++) {
        const error = pixels[i + c]! + BASE_COLOUR + colour[c]! - target[i + c]!;
        squares += error * error;
        pixels[i + c] = slope * error;
        colourGradient[c]! += slope * error;
      }
    }
    return squares / pixels.length;
  }
}

/** A branch with its gradients, its output read as rows of K. */
class FittedBranch {
  readonly outputGradient: Matrix;
  private readonly branch: Branch;
  private readonly gradients;
  private readonly wideGradient: Matrix;

  constructor(name: 'x' | 'y', size: number, rank: number, parameters: Float64Array, gradient: Float64Array) {
    this.branch = new Branch(name, encodeCoordinates(pixelCentres(size)), branchTensors(parameters, rank, name));
    this.gradients = branchTensors(gradient, rank, name);
    const width = this.gradients.output.bias.length;
    this.wideGradient = matrix(size, width);
    this.outputGradient = asComponents(this.wideGradient);
  }

  forward(): Matrix {
    return asComponents(this.branch.forward());
  }

  backward(): void {
    this.branch.backward(this.wideGradient, this.gradients);
  }
}

/** The same numbers, K to a row. */
export function asComponents(m: Matrix): Matrix {
  return matrix(m.data.length / COMPONENTS, COMPONENTS, m.data);
}

function columnsFirst(rgb: Uint8Array, width: number, height: number): Float64Array {
  const target = new Float64Array(rgb.length);
  let at = 0;
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) {
      for (let c = 0; c < CHANNELS; c++) target[at++] = rgb[(y * width + x) * CHANNELS + c]! / 255;
    }
  }
  return target;
}
