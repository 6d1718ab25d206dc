import fc from 'fast-check';
import { shares as sharesAt } from '@studio/shared/domain/temperature';
import { weightsFor } from '@studio/shared/domain/weights';
import { chainVector, MetagraphUnreadable, readMembers, type Members } from './uids';
import { sharesOfOne } from './weights-target';

const members = (...hotkeys: string[]): Members => ({
  block: 1,
  uids: new Map(hotkeys.map((hotkey, uid) => [hotkey, uid])),
});

const miners = fc
  .uniqueArray(
    fc.record({ hotkey: fc.stringMatching(/^[a-f]{1,4}$/), points: fc.bigInt({ min: 0n, max: 10n ** 9n }) }),
    {
      selector: ({ hotkey }) => hotkey,
      minLength: 1,
      maxLength: 300,
    },
  )
  .map((all) => weightsFor(new Map(all.map(({ hotkey, points }) => [hotkey, points])), { temperature: 0.075 }).miners);

describe('the vector of the chain', () => {
  it('has the values of the snapshot where everybody is a member', () => {
    fc.assert(
      fc.property(miners, fc.nat(1_000), (all, salt) => {
        const uids = new Map(all.map(({ hotkey }, index) => [hotkey, (index * 7_919 + salt) % 65_536]));
        fc.pre(new Set(uids.values()).size === uids.size);
        const shares = all.map(({ hotkey, weight }) => ({ hotkey, share: weight }));
        const vector = chainVector(shares, { block: null, uids });
        expect(vector.leftOut).toEqual([]);
        expect(vector.uids).toEqual([...vector.uids].sort((a, b) => a - b));
        expect(new Set(vector.uids).size).toBe(vector.uids.length);
        const values = new Map(vector.hotkeys.map((hotkey, index) => [hotkey, vector.values[index]]));
        for (const { hotkey, u16 } of all) expect(values.get(hotkey) ?? 0).toBe(u16);
      }),
    );
  });

  it('is scaled up where the best have left, and names them', () => {
    const parts = sharesAt([1, 0.5, 0], 0.5);
    const shares = ['ada', 'ben', 'cleo'].map((hotkey, index) => ({ hotkey, share: parts[index]! }));
    const vector = chainVector(shares, members('cleo', 'x', 'ben'));
    // exp(−1) of the largest: 65535 · 0.36788 = 24109.
    expect(vector).toEqual({ uids: [0, 2], values: [24_109, 65_535], hotkeys: ['cleo', 'ben'], leftOut: ['ada'] });
    expect(chainVector(shares, members('x'))).toMatchObject({ uids: [], values: [], leftOut: ['ada', 'ben', 'cleo'] });
  });

  it('survives the arithmetic of the sidecar to the last step of u16', () => {
    fc.assert(
      fc.property(miners, (all) => {
        const shares = all.map(({ hotkey, weight }) => ({ hotkey, share: weight }));
        const vector = chainVector(shares, members(...all.map(({ hotkey }) => hotkey)));
        const sent = sharesOfOne(vector);
        // turbobt: divided by the largest, times 65535, rounded; never near a half, so any rounding is the same.
        const largest = Math.max(...Object.values(sent));
        expect(vector.hotkeys.map((hotkey) => Math.round((sent[hotkey]! / largest) * 65_535))).toEqual(vector.values);
        expect(Object.values(sent).reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 12);
      }),
    );
  });
});

describe('a metagraph', () => {
  const neuron = (hotkey: string, uid: unknown) => ({ hotkey, uid, coldkey: 'c', stake: 1 });

  it('reads alike in both forms', () => {
    const ours = readMembers({ block: 9, neurons: [neuron('ada', 3), neuron('ben', 0)] });
    const pylons = readMembers({
      block: { number: 9, hash: '0x' },
      neurons: { ada: neuron('ada', 3), ben: neuron('ben', 0) },
    });
    expect(ours).toEqual({
      block: 9,
      uids: new Map([
        ['ada', 3],
        ['ben', 0],
      ]),
    });
    expect(pylons).toEqual(ours);
    expect(readMembers({ neurons: [neuron('ada', 3)] }).block).toBeNull();
  });

  it.each<[string, unknown, RegExp]>([
    ['no object', [], /is no JSON object/],
    ['no neurons', { block: 1 }, /has no neurons/],
    ['an empty list', { neurons: [] }, /cannot be this subnet/],
    ['a uid twice', { neurons: [neuron('ada', 1), neuron('ben', 1)] }, /gives uid 1 to ada and to ben/],
    ['a hotkey twice', { neurons: [neuron('ada', 1), neuron('ada', 2)] }, /names ada twice/],
    ['a uid beyond the chain', { neurons: [neuron('ada', 65_536)] }, /gives ada the uid 65536/],
    ['a uid as text', { neurons: [neuron('ada', '1')] }, /gives ada the uid "1"/],
    ['a neuron under another key', { neurons: { ben: neuron('ada', 1) } }, /has ada under the key ben/],
    ['a neuron without a hotkey', { neurons: [{ uid: 1 }] }, /names no hotkey/],
    ['a block that is no number', { block: 'latest', neurons: [neuron('ada', 1)] }, /has the block "latest"/],
  ])('with %s is refused', (_what, said, problem) => {
    expect(() => readMembers(said)).toThrow(MetagraphUnreadable);
    expect(() => readMembers(said)).toThrow(problem);
  });
});
