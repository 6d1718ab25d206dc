/**
 * Scores → weights for the chain. The validator and the registry run this same code on the same snapshot; a third
 * party runs it on the export. All three must get the same bytes, hence the fixed order and the portable arithmetic.
 */
import { shares } from './temperature';
import { winRates } from './win-rate';

/** The chain takes 16-bit weights, scaled so that the largest is the maximum. */
export const U16_MAX = 65_535;

/** `NO_SCORES`: there is nothing to set, and the validator leaves the chain alone instead of sending zeros. */
export type WeightsOutcome = 'OK' | 'NO_SCORES';

export interface ChainWeight {
  /** Index into the shares that went in. */
  index: number;
  /** 1 … 65535 */
  u16: number;
}

export interface ChainWeights {
  outcome: WeightsOutcome;
  weights: ChainWeight[];
}

export interface MinerWeight {
  hotkey: string;
  points: bigint;
  winRate: number;
  /** Share of the whole, in [0, 1]; all shares sum to 1. */
  weight: number;
  /** What goes to the chain; 0 is not sent. */
  u16: number;
}

export interface MinerWeights {
  outcome: WeightsOutcome;
  /** In hotkey order (UTF-16 code units, no locale). */
  miners: MinerWeight[];
}

/**
 * The u16 vector as the chain's SDK makes it (bittensor 10.2.0, `convert_weights_and_uids_for_emit`): to float32, then
 * in float64 divided by the largest, times 65535, rounded half to even; zeros dropped.
 * @throws RangeError for a share that is negative or not finite.
 */
export function chainWeights(allShares: readonly number[]): ChainWeights {
  const singles = allShares.map((share) => {
    if (!(share >= 0 && share < Infinity)) throw new RangeError(`a share must be finite and ≥ 0, is ${share}`);
    return Math.fround(share);
  });
  const largest = singles.reduce((a, b) => (b > a ? b : a), 0);
  if (largest === 0) return { outcome: 'NO_SCORES', weights: [] };
  const weights: ChainWeight[] = [];
  // A loop, and no object for what is dropped: of a hundred thousand miners nearly all are.
  for (let index = 0; index < singles.length; index++) {
    const u16 = roundHalfEven(((singles[index] ?? 0) / largest) * U16_MAX);
    if (u16 > 0) weights.push({ index, u16 });
  }
  return { outcome: 'OK', weights };
}

/**
 * The whole way from points to weights.
 * @param scores points by hotkey, of the scored miners only (score-window.ts).
 * @throws RangeError as `winRates` and `shares`.
 */
export function weightsFor(scores: ReadonlyMap<string, bigint>, policy: { temperature: number }): MinerWeights {
  // Without a comparator, sort compares UTF-16 code units, natively.
  const hotkeys = [...scores.keys()].sort();
  const points = hotkeys.map((hotkey) => scores.get(hotkey) ?? 0n);
  const rates = winRates(points);
  const parts = shares(rates, policy.temperature);
  const { outcome, weights } = chainWeights(parts);
  const u16s = new Uint16Array(hotkeys.length);
  for (const { index, u16 } of weights) u16s[index] = u16;
  const miners = hotkeys.map((hotkey, i) => ({
    hotkey,
    points: points[i] ?? 0n,
    winRate: rates[i] ?? 0,
    weight: parts[i] ?? 0,
    u16: u16s[i] ?? 0,
  }));
  return { outcome, miners };
}

/** Python's `round`: Math.round would take every half up. */
function roundHalfEven(x: number): number {
  const below = Math.floor(x);
  const rest = x - below;
  if (rest !== 0.5) return rest > 0.5 ? below + 1 : below;
  return below % 2 === 0 ? below : below + 1;
}
