import type { RoutableMiner } from '@studio/shared/contract/miners';
import { AddressOwners, addressClaims } from './address-owners';
import type { Measured } from './measurement.store';
import { MIN_SAMPLES } from './rtt-probe';
import { RttSamples } from './rtt-samples';

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

  describe('a name that leads to an address of its own and to another’s in turn', () => {
    const [OWN, TAKEN] = ['1.2.3.9:80', '1.2.3.4:80'];
    const nowhere = { warn: () => undefined, info: () => undefined, error: () => undefined };
    const owner = { ...miner('owner', 'a'), endpoint: 'http://owner.example' };
    const guest = { ...miner('guest', 'b'), endpoint: 'http://guest.example' };
    const measured = new Map([at('owner', TAKEN, 1)]);

    function open() {
      const samples = new RttSamples();
      const everybody = { all: () => [owner, guest] };
      const owners = new AddressOwners(everybody, { all: () => Promise.resolve(measured) }, nowhere, samples);
      const connect = async (address: string, times = 1): Promise<boolean> => {
        for (let n = 0; n < times; n += 1) samples.onConnect(guest.endpoint, 1, address);
        await owners.refresh();
        return owners.isBlocked('guest');
      };
      return { owners, samples, connect };
    }

    it('is left out after one connect there, before any measurement', async () => {
      const { owners, connect } = open();
      expect(await connect(OWN, 3)).toBe(false);
      expect(await connect(TAKEN)).toBe(true);
      expect(owners.reason('guest')).toContain('operator a');
      expect(owners.isBlocked('owner')).toBe(false);
    });

    it('stays out while it goes to and fro, and comes back once it was met elsewhere as often as a measurement takes', async () => {
      const { connect } = open();
      await connect(TAKEN);
      for (let n = 0; n < 20; n += 1) {
        expect(await connect(OWN, MIN_SAMPLES - 1)).toBe(true);
        expect(await connect(TAKEN)).toBe(true);
      }
      expect(await connect(OWN, MIN_SAMPLES)).toBe(false);
    });

    it('takes an address from nobody who was measured there, but from whoever is seen there later', async () => {
      const { owners, samples, connect } = open();
      await connect(OWN);
      samples.onConnect(owner.endpoint, 1, OWN);
      await owners.refresh();
      expect([owners.isBlocked('owner'), owners.isBlocked('guest')]).toEqual([true, false]);
    });
  });
});
