import { estimate } from './estimate';

const LATEST = { samples: 100, medianShare: 0.1, quantileShare: 0.3 };
const JOB = { ahead: 0, slots: 4, timeoutMs: 10_000, elapsedMs: 0 };

describe('the estimate of a job’s end', () => {
  it('is the latest jobs’ own time where nobody waits', () => {
    expect(estimate(JOB, LATEST, 20)).toEqual({ medianMs: 1_000, p95Ms: 3_000 });
  });

  it('adds a round for as many as are done at a time', () => {
    expect(estimate({ ...JOB, ahead: 3 }, LATEST, 20)).toEqual({ medianMs: 1_000, p95Ms: 3_000 });
    expect(estimate({ ...JOB, ahead: 9 }, LATEST, 20)).toEqual({ medianMs: 3_000, p95Ms: 5_000 });
  });

  it('takes off what has passed, and is never below nothing', () => {
    expect(estimate({ ...JOB, elapsedMs: 1_500 }, LATEST, 20)).toEqual({ medianMs: 0, p95Ms: 1_500 });
  });

  it('is none where too little is known, or nobody is there', () => {
    expect(estimate(JOB, undefined, 20)).toBeUndefined();
    expect(estimate(JOB, { ...LATEST, samples: 19 }, 20)).toBeUndefined();
    expect(estimate({ ...JOB, slots: 0 }, LATEST, 20)).toBeUndefined();
  });
});
