import * as fc from 'fast-check';
import { afterAttempt, chooseMiner, isEligible, type AttemptEnd, type Candidate } from './dispatch-policy';

const NOBODY = { tried: new Set<string>(), excludeOperators: new Set<string>() };

function miner(hotkey: string, fields: Partial<Candidate> = {}): Candidate {
  return { hotkey, operator: `op-${hotkey}`, slots: 2, freeSlots: 2, turns: 0, holdsLora: false, ...fields };
}

const candidates = fc.uniqueArray(
  fc.record({
    hotkey: fc.string({ minLength: 1, maxLength: 3 }),
    operator: fc.constantFrom('x', 'y', 'z'),
    slots: fc.integer({ min: 1, max: 8 }),
    freeSlots: fc.nat(3),
    turns: fc.nat(20),
    holdsLora: fc.boolean(),
  }),
  { selector: ({ hotkey }) => hotkey, maxLength: 12 },
);

describe('choice of a miner', () => {
  it('puts fairness first, then the LoRA, then hotkey order', () => {
    const choose = (...list: Candidate[]) => chooseMiner(list, NOBODY)?.hotkey;
    expect(choose(miner('a', { turns: 3, holdsLora: true }), miner('b', { turns: 2 }))).toBe('b');
    expect(choose(miner('a', { turns: 2 }), miner('b', { turns: 2, holdsLora: true }))).toBe('b');
    expect(choose(miner('b'), miner('a'))).toBe('a');
  });

  it('measures turns per slot, so that capacity is used in proportion', () => {
    const large = miner('large', { slots: 8, turns: 7 });
    expect(chooseMiner([large, miner('small', { slots: 1, turns: 1 })], NOBODY)).toBe(large);
  });

  it('passes over full, tried and excluded miners', () => {
    const list = [miner('a', { freeSlots: 0 }), miner('b'), miner('c', { operator: 'mine' }), miner('d', { turns: 9 })];
    const exclusions = { tried: new Set(['b']), excludeOperators: new Set(['mine']) };
    expect(chooseMiner(list, exclusions)?.hotkey).toBe('d');
    expect(list.filter((candidate) => isEligible(candidate, exclusions)).map(({ hotkey }) => hotkey)).toEqual([
      'a',
      'd',
    ]);
    expect(chooseMiner([], NOBODY)).toBeUndefined();
  });

  it('does not depend on the order of the candidates', () => {
    fc.assert(
      fc.property(candidates, (list) => {
        expect(chooseMiner([...list].reverse(), NOBODY)).toEqual(chooseMiner(list, NOBODY));
      }),
    );
  });

  it('never passes over a miner with fewer turns per slot, and finds one whenever there is one', () => {
    fc.assert(
      fc.property(candidates, (list) => {
        const free = list.filter(({ freeSlots }) => freeSlots > 0);
        const chosen = chooseMiner(list, NOBODY);
        expect(chosen === undefined).toBe(free.length === 0);
        if (!chosen) return;
        for (const other of free) {
          expect(chosen.turns * other.slots).toBeLessThanOrEqual(other.turns * chosen.slots);
        }
      }),
    );
  });

  it('shares a long run of jobs in proportion to the slots, within one turn per slot', () => {
    const capacities = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(capacities, fc.array(fc.boolean(), { minLength: 50, maxLength: 200 }), (slots, warm) => {
        const list = slots.map((n, i) => miner(`m${i}`, { slots: n, freeSlots: n }));
        for (const holdsLora of warm) {
          for (const candidate of list) candidate.holdsLora = holdsLora && candidate.hotkey === 'm0';
          const chosen = chooseMiner(list, NOBODY);
          if (chosen) chosen.turns += 1;
        }
        const loads = list.map(({ turns, slots: n }) => turns / n);
        expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1);
      }),
    );
  });
});

describe('after an attempt', () => {
  const end: AttemptEnd = {
    outcome: 'failed',
    attemptsCharged: 1,
    maxAttempts: 3,
    nowMs: 1_000,
    deadlineMs: 2_000,
    othersFree: 1,
    othersBusy: 0,
  };

  it('goes to another miner at once when one is free', () => {
    expect(afterAttempt(end)).toBe('retry-other');
    expect(afterAttempt({ ...end, outcome: 'busy', attemptsCharged: 0 })).toBe('retry-other');
  });

  it('waits when every other miner is busy', () => {
    expect(afterAttempt({ ...end, othersFree: 0, othersBusy: 2 })).toBe('retry-later');
    expect(afterAttempt({ ...end, outcome: 'busy', attemptsCharged: 0, othersFree: 0 })).toBe('retry-later');
  });

  it('fails when nobody is left, at the maximum of attempts, and at the deadline', () => {
    expect(afterAttempt({ ...end, othersFree: 0 })).toBe('fail');
    expect(afterAttempt({ ...end, attemptsCharged: 3 })).toBe('fail');
    expect(afterAttempt({ ...end, nowMs: 2_000 })).toBe('fail');
  });

  it('never fails a job for busy miners alone before its deadline', () => {
    fc.assert(
      fc.property(fc.nat(2), fc.nat(3), fc.nat(3), (attemptsCharged, othersFree, othersBusy) => {
        expect(afterAttempt({ ...end, outcome: 'busy', attemptsCharged, othersFree, othersBusy })).not.toBe('fail');
      }),
    );
  });
});
