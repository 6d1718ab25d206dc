import { chooseMiner } from '@studio/shared/domain/dispatch-policy';
import type { RoutableMiner } from '@studio/shared/contract/miners';
import type { Offer } from './miner-directory';
import { MinerLoad } from './miner-load';

const KIND = 'lora-inference';
const ENGINE = 'ref-sep-v1';
const offer = (hotkey: string, slots: number): Offer => ({
  miner: { hotkey, operator: hotkey } as RoutableMiner,
  slots,
});
const POLICY = { exploreAfterMs: Infinity, loraLeadTurns: 0 };
const nobody = { tried: new Set<string>(), excludeOperators: new Set<string>() };

function choose(load: MinerLoad, offers: Offer[], lora: string | null = null): string | undefined {
  return chooseMiner(load.candidates(offers, KIND, ENGINE, lora), nobody, 0, POLICY)?.hotkey;
}

function freeOf(load: MinerLoad, hotkey: string, slots: number): number {
  return load.candidates([offer(hotkey, slots)], KIND, ENGINE, null)[0]!.freeSlots;
}

describe("a worker's view of the miners", () => {
  it('counts a job from its choice to its end, and what other workers sent', () => {
    const load = new MinerLoad();
    load.replace([{ hotkey: 'a', kind: KIND, engine: ENGINE, open: 1 }]);
    load.chosen('a', KIND, ENGINE);
    expect(freeOf(load, 'a', 4)).toBe(2);
    load.opened('a', KIND, ENGINE, true);
    expect(freeOf(load, 'a', 4)).toBe(2);
    load.ended('a', KIND, ENGINE);
    expect(freeOf(load, 'a', 4)).toBe(3);
    load.replace([]);
    expect(freeOf(load, 'a', 4)).toBe(4);
  });

  it('keeps a choice that the database does not know yet', () => {
    const load = new MinerLoad();
    load.chosen('a', KIND, ENGINE);
    load.replace([]);
    expect(freeOf(load, 'a', 1)).toBe(0);
    load.opened('a', KIND, ENGINE, false);
    expect(freeOf(load, 'a', 1)).toBe(1);
  });

  it('leaves a miner alone for a moment after it was busy', () => {
    let now = 0;
    const load = new MinerLoad(() => now);
    load.refused('a', KIND, ENGINE);
    expect(freeOf(load, 'a', 4)).toBe(0);
    now = 1_000;
    expect(freeOf(load, 'a', 4)).toBe(4);
  });

  it('lets a newcomer start level', () => {
    const load = new MinerLoad();
    const old = [offer('a', 1000)];
    for (let i = 0; i < 100; i++) load.chosen(choose(load, old)!, KIND, ENGINE);
    const both = [...old, offer('b', 1000)];
    const chosen = Array.from({ length: 20 }, () => {
      const hotkey = choose(load, both)!;
      load.chosen(hotkey, KIND, ENGINE);
      return hotkey;
    });
    expect(chosen.filter((hotkey) => hotkey === 'b')).toHaveLength(10);
  });

  it('prefers, at equal turns, the miner that has the LoRA', () => {
    const load = new MinerLoad();
    load.holds('b', 'lora');
    expect(choose(load, [offer('a', 1), offer('b', 1)])).toBe('a');
    expect(choose(load, [offer('a', 1), offer('b', 1)], 'lora')).toBe('b');
  });
});
