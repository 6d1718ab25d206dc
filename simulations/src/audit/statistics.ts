/** What samples say, and how surely. */
import { wilsonLower } from '@studio/shared/domain/audit-sampling';

export interface Estimate {
  mean: number;
  /** Standard error of the mean. */
  error: number;
}

/** Of independent values. */
export function estimate(values: readonly number[]): Estimate {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, error: values.length < 2 ? 0 : Math.sqrt(squares / (values.length - 1) / values.length) };
}

/** The least value that at least this share of the sample does not exceed. Sorted ascending. */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? NaN;
}

export interface Share {
  share: number;
  /** 95 % interval of Wilson. */
  least: number;
  most: number;
}

/** Two-sided 95 %. */
const Z = 1.96;

export function shareOf(hits: number, total: number): Share {
  return { share: hits / total, least: wilsonLower(hits, total, Z), most: 1 - wilsonLower(total - hits, total, Z) };
}
