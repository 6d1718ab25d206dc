/**
 * A miner that learns to tell audits: once an epoch is closed the draws are public, and with them which jobs were replays.
 * Boosted stumps (AdaBoost): each asks whether one fact is above a threshold, each next one looks at what was mistaken so far.
 * It needs no scaling, takes any monotone dependence, and adds up many weak hints.
 */

export interface Case {
  facts: readonly number[];
  isMarked: boolean;
}

interface Stump {
  fact: number;
  threshold: number;
  /** Says `marked` above the threshold, or below. */
  above: boolean;
  error: number;
}

export type Guess = (facts: readonly number[]) => boolean;

/** Tried on synthetic requests with 60 facts, 12 find most of what can be found; more of them learn the sample by heart. */
const STUMPS = 12;

/** Both classes count the same however many there are of each, so that guessing the larger one gains nothing. */
export function learn(cases: readonly Case[]): Guess {
  const count = (isMarked: boolean): number => cases.filter((item) => item.isMarked === isMarked).length;
  const share = [0.5 / count(false), 0.5 / count(true)] as const;
  let weights = cases.map(({ isMarked }) => share[Number(isMarked) as 0 | 1]);
  const orders = ordersOf(cases);
  const voices: { stump: Stump; weight: number }[] = [];
  for (let round = 0; round < STUMPS; round += 1) {
    const stump = bestStump(cases, weights, orders);
    const error = Math.max(stump.error, 1e-9);
    if (error >= 0.5 - 1e-9) break;
    const weight = Math.log((1 - error) / error) / 2;
    voices.push({ stump, weight });
    weights = weights.map((old, at) => {
      const isRight = says(stump, cases[at]!.facts) === cases[at]!.isMarked;
      return old * Math.exp(isRight ? -weight : weight);
    });
    const sum = weights.reduce((total, weighed) => total + weighed, 0);
    weights = weights.map((weighed) => weighed / sum);
  }
  return (facts) => voices.reduce((sum, { stump, weight }) => sum + (says(stump, facts) ? weight : -weight), 0) > 0;
}

function says({ fact, threshold, above }: Stump, facts: readonly number[]): boolean {
  return facts[fact]! > threshold === above;
}

/** Per fact, the cases by ascending value. */
function ordersOf(cases: readonly Case[]): number[][] {
  const facts = cases[0]?.facts.length ?? 0;
  return Array.from({ length: facts }, (_, fact) =>
    cases.map((_, index) => index).sort((a, b) => cases[a]!.facts[fact]! - cases[b]!.facts[fact]!),
  );
}

function bestStump(cases: readonly Case[], weights: readonly number[], orders: readonly number[][]): Stump {
  let best: Stump = { fact: 0, threshold: 0, above: true, error: 1 };
  for (const [fact, order] of orders.entries()) {
    // Of "marked above": what is marked and lies below, and what is not and lies above.
    let error = cases.reduce((sum, { isMarked }, at) => sum + (isMarked ? 0 : weights[at]!), 0);
    for (let at = 0; at + 1 < order.length; at += 1) {
      const [index, next] = [order[at]!, order[at + 1]!];
      error += cases[index]!.isMarked ? weights[index]! : -weights[index]!;
      const [value, following] = [cases[index]!.facts[fact]!, cases[next]!.facts[fact]!];
      if (value === following) continue;
      const lesser = Math.min(error, 1 - error);
      if (lesser >= best.error) continue;
      best = { fact, threshold: (value + following) / 2, above: error < 0.5, error: lesser };
    }
  }
  return best;
}
