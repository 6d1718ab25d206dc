import fc from 'fast-check';
import { scoresAt, type LedgerEntry } from '@studio/shared/domain/score-window';
import { weightsFor } from '@studio/shared/domain/weights';
import { DEFAULT_POLICY } from '@studio/shared/domain/policy';
import { recomputeWeights } from './recompute';

/** Every job has an award, perhaps a reversal, and then perhaps a restoration. */
const ledger = fc
  .array(
    fc.record({
      hotkey: fc.constantFrom('alice', 'bob', 'carol', 'dave'),
      epoch: fc.integer({ min: 1, max: 6 }),
      points: fc.bigInt({ min: 0n, max: 700_000n }),
      entries: fc.integer({ min: 1, max: 3 }),
    }),
    { maxLength: 30 },
  )
  .map((jobs) =>
    jobs.flatMap(({ entries, points, ...fields }, index): LedgerEntry[] => {
      const kind = 'lora-training' as const;
      const rest = { ...fields, kind, id: '', jobId: String(index), reason: '', policyVersion: 1 };
      const all: LedgerEntry[] = [
        { ...rest, type: 'award', points },
        { ...rest, type: 'reversal', points: -points },
        { ...rest, type: 'restoration', points },
      ];
      return all.slice(0, entries);
    }),
  );

describe('the second computation of the weights', () => {
  it('comes to what the domain comes to, with reversals and restorations among the entries', () => {
    fc.assert(
      fc.property(ledger, fc.nat(4), fc.integer({ min: 1, max: 6 }), (rows, windowEpochs, epoch) => {
        const { temperature } = DEFAULT_POLICY;
        const scores = [...scoresAt(rows, { epoch, windowEpochs })].map(([key, { points }]) => [key, points] as const);
        const { miners } = weightsFor(new Map(scores), DEFAULT_POLICY);
        const again = recomputeWeights(rows, epoch, windowEpochs, temperature);
        const exact = ({ hotkey, points, u16 }: { hotkey: string; points: bigint; u16: number }) => ({
          hotkey,
          points,
          u16,
        });
        expect(again.map(exact)).toEqual(miners.map(exact));
      }),
    );
  });
});
