/**
 * Temperature (incentive.md): win rates → shares of the weight, `p_i = exp((w_i − w_max)/T) / Σ_j exp((w_j − w_max)/T)`.
 * What a temperature does depends on n: at T = 0.075 the top miner gets 77 % of 10, 19 % of 64, 5.1 % of 256.
 */
import { exp } from './exp';

/** Below, exp(−1/T) underflows and the last miners would be falsely tied. */
export const MIN_TEMPERATURE = 0.0015;
/** Above, the shares of neighbours in a large field come too close to tell apart. */
export const MAX_TEMPERATURE = 1_000;

/**
 * @param winRates in [0, 1], in any order.
 * @returns the share of each, in the same order; they sum to 1 within 1e-12. `[]` for none.
 * @throws RangeError for a temperature outside 0.0015 … 1000 or a win rate outside [0, 1].
 */
export function shares(winRates: readonly number[], temperature: number): number[] {
  if (!(temperature >= MIN_TEMPERATURE && temperature <= MAX_TEMPERATURE)) {
    throw new RangeError(`temperature must lie in ${MIN_TEMPERATURE} … ${MAX_TEMPERATURE}, is ${temperature}`);
  }
  let best = 0;
  for (const rate of winRates) {
    if (!(rate >= 0 && rate <= 1)) throw new RangeError(`a win rate must lie in [0, 1], is ${rate}`);
    if (rate > best) best = rate;
  }
  const odds = winRates.map((rate) => exp((rate - best) / temperature));
  const total = sumAscending(odds);
  return odds.map((odd) => odd / total);
}

/**
 * The sum of positive numbers in ascending order: the same bits however the miners were listed. Compensated
 * (Neumaier), because a hundred thousand equal terms would all be rounded in the same direction.
 */
function sumAscending(values: readonly number[]): number {
  let sum = 0;
  let lost = 0;
  for (const value of Float64Array.from(values).sort()) {
    const next = sum + value;
    lost += sum >= value ? sum - next + value : value - next + sum;
    sum = next;
  }
  return sum + lost;
}
