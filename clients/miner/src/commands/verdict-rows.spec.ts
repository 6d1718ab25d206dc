import type { AccountVerdict } from '@studio/shared/contract/miners';
import { verdictRows } from './verdict-rows';

const verdict: AccountVerdict = {
  job_id: 'job-1',
  attempt: 1,
  kind: 'lora-inference',
  epoch: 4,
  outcome: 'invalid',
  reason: 'image 1 of 1 differs',
  decided_at: '2026-01-01T00:00:00.000Z',
  evidence: {
    digest: 'a1'.repeat(32),
    replays: [
      { judge: 'trusted', digest: 'b2'.repeat(32), agrees: false, distances: [{ dctDistance: 40, ssim: 0.71239 }] },
      { judge: 'peer', digest: 'a1'.repeat(32), agrees: true, distances: null },
    ],
    kappa: 1,
    draw: { why: 'draw', q: 0.1, u: '7', epoch: 4, policy_version: 2 },
    suspicion: null,
  },
  appeal: null,
  corrected: null,
};

const filed = { filed_at: '2026-01-02T00:00:00.000Z', reason: 'no' };
const rowOf = (fields: Partial<AccountVerdict> = {}) => verdictRows([{ ...verdict, ...fields }])[0]!;

describe('the row of a verdict', () => {
  it('says why the job was looked at and how each replay compares', () => {
    expect(rowOf().evidence).toBe(
      [
        'draw, q 0.1',
        'yours a1a1a1a1a1a1…',
        'reference differs: b2b2b2b2b2b2… (dctDistance 40, ssim 0.712)',
        'peer agrees',
      ].join('\n'),
    );
    const suspicion = { of: 'adapter' as const, copy_of: 'job-0', cosine: 0.99, image_difference: 30 };
    expect(rowOf({ evidence: { ...verdict.evidence, draw: null, suspicion } }).evidence).toMatch(
      /^compared without a draw\ncopy of job job-0\?/,
    );
  });

  it.each<[string, Partial<AccountVerdict>, string]>([
    ['that may be objected to', {}, 'stands: see `appeal`'],
    ['that is no reproach', { outcome: 'valid' }, ''],
    [
      'under appeal',
      { appeal: { ...filed, outcome: null, decided_at: null, verdict_reason: null } },
      'appeal of 2026-01-02T00:00:00.000Z: open',
    ],
    [
      'whose appeal was in vain',
      { appeal: { ...filed, outcome: 'invalid', decided_at: filed.filed_at, verdict_reason: 'it differs again' } },
      'stands after an appeal, invalid: it differs again',
    ],
    [
      'that was taken back',
      {
        appeal: { ...filed, outcome: 'valid', decided_at: filed.filed_at, verdict_reason: 'it is equal' },
        corrected: { cause: 'appeal', reason: 'it is equal', at: filed.filed_at },
      },
      'taken back (appeal): it is equal',
    ],
  ])('%s says so', (_what, fields, state) => {
    expect(rowOf(fields).state).toBe(state);
  });

  it('is there also of a registry that tells less', () => {
    expect(verdictRows([{ epoch: 1, job_id: 'job-1', outcome: 'valid' }])[0]).toMatchObject({ job_id: 'job-1' });
  });
});
