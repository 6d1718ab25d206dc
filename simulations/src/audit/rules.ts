/** The production's rules as most of the simulation takes them. */
import { DEFAULT_POLICY } from '@studio/shared/domain/policy';
import type { Rules } from './audited-miner';
import { seededDraws } from './draws';
import { referenceJudge } from './judges';
import type { Course } from './play';
import { PRODUCTION_FACTOR } from './reversal-factor';
import type { Size } from './setting';

/** Of an inference: a replay takes as long as a job. */
const REPLAY_MS = 10_000;

/** At ten draws in an epoch the floor of three audits seldom adds any. */
export const JOBS_PER_EPOCH = 100;

/** A trusted reference, results that are equal to the bit, verdicts after the policy's delay. */
export const RULES: Rules = {
  policy: DEFAULT_POLICY,
  draws: seededDraws(DEFAULT_POLICY),
  judge: referenceJudge(0),
  replayMs: REPLAY_MS,
  reversalFactor: PRODUCTION_FACTOR,
  honestLatency: 0,
};

/** As many as give the same number of jobs, however many fall into one. */
export function epochsOf(jobsPerEpoch: number, { epochs }: Pick<Size, 'epochs'>): number {
  return Math.ceil((epochs * JOBS_PER_EPOCH) / jobsPerEpoch);
}

export const course = (epochs: number, changes: Partial<Course> = {}): Course => ({
  ...RULES,
  epochs,
  jobsPerEpoch: JOBS_PER_EPOCH,
  remembered: 1,
  ...changes,
});
