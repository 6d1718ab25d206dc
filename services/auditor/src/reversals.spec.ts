import fc from 'fast-check';
import { awardId, reversalId } from './ledger-entries';
import { reversalsDue, type Conviction, type OpenAward, type Reversal } from './reversals';

const award = (jobId: string, fields: Partial<OpenAward> = {}): OpenAward => ({
  jobId,
  hotkey: 'miner',
  kind: 'lora-inference',
  epoch: 5,
  points: 300n,
  policyVersion: 1,
  at: 0,
  compared: false,
  ...fields,
});
const conviction = (jobId: string, fields: Partial<Conviction> = {}): Conviction => ({
  jobId,
  q: 1,
  kappa: 1,
  reason: 'image differs',
  ...fields,
});
const jobs = (reversals: readonly Reversal[]): string[] => reversals.map(({ entry }) => entry.jobId);
const none = new Map<string, string>();

describe('reversals at a close', () => {
  it('takes back exactly what the award gave, in the award’s epoch', () => {
    const [reversal] = reversalsDue([award('a', { compared: true })], [conviction('a')], none);
    expect(reversal?.conviction).toBe('a');
    expect(reversal?.entry).toEqual({
      id: reversalId('a'),
      type: 'reversal',
      hotkey: 'miner',
      kind: 'lora-inference',
      jobId: 'a',
      epoch: 5,
      points: '-300',
      reason: 'audit: image differs',
      policyVersion: 1,
    });
    expect(reversalId('a')).not.toBe(awardId('a'));
  });

  it('takes the nearest unaudited awards of the same miner and kind along, more of them the rarer the audits', () => {
    const awards = [
      award('bad', { at: 100, compared: true }),
      ...Array.from({ length: 60 }, (_, n) => award(`n${String(n).padStart(2, '0')}`, { at: 101 + n })),
      award('audited', { at: 100, compared: true }),
      award('other-kind', { at: 100, kind: 'lora-training' }),
      award('other-miner', { at: 100, hotkey: 'else' }),
    ];
    expect(jobs(reversalsDue(awards, [conviction('bad')], none))).toEqual(['bad', 'n00', 'n01', 'n02']);
    expect(reversalsDue(awards, [conviction('bad', { q: 0.1 })], none)).toHaveLength(31);
    expect(reversalsDue(awards, [conviction('bad', { q: 0.1, kappa: 0.51 })], none)).toHaveLength(60);
    expect(reversalsDue(awards, [conviction('bad', { q: null })], none)).toHaveLength(4);
    expect(reversalsDue(awards, [conviction('bad', { q: 0 })], none)).toHaveLength(61);
  });

  it('gives each conviction neighbours of its own', () => {
    const awards = [
      award('bad-1', { at: 100, compared: true }),
      award('bad-2', { at: 101, compared: true }),
      ...Array.from({ length: 20 }, (_, n) => award(`n${n}`, { at: 102 + n })),
    ];
    expect(reversalsDue(awards, [conviction('bad-1'), conviction('bad-2')], none)).toHaveLength(2 + 3 + 3);
  });

  it('does nothing about a conviction whose award is final or was reversed before', () => {
    expect(reversalsDue([award('near')], [conviction('gone')], none)).toEqual([]);
  });

  it('takes everything from a quarantined miner, each under the nearest reason', () => {
    const awards = [award('bad', { compared: true }), ...['n1', 'n2', 'n3', 'n4'].map((id) => award(id))];
    const entries = reversalsDue(awards, [conviction('bad')], new Map([['miner', 'too many failures']]));
    expect(entries.map(({ conviction: because }) => because)).toEqual(['bad', 'bad', 'bad', 'bad', null]);
    expect(entries.map(({ entry }) => entry.reason.split(':')[0])).toEqual([
      'audit',
      'neighbour of invalid job bad',
      'neighbour of invalid job bad',
      'neighbour of invalid job bad',
      'quarantined',
    ]);
  });

  it('decides the same in whatever order rows arrive, and reverses no award twice', () => {
    const rows = fc.uniqueArray(
      fc.record({
        jobId: fc.uuid(),
        hotkey: fc.constantFrom('a', 'b'),
        at: fc.integer({ min: 0, max: 20 }),
        compared: fc.boolean(),
        bad: fc.boolean(),
      }),
      { selector: ({ jobId }) => jobId, maxLength: 40 },
    );
    fc.assert(
      fc.property(rows, fc.boolean(), fc.infiniteStream(fc.nat()), (list, quarantine, numbers) => {
        const awards = list.map(({ bad: _bad, ...fields }) => award(fields.jobId, fields));
        const convictions = list.filter(({ bad }) => bad).map(({ jobId }) => conviction(jobId, { q: 0.5 }));
        const quarantined = quarantine ? new Map([['a', 'why']]) : none;
        const shuffled = <T>(items: T[]): T[] =>
          items
            .map((item) => ({ item, key: numbers.next().value ?? 0 }))
            .sort((x, y) => x.key - y.key)
            .map(({ item }) => item);
        const due = reversalsDue(awards, convictions, quarantined);
        expect(reversalsDue(shuffled(awards), shuffled(convictions), quarantined)).toEqual(due);
        expect(new Set(jobs(due)).size).toBe(due.length);
      }),
    );
  });
});
