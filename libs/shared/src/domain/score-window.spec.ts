import * as fc from 'fast-check';
import type { JobKind } from './job';
import { scoresAt, type LedgerEntry } from './score-window';

function award(fields: Partial<LedgerEntry> & { jobId: string }): LedgerEntry {
  return {
    id: `a-${fields.jobId}`,
    type: 'award',
    hotkey: 'miner-a',
    kind: 'lora-training',
    epoch: 10,
    points: 700_000n,
    reason: 'completed',
    policyVersion: 1,
    ...fields,
  };
}

function reversalOf(entry: LedgerEntry): LedgerEntry {
  return { ...entry, id: `r-${entry.jobId}`, type: 'reversal', points: -entry.points, reason: 'audit' };
}

function restorationOf(reversal: LedgerEntry): LedgerEntry {
  return { ...reversal, id: `b-${reversal.jobId}`, type: 'restoration', points: -reversal.points, reason: 'appeal' };
}

const WINDOW = { epoch: 10, windowEpochs: 20 };

/** A ledger in which every job has one award, perhaps a reversal, and then perhaps a restoration. */
const ledger = fc
  .array(
    fc.record({
      hotkey: fc.constantFrom('miner-a', 'miner-b', 'miner-c'),
      kind: fc.constantFrom<JobKind>('lora-training', 'lora-inference'),
      epoch: fc.integer({ min: 1, max: 12 }),
      points: fc.bigInt({ min: 0n, max: 700_000n }),
      fate: fc.constantFrom('stands', 'reversed', 'restored'),
    }),
    { maxLength: 40 },
  )
  .map((jobs) =>
    jobs.flatMap(({ fate, ...fields }, i) => {
      const entry = award({ jobId: `job-${i}`, ...fields });
      const all = [entry, reversalOf(entry), restorationOf(reversalOf(entry))];
      return all.slice(0, { stands: 1, reversed: 2, restored: 3 }[fate]);
    }),
  );

describe('score window', () => {
  it('sums points in all and by kind, and counts valid jobs', () => {
    const scores = scoresAt(
      [
        award({ jobId: '1' }),
        award({ jobId: '2', kind: 'lora-inference', points: 300_000n }),
        award({ jobId: '3', hotkey: 'miner-b', points: 1n }),
      ],
      WINDOW,
    );
    expect(scores.get('miner-a')).toEqual({
      points: 1_000_000n,
      pointsByKind: { 'lora-training': 700_000n, 'lora-inference': 300_000n },
      validJobs: 2,
    });
    expect(scores.get('miner-b')).toMatchObject({ points: 1n, validJobs: 1 });
  });

  it('scores a miner whose only valid job earned nothing, but not one whose every job was reversed', () => {
    const cheated = award({ jobId: '2', hotkey: 'miner-b' });
    const scores = scoresAt([award({ jobId: '1', points: 0n }), cheated, reversalOf(cheated)], WINDOW);
    expect([...scores.keys()]).toEqual(['miner-a']);
  });

  it('scores a miner again whose only job was restored, as if nothing had happened', () => {
    const wronged = award({ jobId: '1' });
    const reversal = reversalOf(wronged);
    const scores = scoresAt([wronged, reversal, restorationOf(reversal)], WINDOW);
    expect(scores).toEqual(scoresAt([wronged], WINDOW));
    expect(scores.get('miner-a')).toMatchObject({ points: 700_000n, validJobs: 1 });
  });

  it('drops an award, its reversal and its restoration together when their epoch leaves the window', () => {
    const old = award({ jobId: '1', epoch: 5 });
    const restored = award({ jobId: '3', epoch: 5 });
    const again = [reversalOf(restored), restorationOf(reversalOf(restored))];
    const entries = [old, reversalOf(old), award({ jobId: '2', epoch: 6 }), restored, ...again];
    expect(scoresAt(entries, { epoch: 8, windowEpochs: 4 }).get('miner-a')?.validJobs).toBe(2);
    expect(scoresAt(entries, { epoch: 8, windowEpochs: 3 }).get('miner-a')?.validJobs).toBe(1);
    expect(scoresAt(entries, { epoch: 8, windowEpochs: 2 }).size).toBe(0);
  });

  it('counts everything since the beginning for windowEpochs 0, but nothing of later epochs', () => {
    const entries = [
      award({ jobId: '1', epoch: 1 }),
      award({ jobId: '2', epoch: 1_000 }),
      award({ jobId: '3', epoch: 1_001 }),
    ];
    expect(scoresAt(entries, { epoch: 1_000, windowEpochs: 0 }).get('miner-a')?.validJobs).toBe(2);
  });

  it('gives the same snapshot, in the same order, for the ledger replayed in any order', () => {
    fc.assert(
      fc.property(
        ledger.chain((entries) =>
          fc.tuple(fc.constant(entries), fc.shuffledSubarray(entries, { minLength: entries.length })),
        ),
        fc.nat(5),
        ([entries, shuffled], windowEpochs) => {
          const window = { epoch: 10, windowEpochs };
          expect([...scoresAt(shuffled, window)]).toEqual([...scoresAt(entries, window)]);
        },
      ),
    );
  });

  it('equals the sum of the awards that were never reversed, or restored', () => {
    fc.assert(
      fc.property(ledger, (entries) => {
        const jobsOf = (type: LedgerEntry['type']) =>
          new Set(entries.filter((e) => e.type === type).map((e) => e.jobId));
        const [reversed, restored] = [jobsOf('reversal'), jobsOf('restoration')];
        const stands = ({ jobId }: LedgerEntry): boolean => !reversed.has(jobId) || restored.has(jobId);
        const valid = entries.filter((e) => e.type === 'award' && stands(e) && e.epoch <= 10);
        const scores = scoresAt(entries, { epoch: 10, windowEpochs: 0 });
        for (const hotkey of ['miner-a', 'miner-b', 'miner-c']) {
          const own = valid.filter((e) => e.hotkey === hotkey);
          const score = scores.get(hotkey);
          expect(score?.validJobs ?? 0).toBe(own.length);
          expect(score?.points ?? 0n).toBe(own.reduce((sum, e) => sum + e.points, 0n));
          expect(Object.values(score?.pointsByKind ?? {}).reduce((a, b) => a + b, 0n)).toBe(score?.points ?? 0n);
        }
      }),
    );
  });
});
