import fc from 'fast-check';
import { HASH_BITS, dctHash, hashDistance } from './dct-hash';

/** A picture from a function of the coordinates in [0, 1). */
function picture(width: number, height: number, at: (u: number, v: number) => readonly number[]): Uint8Array {
  const rgb = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) rgb.set(at((x + 0.5) / width, (y + 0.5) / height), (y * width + x) * 3);
  }
  return rgb;
}

/** Smooth, and different for each `kind`. */
const scene =
  (kind: number) =>
  (u: number, v: number): number[] =>
    [0, 1, 2].map((c) => 128 + 60 * Math.sin(9 * u * kind + c) * Math.cos(7 * v + kind) + 50 * Math.sin(23 * u * v));

const noise = (width: number, height: number, seed: number): Uint8Array => {
  let state = seed;
  return Uint8Array.from({ length: width * height * 3 }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state >>> 24;
  });
};

const ones = (hash: string): number => hashDistance(hash, '0'.repeat(64));

/** The definition, in floating point with Math.cos and a plain loop over every 1/32 of a pixel. */
function slowHashBits(rgb: Uint8Array, width: number, height: number): { value: number; above: boolean }[] {
  const cells = Array.from({ length: 32 }, () => new Array<number>(32).fill(0));
  for (let y = 0; y < 32 * height; y++) {
    for (let x = 0; x < 32 * width; x++) {
      const at = (Math.floor(y / 32) * width + Math.floor(x / 32)) * 3;
      const luma = 0.299 * rgb[at]! + 0.587 * rgb[at + 1]! + 0.114 * rgb[at + 2]!;
      cells[Math.floor(y / height)]![Math.floor(x / width)]! += luma / (width * height);
    }
  }
  const waves = Array.from({ length: 17 }, (_, u) =>
    Array.from({ length: 32 }, (_, x) => Math.cos(((2 * x + 1) * u * Math.PI) / 64)),
  );
  const coefficient = (u: number, v: number): number => {
    let sum = 0;
    for (let y = 0; y < 32; y++) {
      for (let x = 0; x < 32; x++) {
        sum += cells[y]![x]! * waves[u]![x]! * waves[v]![y]!;
      }
    }
    return sum;
  };
  const values = Array.from({ length: 256 }, (_, i) =>
    i === 0 ? coefficient(16, 16) : coefficient(i % 16, Math.floor(i / 16)),
  );
  const sorted = [...values].sort((a, b) => a - b);
  const median = (sorted[127]! + sorted[128]!) / 2;
  return values.map((value) => ({ value: value - median, above: value > median }));
}

describe('the DCT hash', () => {
  it.each([
    [16, 16],
    [19, 23],
    [40, 17],
  ])('is what its definition in floating point gives (%i×%i)', (width, height) => {
    for (const rgb of [noise(width, height, width), picture(width, height, scene(2))]) {
      const bits = [...dctHash(rgb, width, height)].flatMap((digit) =>
        [...parseInt(digit, 16).toString(2).padStart(4, '0')].map(Number),
      );
      slowHashBits(rgb, width, height).forEach(({ value, above }, i) => {
        // Nearer to the median than the integers' rounding, either bit is right.
        if (Math.abs(value) > 1) expect([i, bits[i]]).toEqual([i, above ? 1 : 0]);
      });
    }
  });

  it('never changes: these are stored', () => {
    expect(dctHash(noise(48, 40, 7), 48, 40)).toBe('55b031c421488ba6fd0bef17952de1e2a2cccc8f7de1355a92421da98ecded8d');
    expect(dctHash(noise(20, 100, 7), 20, 100)).toBe(
      'e19a225a057ec33ff0a0cef0e832d3b69cc82532e9ac65eeb330115f2b35f50e',
    );
  });

  it('has as many ones as zeros, so that unrelated pictures are half the bits apart', () => {
    const hashes = Array.from({ length: 30 }, (_, seed) => dctHash(noise(40, 40, seed + 1), 40, 40));
    for (const hash of hashes) expect(ones(hash)).toBe(HASH_BITS / 2);
    const apart = hashes.flatMap((a, i) => hashes.slice(i + 1).map((b) => hashDistance(a, b)));
    expect(apart.reduce((sum, bits) => sum + bits) / apart.length).toBeCloseTo(HASH_BITS / 2, -1);
    expect(Math.min(...apart)).toBeGreaterThan(85);
  });

  it('stays near when the picture is scaled or every byte is one off, and is far for another picture', () => {
    const small = picture(64, 64, scene(1));
    const large = picture(256, 192, scene(1));
    const nudged = small.map((value, i) => value + ((i * 7) % 3) - 1);
    expect(hashDistance(dctHash(small, 64, 64), dctHash(large, 256, 192))).toBeLessThan(25);
    expect(hashDistance(dctHash(small, 64, 64), dctHash(nudged, 64, 64))).toBeLessThan(25);
    expect(hashDistance(dctHash(small, 64, 64), dctHash(noise(64, 64, 3), 64, 64))).toBeGreaterThan(85);
  });

  it('is the same whatever the brightness, and all zeros for a flat picture of any colour', () => {
    const dark = noise(33, 33, 3).map((value) => value >> 1);
    const bright = dark.map((value) => value + 100);
    expect(dctHash(bright, 33, 33)).toBe(dctHash(dark, 33, 33));
    for (const value of [0, 1, 100, 255]) {
      expect(dctHash(new Uint8Array(3 * 17 * 90).fill(value), 17, 90)).toBe('0'.repeat(64));
    }
  });

  it('refuses what it cannot hash', () => {
    expect(() => dctHash(new Uint8Array(3 * 15 * 16), 15, 16)).toThrow('15×16 has too few pixels');
    expect(() => dctHash(new Uint8Array(3 * 16 * 16 + 1), 16, 16)).toThrow('769 bytes are not 16×16 RGB pixels');
  });
});

describe('the distance of two hashes', () => {
  const hash = fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: 64, maxLength: 64 });
  const bigintDistance = (a: string, b: string): number =>
    [...(BigInt(`0x${a}`) ^ BigInt(`0x${b}`)).toString(2)].filter((bit) => bit === '1').length;

  it('is the number of bits that differ', () => {
    fc.assert(fc.property(hash, hash, (a, b) => hashDistance(a, b) === bigintDistance(a, b)));
    fc.assert(fc.property(hash, (a) => hashDistance(a, a) === 0));
  });

  it('refuses a shorter one', () => {
    expect(() => hashDistance('ab', 'ab')).toThrow('64 digits');
  });
});
