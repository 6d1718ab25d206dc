import fc from 'fast-check';
import { isQuarantined, step } from '@studio/shared/domain/cusum';
import { DEFAULT_POLICY } from '@studio/shared/domain/policy';
import { standingOf, type CountedQuarantine, type CountedVerdict } from './standing';

const { audit } = DEFAULT_POLICY;
const verdict = (at: number, failed: boolean, fields: Partial<CountedVerdict> = {}): CountedVerdict => ({
  kind: 'lora-inference',
  failed,
  corrected: false,
  at,
  ...fields,
});
const failures = (from: number, count: number): CountedVerdict[] =>
  Array.from({ length: count }, (_, n) => verdict(from + n, true));
const quarantine = (at: number, id = `q${at}`): CountedQuarantine => ({ ids: [id], at, lifted: false });

describe('what stands after corrections', () => {
  it('keeps a quarantine that the remaining verdicts carry, those that came during it included', () => {
    const four = failures(1, 4);
    expect(standingOf(four, [quarantine(3.5)], audit).fallen).toEqual([]);
    const corrected = [{ ...four[0]!, corrected: true }, ...four.slice(1)];
    expect(standingOf(corrected, [quarantine(3.5)], audit)).toMatchObject({ fallen: [], since: 3.5 });
  });

  it('lets a quarantine fall that they do not carry, and counts on from before it', () => {
    const three = failures(1, 3).map((one, index) => ({ ...one, corrected: index === 1 }));
    const { fallen, records, since } = standingOf([...three, verdict(5, false)], [quarantine(3.5)], audit);
    expect(fallen).toEqual(['q3.5']);
    expect(since).toBeUndefined();
    expect(records.get('lora-inference')).toEqual({ audits: 3, passes: 1, cusum: 2 * 3.912 - 0.0503 });
  });

  it('judges each quarantine by what came since the one before', () => {
    const verdicts = [...failures(1, 3), ...failures(11, 3).map((one) => ({ ...one, corrected: true }))];
    const { fallen, since } = standingOf(verdicts, [quarantine(3.5), quarantine(13.5)], audit);
    expect(fallen).toEqual(['q13.5']);
    expect(since).toBe(3.5);
  });

  it('counts kinds apart, and leaves a lifted quarantine out', () => {
    const mixed = [verdict(1, true), verdict(2, true), verdict(3, true, { kind: 'lora-training' })];
    expect(standingOf(mixed, [quarantine(3.5)], audit).fallen).toEqual(['q3.5']);
    expect(standingOf(mixed, [{ ...quarantine(3.5), lifted: true }], audit).fallen).toEqual([]);
  });

  it('comes out as the record was kept, verdict by verdict, when nothing is corrected', () => {
    const history = fc.array(fc.record({ failed: fc.boolean(), training: fc.boolean() }), { maxLength: 60 });
    fc.assert(
      fc.property(history, (steps) => {
        const verdicts = steps.map(({ failed, training }, at) =>
          verdict(at, failed, training ? { kind: 'lora-training' } : {}),
        );
        const kept = new Map<string, { audits: number; passes: number; cusum: number }>();
        const quarantines: CountedQuarantine[] = [];
        for (const { kind, failed, at } of verdicts) {
          const before = kept.get(kind) ?? { audits: 0, passes: 0, cusum: 0 };
          const cusum = step(before.cusum, failed, audit);
          kept.set(kind, { audits: before.audits + 1, passes: before.passes + (failed ? 0 : 1), cusum });
          if (!failed || !isQuarantined(cusum, audit)) continue;
          kept.clear();
          quarantines.push(quarantine(at + 0.5));
        }
        const { fallen, records, since } = standingOf(verdicts, quarantines, audit);
        expect(fallen).toEqual([]);
        expect(since).toBe(quarantines.at(-1)?.at);
        expect(records).toEqual(kept);
      }),
    );
  });
});
