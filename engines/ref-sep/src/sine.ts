/**
 * Sine and cosine from + − × only: `Math.sin` differs in its last bits between engines and processors, and one differing
 * bit is enough to make two honest trainings disagree.
 */

/** (−1)ⁱ (π/2)²ⁱ⁺¹ ∕ (2i+1)!, i = 0 … 10: the Taylor series of sin(π/2 · q); what is left out is below 2·10⁻¹⁸ on |q| ≤ 1. */
const QUARTER_TURN_SERIES = [
  1.5707963267948966, -0.6459640975062463, 0.07969262624616705, -0.004681754135318688, 0.00016044118478735983,
  -3.598843235212085e-6, 5.692172921967927e-8, -6.6880351098114675e-10, 6.0669357311061955e-12, -4.377065467313743e-14,
  2.571422892860474e-16,
];

/** sin(2π · turns), within 5·10⁻¹⁶ for |turns| ≤ 2¹⁶. */
export function sineOfTurns(turns: number): number {
  const quarters = 4 * (turns - Math.floor(turns));
  // Fold [0, 4) onto the rising quarter pair [−1, 1], where the series converges fastest.
  const q = quarters > 3 ? quarters - 4 : quarters > 1 ? 2 - quarters : quarters;
  const square = q * q;
  let sum = 0;
  for (let i = QUARTER_TURN_SERIES.length - 1; i >= 0; i--) sum = sum * square + QUARTER_TURN_SERIES[i]!;
  return sum * q;
}

/** cos(2π · turns). */
export function cosineOfTurns(turns: number): number {
  return sineOfTurns(turns + 0.25);
}
