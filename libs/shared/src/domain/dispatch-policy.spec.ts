import * as fc from 'fast-check';
import {
  afterAttempt,
  chooseMiner,
  isEligible,
  TURN_MICRO,
  type AttemptEnd,
  type Candidate,
  type TurnPolicy,
} from './dispatch-policy';

const NOBODY = { tried: new Set<string>(), excludeOperators: new Set<string>() };
const NOW = 1_000_000;
const POLICY: TurnPolicy = { exploreAfterMs: 120_000, loraLeadTurns: 2 };

function miner(hotkey: string, fields: Partial<Candidate> = {}): Candidate {
  const turns = { operatorTurns: 0, minerTurns: 0, askedAtMs: NOW };
  return { hotkey, operator: `op-${hotkey}`, slots: 2, freeSlots: 2, ...turns, holdsLora: false, ...fields };
}

function choose(
  list: readonly Candidate[],
  exclusions = NOBODY,
  policy = POLICY,
  preferred?: string,
): string | undefined {
  return chooseMiner(list, exclusions, NOW, policy, preferred)?.hotkey;
}

const candidates = fc.uniqueArray(
  fc.record({
    hotkey: fc.string({ minLength: 1, maxLength: 3 }),
    operator: fc.constantFrom('x', 'y', 'z'),
    slots: fc.integer({ min: 1, max: 8 }),
    freeSlots: fc.nat(3),
    operatorTurns: fc.nat(4).map((turns) => turns * TURN_MICRO),
    minerTurns: fc.nat(4).map((turns) => turns * TURN_MICRO),
    askedAtMs: fc.constantFrom(0, NOW - 120_000, NOW - 119_999, NOW),
    holdsLora: fc.boolean(),
  }),
  { selector: ({ hotkey }) => hotkey, maxLength: 12 },
);

/** The published order in one sort: whoever comes first of those with a free slot. */
function orderOf(list: readonly Candidate[]): string[] {
  const free = list.filter(({ freeSlots }) => freeSlots > 0);
  const least = (items: readonly Candidate[], key: 'operatorTurns' | 'minerTurns') =>
    Math.min(...items.map((item) => item[key]));
  const rank = (item: Candidate): (number | string)[] => {
    const siblings = free.filter(({ operator }) => operator === item.operator);
    const ahead = Math.max(
      item.operatorTurns - least(free, 'operatorTurns'),
      item.minerTurns - least(siblings, 'minerTurns'),
    );
    const neglected = NOW - item.askedAtMs >= POLICY.exploreAfterMs;
    const preferred = item.holdsLora && ahead <= POLICY.loraLeadTurns * TURN_MICRO;
    const group = neglected ? 0 : preferred ? 1 : 2;
    return [group, neglected ? item.askedAtMs : 0, item.operatorTurns, item.minerTurns, item.hotkey];
  };
  const compare = (a: (number | string)[], b: (number | string)[]): number => {
    const at = a.findIndex((value, i) => value !== b[i]);
    return at < 0 ? 0 : a[at]! < b[at]! ? -1 : 1;
  };
  return free.sort((a, b) => compare(rank(a), rank(b))).map(({ hotkey }) => hotkey);
}

