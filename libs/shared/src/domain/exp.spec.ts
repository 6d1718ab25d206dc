import * as fc from 'fast-check';
import { exp, EXP_MIN } from './exp';

/** Fractional bits of the exact arithmetic; e⁻⁴⁰ has its last bit at 2⁻¹¹⁰. */
const BITS = 240n;
const ONE = 1n << BITS;

const view = new DataView(new ArrayBuffer(8));

function bitsOf(x: number): bigint {
  view.setFloat64(0, x);
  return view.getBigUint64(0);
}

function fromBits(bits: bigint): number {
  view.setBigUint64(0, bits);
  return view.getFloat64(0);
}

/** A normal double as mantissa · 2^(exponent), both exact. */
function parts(x: number): { mantissa: bigint; exponent: bigint } {
  const bits = bitsOf(Math.abs(x));
  return { mantissa: (bits & ((1n << 52n) - 1n)) | (1n << 52n), exponent: (bits >> 52n) - 1075n };
}

function toFixed(x: number): bigint {
  if (x === 0) return 0n;
  const { mantissa, exponent } = parts(x);
  const shift = BITS + exponent;
  const fixed = shift >= 0n ? mantissa << shift : mantissa >> -shift;
  return x < 0 ? -fixed : fixed;
}

/** eˣ by Taylor's series of x / 2⁸, squared eight times; error below 2⁻²²⁰. */
function exactExp(x: number): bigint {
  const reduced = toFixed(x) >> 8n;
  let term = ONE;
  let sum = ONE;
  for (let i = 1n; term !== 0n && term !== -1n; i++) {
    term = (term * reduced) / (i << BITS);
    sum += term;
  }
  for (let i = 0; i < 8; i++) sum = (sum * sum) >> BITS;
  return sum;
}

/** Distance from the exact value in thousandths of the result's last place. */
function milliUlps(x: number): number {
  const y = exp(x);
  const ulp = 1n << (BITS + parts(y).exponent);
  const error = toFixed(y) - exactExp(x);
  return Number(((error < 0n ? -error : error) * 1_000n) / ulp);
}

/** A linear congruential generator (Knuth's MMIX constants): the same points in every run. */
function* uniform(seed: bigint): Generator<number> {
  for (let state = seed; ;) {
    state = BigInt.asUintN(64, state * 6364136223846793005n + 1442695040888963407n);
    yield Number(state >> 11n) / 2 ** 53;
  }
}

/** Pinned on x64: a machine that gives other bits would give other weights. */
const GOLDEN: [x: number, bits: string][] = [
  [-1e-9, '3fefffffff768fa1'],
  [-0.001, '3feff7cfe56f1a9e'],
  [-0.1, '3fecf46d99d52b3a'],
  [-0.34657359027997264, '3fe6a09e667f3bcc'],
  [-0.5, '3fe368b2fc6f960a'],
  [-1, '3fd78b56362cef38'],
  [-1.0397207708399179, '3fd6a09e667f3bcd'],
  [-2.718281828459045, '3fb0e49787e20548'],
  [-13.333333333333334, '3ebb2c1d816597a2'],
  [-40, '3c539792499b1a24'],
  [-100.25, '36e4acd31e167ebb'],
  [-666.6666666666666, '3d26bdce9b6929e'],
  [-708.5, 'e6cf6d08897ac'],
  [-720, '993b4dc95'],
  [-745, '1'],
];

const SAMPLES = 12_000;

function sample(count: number, low: number): number[] {
  const next = uniform(7n);
  return Array.from({ length: count }, () => low * (next.next().value as number));
}

describe('exp', () => {
  it('is within one unit in the last place of the exact value on [−40, 0]', () => {
    const worst = Math.max(...sample(SAMPLES, -40).map(milliUlps), ...sample(SAMPLES / 4, -1).map(milliUlps));
    expect(worst).toBeLessThanOrEqual(1_000);
    // The oracle can tell: an error is seen at all.
    expect(worst).toBeGreaterThan(500);
  });

  it('never falls from one double to the next', () => {
    for (const x of sample(SAMPLES, EXP_MIN)) expect(exp(fromBits(bitsOf(x) - 1n))).toBeGreaterThanOrEqual(exp(x));
    // Around the multiples of ln 2 / 2, where the range reduction changes its k.
    for (let i = 1; i < 2_000; i += 2) {
      const x = Math.max(EXP_MIN + 1e-9, (-i * Math.LN2) / 2);
      for (let bits = bitsOf(x) - 8n; bits < bitsOf(x) + 8n; bits++) {
        expect(exp(fromBits(bits))).toBeGreaterThanOrEqual(exp(fromBits(bits + 1n)));
      }
    }
  });

  it('is monotone between any two points', () => {
    const point = fc.double({ min: EXP_MIN, max: 0, noNaN: true });
    fc.assert(
      fc.property(point, point, (a, b) => {
        expect(exp(Math.min(a, b))).toBeLessThanOrEqual(exp(Math.max(a, b)));
      }),
    );
  });

  it('stays in (0, 1] down to the least double', () => {
    expect(exp(0)).toBe(1);
    expect(exp(-0)).toBe(1);
    expect(exp(EXP_MIN)).toBe(Number.MIN_VALUE);
    for (const x of sample(SAMPLES, EXP_MIN)) expect(exp(x) > 0 && exp(x) <= 1).toBe(true);
  });

  it.each([1e-300, 1, -745.1, NaN, -Infinity])('refuses %p', (x) => {
    expect(() => exp(x)).toThrow(RangeError);
  });

  it.each(GOLDEN)('gives the golden bits of e^%p', (x, bits) => {
    expect(bitsOf(exp(x)).toString(16)).toBe(bits);
  });
});
