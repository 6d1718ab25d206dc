import { HOLDER_TTL_MS } from './lane-store';
import { LoraHolders } from './lora-holders';
import { MemoryLanes } from './memory-lanes';

describe('holders of a LoRA', () => {
  it('are written once while they go on using it, and again before they would be forgotten', async () => {
    let nowMs = 1_000;
    const store = new MemoryLanes();
    const written = jest.spyOn(store, 'addHolder');
    const holders = new LoraHolders(store, () => nowMs);
    for (const hotkey of ['a', 'a', 'b', 'a']) await holders.add('lora', hotkey);
    expect(written.mock.calls.map(([, hotkey]) => hotkey)).toEqual(['a', 'b']);
    for (let uses = 0; uses < 100; uses += 1) {
      nowMs += HOLDER_TTL_MS / 20;
      await holders.add('lora', 'a');
      expect(await store.holders('lora', nowMs)).toContain('a');
    }
    expect(written.mock.calls.length).toBeLessThan(30);
  });
});
