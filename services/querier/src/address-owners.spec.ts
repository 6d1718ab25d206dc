import fc from 'fast-check';
import type { RoutableMiner } from '@studio/shared/contract/miners';
import { AddressOwners, addressClaims, blockedByAddress, type AddressClaim } from './address-owners';
import type { Measured } from './measurement.store';

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

describe('AddressOwners', () => {
  const miner = (hotkey: string, operator: string) => ({ hotkey, operator, trusted: false }) as RoutableMiner;
  const at = (hotkey: string, address: string | null, addressSinceMs: number | null): [string, Measured] => [
    hotkey,
    { hotkey, rttMinUs: 1, samples: 8, address, addressSinceMs },
  ];

  it('says each change once', async () => {
    let measured = new Map([at('one', '1.2.3.4:80', 1), at('two', '1.2.3.4:80', 2)]);
    const said: string[] = [];
    const say = (details: object): void => void said.push((details as { hotkey: string }).hotkey);
    const log = { warn: say, info: say, error: say };
    const owners = new AddressOwners(
      { all: () => [miner('one', 'a'), miner('two', 'b')] },
      { all: () => Promise.resolve(measured) },
      log,
    );
    await owners.refresh();
    await owners.refresh();
    expect([owners.isBlocked('one'), owners.isBlocked('two')]).toEqual([false, true]);
    expect(owners.reason('two')).toContain('1.2.3.4:80');
    expect(said).toEqual(['two']);
    measured = new Map([at('one', '1.2.3.4:80', 1), at('two', '1.2.3.5:80', 3)]);
    await owners.refresh();
    expect([owners.isBlocked('two'), owners.reason('two'), said.length]).toEqual([false, undefined, 2]);
  });

  it('takes nobody for the owner who has withdrawn or was never connected to', () => {
    const measured = new Map([at('gone', '1.2.3.4:80', 1), at('here', '1.2.3.4:80', 2), at('new', null, null)]);
    const found = addressClaims([miner('here', 'b'), miner('new', 'c'), miner('unknown', 'd')], measured);
    expect(found.map(({ hotkey }) => hotkey)).toEqual(['here']);
  });
});
