/** Why three times the expected number of hidden failures falls: what a clairvoyant cheater earns with less. */
import { clairvoyant } from './careful';
import { profitOf, type Profit } from './earnings';
import { PRODUCTION_FACTOR, type ReversalFactor } from './reversal-factor';
import { course } from './rules';
import type { Setting } from './setting';

export interface SweepPoint {
  factor: ReversalFactor;
  profit: Profit;
}

/** The factor that was too low: a clairvoyant earned 0.056 with it at a cost of 0.95, where honesty earns 0.050. */
export const TOO_LOW: ReversalFactor = 1.5;
export const EARNED_WITH_TOO_LOW = 0.056;

const FACTORS: readonly ReversalFactor[] = [0, 0.5, 1, TOO_LOW, 2, PRODUCTION_FACTOR];

/** Verdicts at once, so that nothing but the reversals holds it back. */
export function reversalSweep(setting: Setting): SweepPoint[] {
  const { epochs, comparedMiners, factorMiners } = setting.size;
  return FACTORS.map((factor) => {
    const isCompared = factor === TOO_LOW || factor === PRODUCTION_FACTOR;
    const rules = course(epochs, { replayMs: null, reversalFactor: factor });
    const miners = isCompared ? comparedMiners : factorMiners;
    return { factor, profit: profitOf(clairvoyant(1), rules, miners, setting) };
  });
}
