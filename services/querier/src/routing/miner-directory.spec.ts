import type { RoutableMiner } from '@studio/shared/contract/miners';
import { MinerDirectory } from './miner-directory';

const MINER: RoutableMiner = {
  hotkey: 'ada',
  operator: 'ada & co',
  endpoint: 'http://127.0.0.1:1',
  dialect: 'native',
  offers: [{ kind: 'lora-inference', engine: 'ref-sep-v1', slots: 2 }],
  trusted: false,
  quarantined: [],
  uid: null,
};

async function offered(
  miner: Partial<RoutableMiner>,
  rule = {},
  kind: 'lora-inference' | 'lora-training' = 'lora-inference',
  isBlocked?: (hotkey: string) => boolean,
) {
  const registry = async () => ({ miners: [{ ...MINER, ...miner }] });
  const directory = new MinerDirectory(registry, { error: () => undefined }, undefined, isBlocked);
  return (await directory.offersNow(kind, 'ref-sep-v1', rule)).map(({ miner: { hotkey }, slots }) => ({
    hotkey,
    slots,
  }));
}

describe('the miner directory', () => {
  it('offers a registered miner with its slots', async () => {
    expect(await offered({})).toEqual([{ hotkey: 'ada', slots: 2 }]);
  });

  it('offers nobody for a kind that nobody declares', async () => {
    expect(await offered({}, {}, 'lora-training')).toEqual([]);
  });

  it('offers no miner that is quarantined for the kind, and one that is quarantined for another', async () => {
    expect(await offered({ quarantined: ['lora-inference'] })).toEqual([]);
    expect(await offered({ quarantined: ['lora-training'] })).toHaveLength(1);
  });

  it('offers a reference only to jobs that name it', async () => {
    expect(await offered({ trusted: true })).toEqual([]);
    expect(await offered({ trusted: true }, { onlyHotkey: 'ada' })).toHaveLength(1);
  });

  it('offers no miner of an excluded operator', async () => {
    expect(await offered({}, { excludeOperators: ['ada & co'] })).toEqual([]);
  });

  it('offers no miner that is blocked, not even to jobs that name it', async () => {
    expect(await offered({}, {}, 'lora-inference', () => true)).toEqual([]);
    expect(await offered({}, { onlyHotkey: 'ada' }, 'lora-inference', () => true)).toEqual([]);
    expect(await offered({}, {}, 'lora-inference', (hotkey) => hotkey !== 'ada')).toHaveLength(1);
  });

  it('offers miners of every dialect: whether a job can be said in it is asked for each job', async () => {
    expect(await offered({ dialect: 'dippy' })).toHaveLength(1);
  });

  it('knows references among everybody', async () => {
    const miners = [MINER, { ...MINER, hotkey: 'ref', trusted: true }];
    const directory = new MinerDirectory(async () => ({ miners }), { error: () => undefined });
    await directory.offersNow('lora-inference', 'ref-sep-v1', {});
    expect(directory.every('lora-inference', 'ref-sep-v1').map(({ miner: { hotkey } }) => hotkey)).toEqual([
      'ada',
      'ref',
    ]);
  });
});
