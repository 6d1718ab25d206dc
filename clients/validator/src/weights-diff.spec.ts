import fc from 'fast-check';
import { decimal, diffOf, diffText, placesOf, weightsTable } from './weights-diff';
import { checked } from './weights-setter.rig';

const vector = (epoch: number, weights: Record<string, number>) => ({
  epoch,
  hotkeys: Object.keys(weights),
  weights: Object.values(weights),
});

describe('the difference of two vectors', () => {
  it('names who came, who went and who moved, with rank and value', () => {
    const diff = diffOf(vector(3, { ada: 65_535, ben: 100, cleo: 7 }), vector(4, { ben: 65_535, cleo: 7, dan: 9 }));
    expect(diff).toEqual({
      fromEpoch: 3,
      toEpoch: 4,
      added: [{ hotkey: 'dan', to: { rank: 2, u16: 9 } }],
      removed: [{ hotkey: 'ada', from: { rank: 1, u16: 65_535 } }],
      changed: [{ hotkey: 'ben', from: { rank: 2, u16: 100 }, to: { rank: 1, u16: 65_535 } }],
      unchanged: 1,
    });
    expect(diffText(diff).split('\n')).toEqual([
      'epoch 3 → 4: 1 added, 1 removed, 1 changed, 1 as before',
      '+ dan  rank 2, u16 9',
      '- ada  was rank 1, u16 65535',
      '~ ben  rank 2 → 1, u16 100 → 65535',
    ]);
    expect(diffText(diffOf(null, vector(4, { ben: 1 })))).toMatch(/nothing to compare with/);
  });

  it('counts everybody of both exactly once', () => {
    const weights = fc.dictionary(fc.constantFrom(...'abcdefgh'), fc.integer({ min: 1, max: 4 }));
    fc.assert(
      fc.property(weights, weights, (before, after) => {
        const { added, removed, changed, unchanged } = diffOf(vector(1, before), vector(2, after));
        expect(added.length + changed.length + unchanged).toBe(Object.keys(after).length);
        expect(removed.length + changed.length + unchanged).toBe(Object.keys(before).length);
      }),
    );
  });

  it('gives equal weights the better rank', () => {
    const places = [...placesOf(vector(1, { b: 5, a: 5, c: 4, d: 9 }))].map(([hotkey, { rank }]) => [hotkey, rank]);
    expect(places).toEqual([
      ['d', 1],
      ['a', 2],
      ['b', 2],
      ['c', 4],
    ]);
  });
});

it('the table shows everybody who is scored, heaviest first, beside the last value', () => {
  const now = checked(4, { ada: 400_000n, ben: 700_000n });
  const rows = weightsTable(now, vector(3, { ben: 12 }))
    .split('\n')
    .filter((line) => /ada|ben/.test(line));
  expect(rows[0]).toMatch(/│ 1 +│ ben +│ 0\.700 +│ 1\.000 +│ .* % │ 65535 │ 12 \(rank 1\) │/);
  expect(rows[1]).toMatch(/│ 2 +│ ada +│ 0\.400 +│ 0\.000 +│ .* % │ 24109 │ - +│/);
});

it('millionths are shown as points', () => {
  expect(['0', '700000', '-1500000', '12'].map(decimal)).toEqual(['0.000', '0.700', '-1.500', '0.000']);
});
