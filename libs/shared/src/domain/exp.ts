/**
 * eˣ with the same bits on every machine. `Math.exp` differs between x64 and arm64 and between engines, and two
 * validators that differ in one bit can differ in a weight. This uses + − × ÷ alone, which IEEE 754 fixes to the bit.
 *
 * fdlibm's scheme (e_exp.c): x = k·ln2 + r with |r| ≤ ln2 / 2; eʳ from a rational approximation whose polynomial is of
 * degree 5 in r²; then times 2ᵏ. Measured against exact arithmetic: see exp.spec.ts (at most 1 ulp, monotone).
 */

/** ln 2 in two parts; the high one has 21 trailing zero bits, so that k·LN2_HIGH is exact for every k used here. */
const LN2_HIGH = 6.9314718036912381649e-1;
const LN2_LOW = 1.90821492927058770002e-10;
const INVERSE_LN2 = 1.442695040888963387;

/** Below |x| = 2⁻²⁸, 1 + x is eˣ to the last bit. */
const TINY = 3.7252902984619140625e-9;

/** fdlibm's Remes coefficients of r·(eʳ + 1) / (eʳ − 1) − 2 on [0, (ln2 / 2)²]; error below 2⁻⁵⁹. */
const P1 = 1.66666666666666019037e-1;
const P2 = -2.77777777770155933842e-3;
const P3 = 6.61375632143793436117e-5;
const P4 = -1.6533902205465251539e-6;
const P5 = 4.13813679705723846039e-8;

/** e⁻⁷⁴⁵ is the last that is not 0 in a double. The softmax never goes below −1 / 0.0015 = −667. */
export const EXP_MIN = -745;

/** 2⁻¹⁰²² is the least normal double: a result below it is scaled in two steps, so that it is rounded only once. */
const NORMAL_POWERS = 1_022;
const SUBNORMAL_SHIFT = 1_000;

/** `HALVINGS[i]` = 2⁻ⁱ; halving is exact, a power function need not be. */
const HALVINGS = halvings(NORMAL_POWERS);

function halvings(last: number): Float64Array {
  const powers = new Float64Array(last + 1);
  let power = 1;
  for (let i = 0; i <= last; i++) {
    powers[i] = power;
    power *= 0.5;
  }
  return powers;
}

/**
 * eˣ for −745 ≤ x ≤ 0.
 * @throws RangeError outside that range, and for NaN.
 */
export function exp(x: number): number {
  if (!(x >= EXP_MIN && x <= 0)) throw new RangeError(`exp is defined on [${EXP_MIN}, 0], not at ${x}`);
  if (x > -TINY) return 1 + x;
  // Nearest multiple of ln 2; `| 0` truncates towards zero, x is not positive.
  const k = (INVERSE_LN2 * x - 0.5) | 0;
  const high = x - k * LN2_HIGH;
  const low = k * LN2_LOW;
  const r = high - low;
  const t = r * r;
  const c = r - t * (P1 + t * (P2 + t * (P3 + t * (P4 + t * P5))));
  const y = 1 - (low - (r * c) / (2 - c) - high);
  return scaleDown(y, -k);
}

/** y · 2⁻ⁿ, rounded once. */
function scaleDown(y: number, n: number): number {
  if (n < NORMAL_POWERS) return y * halving(n);
  return y * halving(n - SUBNORMAL_SHIFT) * halving(SUBNORMAL_SHIFT);
}

function halving(n: number): number {
  const power = HALVINGS[n];
  if (power === undefined) throw new RangeError(`2^-${n} is outside the table`);
  return power;
}
