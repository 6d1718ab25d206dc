/**
 * Integer pseudo-random numbers: the same on every machine, unlike anything built on Math.log or Math.cos.
 * xoshiro128** (Blackman & Vigna 2018), its state filled by splitmix32 so that neighbouring seeds give unrelated streams.
 */

const TWO_TO_32 = 4_294_967_296;

function splitmix32(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = state ^ (state >>> 16);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a2d97);
    return mixed ^ (mixed >>> 15);
  };
}

function rotateLeft(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

/** Uniform numbers in [0, 1), each a multiple of 2⁻³². `seed` is used modulo 2³². */
export function uniformStream(seed: number): () => number {
  const fill = splitmix32(seed);
  let [s0, s1, s2, s3] = [fill(), fill(), fill(), fill()];
  return () => {
    const word = Math.imul(rotateLeft(Math.imul(s1, 5), 7), 9) >>> 0;
    const shifted = s1 << 9;
    s2 ^= s0;
    s3 ^= s1;
    s1 ^= s2;
    s0 ^= s3;
    s2 ^= shifted;
    s3 = rotateLeft(s3, 11);
    return word / TWO_TO_32;
  };
}

/** One draw of mean 0 and variance 1: twelve uniforms minus six (Irwin–Hall), which needs no transcendental function. */
export function gaussian(uniform: () => number): number {
  let sum = -6;
  for (let i = 0; i < 12; i++) sum += uniform();
  return sum;
}
