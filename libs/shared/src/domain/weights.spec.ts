import * as fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { chainWeights, U16_MAX, weightsFor, type MinerWeights } from './weights';

interface GoldenVector {
  name: string;
  shares: number[];
  indices: number[];
  u16: number[];
}

/** Made by fixtures/chain-weights.py. */
const golden = JSON.parse(readFileSync(join(__dirname, 'fixtures', 'chain-weights.json'), 'utf8')) as GoldenVector[];

const POLICY = { temperature: 0.075 };

const points = fc.oneof(fc.bigInt({ min: 0n, max: 6n }), fc.bigInt({ min: 0n, max: 10n ** 15n }));
const scores = fc
  .array(points, { minLength: 1, maxLength: 40 })
  .map((list) => new Map(list.map((value, i) => [hotkey(i), value])));
const distinctScores = fc
  .uniqueArray(fc.bigInt({ min: 0n, max: 10n ** 15n }), { minLength: 2, maxLength: 30 })
  .map((list) => new Map(list.map((value, i) => [hotkey(i), value])));

function hotkey(i: number): string {
  return `5miner${String(i).padStart(3, '0')}`;
}

function serialise(result: MinerWeights): string {
  return JSON.stringify(result, (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value));
}

describe('chain weights', () => {
  it.each(golden.map((vector) => [vector.name, vector] as const))('equal the SDK: %s', (_, vector) => {
    const { weights } = chainWeights(vector.shares);
    expect(weights.map(({ index }) => index)).toEqual(vector.indices);
    expect(weights.map(({ u16 }) => u16)).toEqual(vector.u16);
  });

  it.each([[[]], [[0]], [[0, 0, 0]]])('have the outcome NO_SCORES for %p', (shares) => {
    expect(chainWeights(shares)).toEqual({ outcome: 'NO_SCORES', weights: [] });
  });

  it.each([-1e-9, NaN, Infinity])('refuse a share of %p', (share) => {
    expect(() => chainWeights([0.5, share])).toThrow(RangeError);
  });

  it('are whole numbers in 1 … 65535 with the largest share at the top', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 50 }), (shares) => {
        const { outcome, weights } = chainWeights(shares);
        for (const { u16 } of weights) expect(Number.isInteger(u16) && u16 >= 1 && u16 <= U16_MAX).toBe(true);
        if (outcome === 'OK') expect(Math.max(...weights.map(({ u16 }) => u16))).toBe(U16_MAX);
      }),
    );
  });
});

describe('weights for miners', () => {
  it('come in hotkey order whatever order the scores came in', () => {
    fc.assert(
      fc.property(scores, fc.nat(), (s, offset) => {
        const list = [...s];
        const k = offset % list.length;
        const turned = new Map([...list.slice(k), ...list.slice(0, k)].reverse());
        expect(serialise(weightsFor(turned, POLICY))).toBe(serialise(weightsFor(s, POLICY)));
        const hotkeys = weightsFor(turned, POLICY).miners.map((miner) => miner.hotkey);
        expect(hotkeys).toEqual([...s.keys()].sort());
      }),
    );
  });

  it('belong to the score and not to the hotkey', () => {
    fc.assert(
      fc.property(scores, (s) => {
        const swapped = new Map([...s].map(([key, value]) => [`5x${key.split('').reverse().join('')}`, value]));
        const byPoints = (result: MinerWeights) => new Map(result.miners.map((m) => [m.points, [m.weight, m.u16]]));
        expect(byPoints(weightsFor(swapped, POLICY))).toEqual(byPoints(weightsFor(s, POLICY)));
      }),
    );
  });

  it('are equal for equal scores and ordered as the scores are', () => {
    fc.assert(
      fc.property(scores, fc.double({ min: 0.0015, max: 1_000, noNaN: true }), (s, temperature) => {
        const sorted = weightsFor(s, { temperature }).miners.sort((a, b) => (a.points < b.points ? -1 : 1));
        for (let i = 1; i < sorted.length; i++) {
          const [below, above] = [sorted[i - 1], sorted[i]];
          if (!below || !above) continue;
          if (below.points === above.points) expect([above.weight, above.u16]).toEqual([below.weight, below.u16]);
          else expect(above.weight).toBeGreaterThan(below.weight);
          expect(above.u16).toBeGreaterThanOrEqual(below.u16);
        }
      }),
    );
  });

  it('never fall for a miner whose score rises, nor rise for another', () => {
    fc.assert(
      fc.property(distinctScores, fc.nat(), fc.bigInt({ min: 1n, max: 10n ** 15n }), (s, pick, gain) => {
        const who = hotkey(pick % s.size);
        const raised = new Map(s).set(who, (s.get(who) ?? 0n) + gain);
        fc.pre(new Set(raised.values()).size === raised.size);
        const before = weightsFor(s, POLICY).miners;
        weightsFor(raised, POLICY).miners.forEach((after, i) => {
          const was = before[i]?.weight ?? NaN;
          if (after.hotkey === who) expect(after.weight).toBeGreaterThanOrEqual(was);
          else expect(after.weight).toBeLessThanOrEqual(was);
        });
      }),
    );
  });

  it('do not change under a strictly increasing transform of the scores', () => {
    fc.assert(
      fc.property(scores, (s) => {
        const transformed = new Map([...s].map(([key, value]) => [key, 3n * value + 11n]));
        const strip = (result: MinerWeights) => result.miners.map((m) => ({ ...m, points: 0n }));
        expect(strip(weightsFor(transformed, POLICY))).toEqual(strip(weightsFor(s, POLICY)));
      }),
    );
  });

  it('contain no NaN for no miner, one miner and miners all equal', () => {
    expect(weightsFor(new Map(), POLICY)).toEqual({ outcome: 'NO_SCORES', miners: [] });
    expect(weightsFor(new Map([['5a', 0n]]), POLICY)).toEqual({
      outcome: 'OK',
      miners: [{ hotkey: '5a', points: 0n, winRate: 1, weight: 1, u16: U16_MAX }],
    });
    const equal = weightsFor(new Map([0, 1, 2, 3].map((i) => [hotkey(i), 0n])), POLICY).miners;
    for (const miner of equal) expect(miner).toMatchObject({ winRate: 0.5, weight: 0.25, u16: U16_MAX });
  });

  it('survive serialisation: recomputed from their own export they are the same bytes', () => {
    fc.assert(
      fc.property(scores, (s) => {
        const text = serialise(weightsFor(s, POLICY));
        const parsed = JSON.parse(text) as { miners: { hotkey: string; points: string }[] };
        const again = new Map(parsed.miners.map((miner) => [miner.hotkey, BigInt(miner.points)]));
        expect(serialise(weightsFor(again, POLICY))).toBe(text);
      }),
    );
  });
});
