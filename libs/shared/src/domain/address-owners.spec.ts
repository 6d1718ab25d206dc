import * as fc from 'fast-check';
import { blockedByAddress, type AddressClaim } from './address-owners';

const claim = (hotkey: string, operator: string, sinceMs: number, extra: Partial<AddressClaim> = {}): AddressClaim => ({
  hotkey,
  operator,
  sinceMs,
  address: '198.51.100.7:8091',
  trusted: false,
  ...extra,
});

const claims = fc.uniqueArray(
  fc.record({
    hotkey: fc.string({ minLength: 1, maxLength: 3 }),
    operator: fc.constantFrom('a', 'b', 'c'),
    trusted: fc.boolean(),
    address: fc.constantFrom('1.2.3.4:80', '1.2.3.4:81', '[2600::1]:80'),
    sinceMs: fc.integer({ min: 0, max: 5 }),
  }),
  { selector: ({ hotkey }) => hotkey, maxLength: 12 },
);

describe('who owns an address', () => {
  it('is the operator that had it first; the others are told who and where', () => {
    const blocked = blockedByAddress([claim('late', 'thief', 2_000), claim('first', 'owner', 1_000)]);
    expect([...blocked.keys()]).toEqual(['late']);
    expect(blocked.get('late')).toContain('198.51.100.7:8091, which belongs to operator owner');
  });

  it('lets one operator have many miners at one address', () => {
    expect(blockedByAddress([claim('one', 'owner', 1), claim('two', 'owner', 2)]).size).toBe(0);
  });

  it('tells ports of one machine apart', () => {
    expect(blockedByAddress([claim('one', 'a', 1), claim('two', 'b', 2, { address: '198.51.100.7:8092' })]).size).toBe(
      0,
    );
  });

  it('gives a reference its address even when somebody was seen there before', () => {
    const blocked = blockedByAddress([claim('squatter', 'a', 1), claim('reference', 'us', 2, { trusted: true })]);
    expect([...blocked.keys()]).toEqual(['squatter']);
  });

  it('leaves exactly one operator at each address, whatever the order', () => {
    fc.assert(
      fc.property(claims, fc.infiniteStream(fc.nat()), (given, keys) => {
        const blocked = blockedByAddress(given);
        for (const address of new Set(given.map((each) => each.address))) {
          const there = given.filter((each) => each.address === address);
          const left = there.filter(({ hotkey }) => !blocked.has(hotkey));
          expect(new Set(left.map(({ operator }) => operator)).size).toBe(1);
          // Independent of how the owner is found: nobody who is left out came before everybody who is left in.
          const rank = ({ trusted, sinceMs }: AddressClaim): number => (trusted ? 0 : 10) + sinceMs;
          const best = Math.min(...left.map(rank));
          for (const each of there) expect(rank(each)).toBeGreaterThanOrEqual(best);
          // All of an operator's miners there share its fate.
          const operators = new Set(left.map(({ operator }) => operator));
          expect(there.filter(({ operator }) => operators.has(operator)).length).toBe(left.length);
        }
        const shuffled = given
          .map((each) => ({ each, key: keys.next().value }))
          .sort((a, b) => a.key - b.key)
          .map(({ each }) => each);
        expect([...blockedByAddress(shuffled)].sort()).toEqual([...blocked].sort());
      }),
    );
  });
});
