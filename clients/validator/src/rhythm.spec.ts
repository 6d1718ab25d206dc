import fc from 'fast-check';
import { ageInEpochs, blockSlot, epochSlot, nextAct, wallBlock, type BlockRhythm, type Situation } from './rhythm';

const HOUR = 3_600_000;
const EPOCH = 72 * 60_000;
const CLOSED = Date.UTC(2026, 0, 1);
const GOOD = { epoch: 7, closedMs: CLOSED, epochMs: EPOCH };
const BLOCKS: BlockRhythm = { every: 'blocks', blocks: 360, blockMs: 12_000 };

const situation = (fields: Partial<Situation> = {}): Situation => ({
  good: GOOD,
  emptyEpoch: null,
  doneSlot: null,
  maxAgeEpochs: 20,
  ...fields,
});

describe('slots of epochs', () => {
  it('give a vector its own epoch and half of the next, then one slot for each epoch without a successor', () => {
    const at = (epochs: number): string => epochSlot(GOOD, CLOSED + epochs * EPOCH).id;
    expect([0, 1, 1.49].map(at)).toEqual(['epoch 7+0', 'epoch 7+0', 'epoch 7+0']);
    expect([1.5, 2.4, 2.5, 9.9].map(at)).toEqual(['epoch 7+1', 'epoch 7+1', 'epoch 7+2', 'epoch 7+9']);
    expect(epochSlot(GOOD, CLOSED).untilMs).toBe(CLOSED + 1.5 * EPOCH);
  });

  it('follow one another without a gap, and every moment lies before the end of its own', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 1_000 * EPOCH }),
        fc.integer({ min: 1, max: 10 * EPOCH }),
        (after, epochMs) => {
          const good = { ...GOOD, epochMs };
          const now = CLOSED + after;
          const slot = epochSlot(good, now);
          expect(slot.untilMs).toBeGreaterThan(now);
          expect(epochSlot(good, Math.ceil(slot.untilMs)).id).not.toBe(slot.id);
          expect(
            epochSlot(good, Math.max(CLOSED, Math.ceil(slot.untilMs) - 1 - Math.floor(epochMs / 2))).id,
          ).toBeDefined();
        },
      ),
    );
  });
});

describe('slots of blocks', () => {
  it('begin with every 360th block, 72 minutes apart at 12 s', () => {
    expect(blockSlot(720, 0, BLOCKS)).toEqual({ id: 'blocks 2', untilMs: 72 * 60_000 });
    expect(blockSlot(1_079, 5, BLOCKS)).toEqual({ id: 'blocks 2', untilMs: 5 + 12_000 });
    expect(blockSlot(1_080, 0, BLOCKS).id).toBe('blocks 3');
  });

  it('of the wall clock count blocks since the genesis', () => {
    expect(wallBlock(CLOSED, { genesisMs: CLOSED, blockMs: 12_000 })).toBe(0);
    expect(wallBlock(CLOSED + 24_001, { genesisMs: CLOSED, blockMs: 12_000 })).toBe(2);
    expect(wallBlock(CLOSED, { genesisMs: CLOSED + 1, blockMs: 12_000 })).toBe(0);
  });
});

describe('what to do next', () => {
  const slot = epochSlot(GOOD, CLOSED);

  it('is to hand over once in each slot', () => {
    expect(nextAct(situation(), slot, CLOSED)).toEqual({ act: 'hand-over', slot, ageEpochs: 0 });
    expect(nextAct(situation({ doneSlot: slot.id }), slot, CLOSED)).toMatchObject({
      act: 'wait',
      because: 'done',
      untilMs: slot.untilMs,
    });
    expect(nextAct(situation({ doneSlot: 'epoch 6+0' }), slot, CLOSED).act).toBe('hand-over');
  });

  it('is to wait where there is nothing, and to say which nothing', () => {
    expect(nextAct(situation({ good: null }), null, CLOSED)).toMatchObject({ because: 'no-weights' });
    expect(nextAct(situation({ good: null, emptyEpoch: 1 }), null, CLOSED)).toMatchObject({ because: 'no-scores' });
    expect(nextAct(situation({ emptyEpoch: 8 }), slot, CLOSED)).toMatchObject({ act: 'wait', because: 'no-scores' });
    expect(nextAct(situation({ emptyEpoch: 6 }), slot, CLOSED).act).toBe('hand-over');
  });

  it('is never to hand over what is older than the greatest age, whatever the slot', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 100 }),
        fc.double({ min: 0, max: 200, noNaN: true }),
        (maxAgeEpochs, age) => {
          const now = CLOSED + age * EPOCH;
          const act = nextAct(situation({ maxAgeEpochs }), epochSlot(GOOD, now), now);
          expect(act.act === 'hand-over').toBe(Math.floor((now - CLOSED) / EPOCH) <= maxAgeEpochs);
        },
      ),
    );
    expect(ageInEpochs(GOOD, CLOSED + HOUR)).toBe(0);
    expect(ageInEpochs(GOOD, CLOSED - HOUR)).toBe(0);
    expect(ageInEpochs(GOOD, CLOSED + 2 * HOUR)).toBe(1);
  });
});
