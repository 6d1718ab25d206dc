import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { matrix, multiply, multiplyAdd, transposed } from './matrix';
import { gaussian, uniformStream } from './prng';
import { cosineOfTurns, sineOfTurns } from './sine';
import { bend, warpAmplitudes } from './warp';

describe('arithmetic that is the same on every machine', () => {
  it('uses no function whose last bits depend on the machine', () => {
    const sources = readdirSync(__dirname).filter((file) => file.endsWith('.ts') && !file.endsWith('.spec.ts'));
    expect(sources.length).toBeGreaterThan(10);
    const allowed = new Set(['sqrt', 'floor', 'imul']);
    for (const file of sources) {
      const code = readFileSync(join(__dirname, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
      const used = [...code.matchAll(/\bMath\s*(?:\.\s*(\w+)|(\[))/g)].map(([, name]) => name ?? 'Math[…]');
      expect([file, used.filter((name) => !allowed.has(name))]).toEqual([file, []]);
      expect([file, code.match(/\*\*|\bDate\b|\bperformance\b|\brandom(Bytes|UUID|Int)?\b/)]).toEqual([file, null]);
    }
  });

  it('computes sine and cosine of turns within 1e-15', () => {
    fc.assert(
      fc.property(fc.double({ min: -20, max: 20, noNaN: true }), (turns) => {
        const turn = turns - Math.floor(turns);
        expect(Math.abs(sineOfTurns(turns) - Math.sin(2 * Math.PI * turn))).toBeLessThan(1e-15);
        expect(Math.abs(cosineOfTurns(turn) - Math.cos(2 * Math.PI * turn))).toBeLessThan(1e-15);
      }),
    );
    expect([0, 0.5, 1, -3].map(sineOfTurns)).toEqual([0, 0, 0, 0]);
  });

  it('multiplies any shapes as the definition says, adding in the order of the inner index', () => {
    const side = fc.integer({ min: 1, max: 9 });
    fc.assert(
      fc.property(side, side, side, fc.boolean(), fc.boolean(), (m, n, k, flipA, flipB) => {
        const uniform = uniformStream(m * 100 + n * 10 + k);
        const fill = (rows: number, cols: number, flip: boolean) => {
          const dense = flip ? transposed(matrix(cols, rows)) : matrix(rows, cols);
          dense.data.forEach((_, i) => (dense.data[i] = uniform() - 0.5));
          return dense;
        };
        const [a, b] = [fill(m, k, flipA), fill(k, n, flipB)];
        const out = fill(m, n, false);
        const expected = out.data.slice();
        for (let i = 0; i < m; i++) {
          for (let j = 0; j < n; j++) {
            for (let t = 0; t < k; t++) {
              expected[i * n + j]! += a.data[i * a.rowStep + t * a.colStep]! * b.data[t * b.rowStep + j * b.colStep]!;
            }
          }
        }
        multiplyAdd(out, a, b);
        expect(out.data).toEqual(expected);
      }),
    );
  });

  it('refuses shapes that do not fit', () => {
    expect(() => multiply(matrix(2, 2), matrix(2, 3), matrix(2, 2))).toThrow('2×3 · 2×2 does not fit 2×2');
    expect(() => matrix(2, 2, new Float64Array(3))).toThrow(RangeError);
  });

  it('draws numbers of mean 0 and variance 1, unrelated between neighbouring seeds', () => {
    const draws = (seed: number): number[] => {
      const uniform = uniformStream(seed);
      return Array.from({ length: 20_000 }, () => gaussian(uniform));
    };
    const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
    const [one, next] = [draws(1), draws(2)];
    expect(Math.abs(mean(one))).toBeLessThan(0.03);
    expect(Math.abs(mean(one.map((x) => x * x)) - 1)).toBeLessThan(0.04);
    expect(Math.abs(mean(one.map((x, i) => x * next[i]!)))).toBeLessThan(0.03);
  });
});

describe('warp', () => {
  it('keeps both ends and the order of the points, so that no picture folds', () => {
    const points = Float64Array.from({ length: 201 }, (_, i) => i / 200);
    fc.assert(
      fc.property(fc.string(), fc.nat(), (prompt, seed) => {
        const { x, y } = warpAmplitudes({ prompt, seed, strength: 1 });
        for (const amplitudes of [x, y]) {
          const bent = bend(points, amplitudes);
          expect(bent[0]).toBeCloseTo(0, 12);
          expect(bent[200]).toBeCloseTo(1, 12);
          expect(bent.slice(1).every((point, i) => point > bent[i]!)).toBe(true);
        }
      }),
    );
  });
});
