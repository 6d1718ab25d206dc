/**
 * Whether two samples have one distribution. The statistic is that of Kolmogorov and Smirnov: the largest difference between
 * their shares of values up to x. Its p-value comes from permuting the labels, so that it holds for ties, for yes and no,
 * and for strata (labels are permuted, and values ranked, within each), at any sample size.
 */
import type { Chance } from '@studio/simulations/chance';

export interface Labelled {
  value: number;
  /** Which of the two samples it belongs to. */
  isMarked: boolean;
  /** Only values of one stratum are compared with each other. */
  stratum: string;
}

export interface Comparison {
  /** 0: as alike as can be; 1: no value of one sample is among those of the other. */
  distance: number;
  /** How often chance alone gives such a distance. */
  p: number;
}

/** Enough to know a p-value of a hundredth to a fifth of it. */
const MAX_PERMUTATIONS = 2_000;
/** Besag and Clifford 1991: when chance has reached the distance so often, the share so far is the p-value. */
const ENOUGH_REACHED = 20;

/** Where permutations would have to be too many, the limit for large samples takes over; ties only make it too large. */
export function compare(sample: readonly Labelled[], chance: Chance): Comparison {
  const walk = ascending(ranksWithinStrata(sample));
  const marks = Uint8Array.from(sample, ({ isMarked }) => Number(isMarked));
  const distance = distanceAlong(walk, marks);
  const groups = [...indicesBy(sample.map(({ stratum }) => stratum)).values()];
  const toss = tosses(chance.whole(1, 2 ** 31 - 1));
  let reached = 0;
  for (let tried = 1; tried <= MAX_PERMUTATIONS; tried += 1) {
    for (const group of groups) shuffle(marks, group, toss);
    // Sums of the same terms in another order differ in the last bits.
    if (distanceAlong(walk, marks) >= distance - 1e-12) reached += 1;
    if (reached === ENOUGH_REACHED) return { distance, p: reached / tried };
  }
  const marked = sample.filter(({ isMarked }) => isMarked).length;
  const limit = ksLimit(distance, [marked, sample.length - marked]);
  return { distance, p: Math.min(limit, (reached + 1) / (MAX_PERMUTATIONS + 1)) };
}

/** D of two whole samples, without strata. */
export function ksDistance(one: readonly number[], other: readonly number[]): number {
  const values = [...one, ...other];
  return distanceAlong(
    ascending(values),
    Uint8Array.from(values, (_, index) => Number(index < one.length)),
  );
}

/** The p-value of D where values do not repeat and samples are large (Kolmogorov's series with Stephens' correction). */
export function ksLimit(distance: number, sizes: readonly [number, number]): number {
  const [one, other] = sizes;
  const root = Math.sqrt((one * other) / (one + other));
  const lambda = (root + 0.12 + 0.11 / root) * distance;
  // Below it the series converges slowly, and its value is 1 to nine digits.
  if (lambda < 0.27) return 1;
  let sum = 0;
  for (let j = 1; j <= 100; j += 1) sum += (j % 2 === 1 ? 2 : -2) * Math.exp(-2 * j * j * lambda * lambda);
  return Math.min(1, Math.max(0, sum));
}

/**
 * How many of `trials` tosses of a coin come out right with a probability of at most `alpha`: whoever has this many guesses
 * right does not toss a coin.
 */
export function beyondChance(trials: number, alpha: number): number {
  /** P(X = right); the tail is P(X ≥ right). */
  let term = 0.5 ** trials;
  let tail = term;
  let right = trials;
  while (tail <= alpha) {
    term *= right / (trials - right + 1);
    tail += term;
    right -= 1;
  }
  return right + 1;
}

/** Shares of their stratum that are below, ties in the middle: of strata with different values one distribution. */
function ranksWithinStrata(sample: readonly Labelled[]): Float64Array {
  const ranks = new Float64Array(sample.length);
  for (const group of indicesBy(sample.map(({ stratum }) => stratum)).values()) {
    const sorted = [...group].sort((a, b) => sample[a]!.value - sample[b]!.value);
    for (let from = 0, to = 0; from < sorted.length; from = to) {
      while (to < sorted.length && sample[sorted[to]!]!.value === sample[sorted[from]!]!.value) to += 1;
      for (const index of sorted.slice(from, to)) ranks[index] = (from + to) / (2 * sorted.length);
    }
  }
  return ranks;
}

interface Walk {
  /** Indices by ascending value. */
  order: Int32Array;
  /** Whether the value at this place of the order is the last of its ties. */
  isLast: Uint8Array;
}

function ascending(values: ArrayLike<number>): Walk {
  const order = Int32Array.from(values, (_, index) => index).sort((a, b) => values[a]! - values[b]!);
  const isLast = Uint8Array.from(order, (index, at) =>
    Number(at + 1 === order.length || values[order[at + 1]!] !== values[index]),
  );
  return { order, isLast };
}

function distanceAlong({ order, isLast }: Walk, marks: Uint8Array): number {
  let marked = 0;
  for (const mark of marks) marked += mark;
  const [up, down] = [1 / marked, 1 / (marks.length - marked)];
  let difference = 0;
  let most = 0;
  for (let at = 0; at < order.length; at += 1) {
    difference += marks[order[at]!] === 1 ? up : -down;
    const size = difference < 0 ? -difference : difference;
    if (size > most && isLast[at] === 1) most = size;
  }
  return most;
}

/** Fisher and Yates. */
function shuffle(marks: Uint8Array, group: readonly number[], toss: () => number): void {
  for (let at = group.length - 1; at > 0; at -= 1) {
    const one = group[at]!;
    const other = group[toss() % (at + 1)]!;
    const mark = marks[one]!;
    marks[one] = marks[other]!;
    marks[other] = mark;
  }
}

/**
 * Whole numbers of 32 bits (Marsaglia's xorshift): a run needs tens of millions of them, and inside Jest every use of a global
 * name such as Math costs a tenth of a microsecond.
 */
function tosses(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

function indicesBy(keys: readonly string[]): Map<string, number[]> {
  const groups = new Map<string, number[]>();
  for (const [index, key] of keys.entries()) {
    const group = groups.get(key);
    if (group) group.push(index);
    else groups.set(key, [index]);
  }
  return groups;
}