describe('choice of a miner', () => {
  it('asks first who was not asked for long, then the operator and then the miner that is furthest behind', () => {
    const behind = miner('a', { operatorTurns: 1 });
    expect(choose([behind, miner('b', { operatorTurns: 9, askedAtMs: NOW - 120_000 })])).toBe('b');
    expect(choose([behind, miner('b', { operatorTurns: 2 })])).toBe('a');
    const siblings = [miner('a', { operator: 'x', minerTurns: 5 }), miner('b', { operator: 'x', minerTurns: 4 })];
    expect(choose(siblings)).toBe('b');
    expect(choose([miner('b'), miner('a')])).toBe('a');
  });

  it('follows the published order for any candidates', () => {
    fc.assert(
      fc.property(candidates, (list) => expect(choose(list)).toBe(orderOf(list)[0])),
      { numRuns: 500 },
    );
  });

  it('prefers a holder of the LoRA only while it is ahead by the bound at most', () => {
    const others = [miner('a'), miner('b', { operatorTurns: 2 * TURN_MICRO, minerTurns: TURN_MICRO, holdsLora: true })];
    expect(choose(others)).toBe('b');
    expect(choose(others, NOBODY, { ...POLICY, loraLeadTurns: 1 })).toBe('a');
    const siblings = others.map((candidate) => ({ ...candidate, operator: 'x', operatorTurns: 0 }));
    siblings[1]!.minerTurns = 3 * TURN_MICRO;
    expect(choose(siblings)).toBe('a');
  });

  it('passes over full, tried and excluded miners', () => {
    const list = [miner('a', { freeSlots: 0 }), miner('b'), miner('c', { operator: 'mine' }), miner('d')];
    const exclusions = { tried: new Set(['b']), excludeOperators: new Set(['mine']) };
    expect(choose(list, exclusions)).toBe('d');
    expect(list.filter((candidate) => isEligible(candidate, exclusions)).map(({ hotkey }) => hotkey)).toEqual([
      'a',
      'd',
    ]);
    expect(choose([])).toBeUndefined();
  });

  it('does not depend on the order of the candidates', () => {
    fc.assert(fc.property(candidates, (list) => expect(choose([...list].reverse())).toBe(choose(list))));
  });

  it('shares a long run of jobs in proportion to the slots, whichever of them hold the LoRA', () => {
    const capacities = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(capacities, fc.array(fc.boolean(), { minLength: 50, maxLength: 200 }), (slots, warm) => {
        const list = slots.map((n, i) => miner(`m${i}`, { slots: n, freeSlots: n }));
        const turns = new Map(list.map(({ hotkey }) => [hotkey, 0]));
        for (const holdsLora of warm) {
          for (const candidate of list) candidate.holdsLora = holdsLora && candidate.hotkey === 'm0';
          const chosen = chooseMiner(list, NOBODY, NOW, POLICY)!;
          turns.set(chosen.hotkey, turns.get(chosen.hotkey)! + 1);
          chosen.operatorTurns += Math.floor(TURN_MICRO / chosen.slots);
          chosen.minerTurns = chosen.operatorTurns;
        }
        const loads = list.map(({ hotkey, slots: n }) => turns.get(hotkey)! / n);
        // One turn of its own, and the lead of a holder.
        expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1.001 + POLICY.loraLeadTurns);
      }),
    );
  });
});

describe('a job that prefers a miner', () => {
  it('gives it to that miner exactly when it may have it and has a free slot, and otherwise changes nothing', () => {
    fc.assert(
      fc.property(candidates, fc.nat(12), fc.boolean(), (list, at, wasTried) => {
        const preferred = list[at];
        fc.pre(preferred !== undefined);
        const exclusions = { ...NOBODY, tried: new Set(wasTried ? [preferred.hotkey] : []) };
        const isFree = !wasTried && preferred.freeSlots > 0;
        const expected = isFree ? preferred.hotkey : choose(list, exclusions);
        expect(choose(list, exclusions, POLICY, preferred.hotkey)).toBe(expected);
      }),
      { numRuns: 500 },
    );
    expect(choose([miner('a'), miner('b')], NOBODY, POLICY, 'nobody')).toBe('a');
  });

  it('decides when a miner is asked, not how often in the long run', () => {
    const capacities = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 2, maxLength: 6 });
    fc.assert(
      fc.property(capacities, fc.array(fc.nat(5), { maxLength: 40 }), (slots, preferences) => {
        const list = slots.map((n, i) => miner(`m${i}`, { slots: n, freeSlots: n }));
        const turns = new Map(list.map(({ hotkey }) => [hotkey, 0]));
        const give = (preferred?: string): void => {
          const chosen = chooseMiner(list, NOBODY, NOW, POLICY, preferred)!;
          turns.set(chosen.hotkey, turns.get(chosen.hotkey)! + 1);
          chosen.operatorTurns += Math.floor(TURN_MICRO / chosen.slots);
          chosen.minerTurns = chosen.operatorTurns;
        };
        preferences.forEach((at) => give(`m${at % list.length}`));
        const loads = (): number[] => list.map(({ hotkey, slots: n }) => turns.get(hotkey)! / n);
        // As many clients' jobs as the others need to catch up with the one that was preferred most.
        const most = Math.max(...loads());
        const missing = list.reduce((sum, { slots: n }, i) => sum + Math.ceil(n * (most - loads()[i]!)), 0);
        for (let n = 0; n < missing; n += 1) give();
        expect(Math.max(...loads()) - Math.min(...loads())).toBeLessThanOrEqual(1.001);
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
