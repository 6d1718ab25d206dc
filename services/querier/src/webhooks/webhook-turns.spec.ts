import fc from 'fast-check';
import { fullTargets, pickFairly, type Waiting } from './webhook-turns';

const LIMITS = { atOnce: 8, perClient: 4, perTarget: 3 };
let made = 0;
const due = (clientId: string, target: string): Waiting => ({ jobId: String((made += 1)), clientId, target });
const many = (count: number, clientId: string, target: string): Waiting[] =>
  Array.from({ length: count }, () => due(clientId, target));

describe('whose webhooks are tried next', () => {
  it("leaves room for a client's other receivers beside a slow one", () => {
    const slow = many(9, 'a', 'slow');
    const quick = due('a', 'quick');
    expect(pickFairly([...slow, quick], [], LIMITS)).toEqual([...slow.slice(0, 3), quick]);
    expect(fullTargets(slow.slice(0, 3), LIMITS)).toEqual(['slow']);
    expect(pickFairly([...slow.slice(3), quick], slow.slice(0, 3), LIMITS)).toEqual([quick]);
  });

  it('leaves room for other clients beside one with many receivers', () => {
    const greedy = ['p', 'q', 'r', 's', 't', 'u'].flatMap((target) => many(3, 'greedy', target));
    const other = due('other', 'z');
    expect(pickFairly([...greedy, other], [], LIMITS)).toEqual([...greedy.slice(0, 4), other]);
  });

  it('counts a receiver that two clients name once', () => {
    const shared = [due('a', 'x'), due('b', 'x'), due('a', 'x'), due('b', 'x')];
    expect(pickFairly(shared, [], LIMITS)).toEqual(shared.slice(0, 3));
  });

  it('keeps every limit, and picks whatever the limits allow', () => {
    const lane = fc.record({ clientId: fc.constantFrom('a', 'b', 'c'), target: fc.constantFrom('x', 'y', 'z') });
    fc.assert(
      fc.property(fc.array(lane, { maxLength: 30 }), (lanes) => {
        const waiting = lanes.map(({ clientId, target }) => due(clientId, target));
        const picked = pickFairly(waiting, [], LIMITS);
        const count = (key: 'clientId' | 'target', value: string): number =>
          picked.filter((each) => each[key] === value).length;
        expect(picked.length).toBeLessThanOrEqual(LIMITS.atOnce);
        for (const each of picked) {
          expect(count('clientId', each.clientId)).toBeLessThanOrEqual(LIMITS.perClient);
          expect(count('target', each.target)).toBeLessThanOrEqual(LIMITS.perTarget);
        }
        for (const left of waiting.filter((each) => !picked.includes(each))) {
          const isFull =
            picked.length === LIMITS.atOnce ||
            count('clientId', left.clientId) === LIMITS.perClient ||
            count('target', left.target) === LIMITS.perTarget;
          expect(isFull).toBe(true);
        }
      }),
    );
  });
});
