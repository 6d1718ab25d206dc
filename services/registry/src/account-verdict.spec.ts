import { toAccountVerdict, type VerdictRow } from './account-verdict';

const row: VerdictRow = {
  job_id: 'job-1',
  attempt: 1,
  kind: 'lora-inference',
  epoch: 3,
  outcome: 'invalid',
  reason: 'image differs',
  decided_at: new Date(0),
  evidence: {
    digest: 'a1',
    replays: [],
    draw: { why: 'copy', q: 0.1, u: '7', epoch: 3, policyVersion: 2 },
    suspicion: null,
    kappa: 1,
  },
  filed_at: null,
  appeal_reason: null,
  appeal_outcome: null,
  appeal_decided_at: null,
  appeal_verdict: null,
  corrected_by: null,
  correction: null,
  corrected_at: null,
};
type Suspicion = VerdictRow['evidence']['suspicion'];

describe('a verdict as its miner reads it, of what spoke against the result before any replay', () => {
  it.each<[string, Suspicion, unknown]>([
    ['nothing', null, null],
    [
      'an adapter like another, as it was stored before pictures were compared',
      { copyOf: 'job-0', cosine: 0.99, imageDifference: null },
      { of: 'adapter', copy_of: 'job-0', cosine: 0.99, image_difference: null },
    ],
    [
      'a picture like another',
      { of: 'picture', copyOf: 'job-0', picture: 1, distance: 5 },
      { of: 'picture', copy_of: 'job-0', picture: 1, distance: 5 },
    ],
  ])('names %s', (_, suspicion, expected) => {
    const { evidence } = toAccountVerdict({ ...row, evidence: { ...row.evidence, suspicion } });
    expect(evidence.suspicion).toEqual(expected);
  });
});
