import type { RoutableMiner } from '@studio/shared/contract/miners';
import { AddressOwners, addressClaims } from './address-owners';
import type { Measured } from './measurement.store';

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
