import { blameOf } from '@studio/shared/domain/blame';
import fc from 'fast-check';
import { Reachability } from './reachability';

describe('Reachability', () => {
  let nowMs: number;
  let seen: Reachability;

  beforeEach(() => {
    nowMs = 1_000;
    seen = new Reachability(() => nowMs);
  });

  it('counts other operators only', () => {
    seen.answered('a');
    seen.failed('b');
    expect(seen.witness('a')).toEqual({ reached: 0, unreachable: 1 });
    expect(seen.witness('b')).toEqual({ reached: 1, unreachable: 0 });
    expect(seen.witness('c')).toEqual({ reached: 1, unreachable: 1 });
  });

  it('forgets what was seen more than ten seconds ago', () => {
    seen.answered('a');
    nowMs += 10_000;
    expect(seen.witness('c')).toEqual({ reached: 1, unreachable: 0 });
    nowMs += 1;
    expect(seen.witness('c')).toEqual({ reached: 0, unreachable: 0 });
  });

  it('takes it upon us when everybody answered until just now and nobody does any more', () => {
    for (const operator of ['a', 'b', 'c']) seen.answered(operator);
    nowMs += 3_000;
    for (const operator of ['a', 'b', 'c']) seen.failed(operator);
    expect(blameOf('connection', seen.witness('a'))).toBe('ours');
  });

  it('holds it against the one that is away while others answer', () => {
    seen.failed('a');
    nowMs += 1_000;
    seen.answered('b');
    seen.failed('c');
    expect(blameOf('connection', seen.witness('a'))).toBe('miner');
  });

  it('agrees with a full log of what was seen, whatever the order', () => {
    const event = fc.record({
      operator: fc.constantFrom('a', 'b', 'c', 'd'),
      reached: fc.boolean(),
      afterMs: fc.integer({ min: 0, max: 6_000 }),
    });
    fc.assert(
      fc.property(fc.array(event), fc.constantFrom('a', 'b', 'x'), (events, asked) => {
        const watch = new Reachability(() => nowMs);
        const log: { operator: string; reached: boolean; atMs: number }[] = [];
        for (const { operator, reached, afterMs } of events) {
          nowMs += afterMs;
          if (reached) watch.answered(operator);
          else watch.failed(operator);
          log.push({ operator, reached, atMs: nowMs });
        }
        const last = ['a', 'b', 'c', 'd']
          .filter((operator) => operator !== asked)
          .map((operator) => log.filter((entry) => entry.operator === operator).at(-1))
          .filter((entry) => entry !== undefined && entry.atMs >= nowMs - 10_000);
        const reached = last.filter((entry) => entry?.reached).length;
        expect(watch.witness(asked)).toEqual({ reached, unreachable: last.length - reached });
      }),
    );
  });

  it('keeps no more operators than it has room for', () => {
    for (let i = 0; i < 10_000; i += 1) seen.failed(`operator ${i}`);
    expect(seen.witness('x').unreachable).toBe(4_096);
  });

  it('makes room by forgetting whom it has not seen for longest', () => {
    seen.answered('a');
    for (let i = 1; i < 4_096; i += 1) seen.failed(`operator ${i}`);
    seen.answered('a');
    seen.failed('one more');
    expect(seen.witness('x')).toEqual({ reached: 1, unreachable: 4_095 });
  });
});
