import * as fc from 'fast-check';
import { decideVerdict, type Replay } from './audit-verdict';

const target = { hotkey: '5target', digest: 'T' };
const exact = (a: string, b: string) => a === b;

/** `trusted:T` is a replay by the reference that got the target's result; peers get hotkeys of their own. */
function replaysOf(...words: string[]): Replay[] {
  return words.map((word, i) => {
    const [by, digest] = word.split(':') as ['trusted' | 'peer', string];
    return { by, digest, hotkey: by === 'trusted' ? '5reference' : `5peer${i}` };
  });
}

function decide(words: string[], exhausted = false) {
  return decideVerdict({ target, replays: replaysOf(...words), agrees: exact, exhausted });
}

describe('audit verdict', () => {
  it.each<[string[], string, number | undefined]>([
    [[], 'need-replay', 1],
    [['trusted:T'], 'valid', undefined],
    [['peer:T'], 'valid', undefined],
    [['trusted:R'], 'need-confirmation', 1],
    [['peer:R'], 'need-confirmation', 2],
    [['trusted:R', 'trusted:R'], 'invalid', undefined],
    [['trusted:R', 'peer:R'], 'invalid', undefined],
    [['peer:R', 'trusted:R'], 'invalid', undefined],
    [['peer:R', 'peer:R'], 'need-confirmation', 1],
    [['trusted:R', 'peer:T'], 'need-confirmation', 1],
    [['trusted:R', 'peer:X'], 'need-confirmation', 1],
    [['trusted:R', 'peer:T', 'peer:R'], 'invalid', undefined],
    [['trusted:R', 'peer:X', 'peer:R'], 'invalid', undefined],
    [['trusted:R', 'peer:T', 'peer:T'], 'inconclusive', undefined],
    [['trusted:R', 'peer:X', 'peer:Y'], 'inconclusive', undefined],
    [['peer:R', 'peer:R', 'peer:R'], 'invalid', undefined],
    [['peer:R', 'peer:R', 'peer:X'], 'inconclusive', undefined],
    [['peer:R', 'peer:T', 'peer:R'], 'inconclusive', undefined],
    [['peer:R', 'trusted:T', 'peer:R'], 'inconclusive', undefined],
  ])('decides %j as %s', (words, outcome, next) => {
    const verdict = decide(words);
    expect(verdict.outcome).toBe(outcome);
    expect(verdict.next).toBe(next);
    expect(verdict.reason).toMatch(/\w.*\.$/);
  });

  it.each([[[]], [['trusted:R']], [['peer:R', 'peer:R']], [['trusted:R', 'peer:T']]])(
    'ends %j as inconclusive when no further replay can be had',
    (words) => expect(decide(words, true).outcome).toBe('inconclusive'),
  );

  it('still decides with what it has when exhausted', () => {
    expect(decide(['trusted:T'], true).outcome).toBe('valid');
    expect(decide(['trusted:R', 'peer:R'], true).outcome).toBe('invalid');
  });

  it("does not count the target's own miner on either side", () => {
    const own = { by: 'peer' as const, hotkey: target.hotkey, digest: 'T' };
    const replays = [own, ...replaysOf('trusted:R', 'trusted:R'), own];
    expect(decideVerdict({ target, replays, agrees: exact, exhausted: false }).outcome).toBe('invalid');
    expect(decideVerdict({ target, replays: [own], agrees: exact, exhausted: false }).outcome).toBe('need-replay');
  });

  it('asks all peers to agree with each other under a comparator with a tolerance', () => {
    // b is near a and c, but a and c are not near each other.
    const near = (a: string, b: string) => Math.abs(a.charCodeAt(0) - b.charCodeAt(0)) <= 1;
    const question = { target: { hotkey: '5t', digest: 'z' }, agrees: near, exhausted: false };
    expect(decideVerdict({ ...question, replays: replaysOf('peer:b', 'peer:a', 'peer:c') }).outcome).toBe(
      'inconclusive',
    );
    expect(decideVerdict({ ...question, replays: replaysOf('peer:b', 'peer:a', 'peer:b') }).outcome).toBe('invalid');
  });

  it('does not convict when a tolerant comparator leaves as many for the target as against it', () => {
    const near = (a: string, b: string) => Math.abs(a.charCodeAt(0) - b.charCodeAt(0)) <= 1;
    const question = { target: { hotkey: '5t', digest: 'd' }, agrees: near, exhausted: false };
    const replays = replaysOf('trusted:b', 'peer:e', 'peer:c');
    expect(decideVerdict({ ...question, replays }).outcome).toBe('inconclusive');
  });

  const replay = fc.tuple(fc.constantFrom('trusted', 'peer'), fc.constantFrom('T', 'R', 'X')).map((p) => p.join(':'));

  it('never convicts on one result, nor against as many that speak for the target, nor on two peers', () => {
    fc.assert(
      fc.property(fc.array(replay, { maxLength: 3 }), fc.boolean(), (words, exhausted) => {
        if (decide(words, exhausted).outcome !== 'invalid') return;
        const against = words.filter((word) => word.endsWith(':R') || word.endsWith(':X'));
        expect(against.length).toBeGreaterThanOrEqual(2);
        expect(against.length).toBeGreaterThan(words.length - against.length);
        expect(against.length === 3 || against.some((word) => word.startsWith('trusted'))).toBe(true);
      }),
    );
  });

  it('never convicts a miner whose result every honest replay shares, with one faulty or hostile replay', () => {
    fc.assert(
      fc.property(fc.nat(2), fc.constantFrom('trusted', 'peer'), (position, by) => {
        const words = ['trusted:T', 'peer:T', 'peer:T'];
        words[position] = `${by}:R`;
        for (let n = 0; n <= 3; n++) expect(decide(words.slice(0, n)).outcome).not.toBe('invalid');
      }),
    );
  });

  it('comes to an end after three replays', () => {
    fc.assert(
      fc.property(fc.array(replay, { minLength: 3, maxLength: 6 }), (words) => {
        expect(['valid', 'invalid', 'inconclusive']).toContain(decide(words).outcome);
      }),
    );
  });
});
