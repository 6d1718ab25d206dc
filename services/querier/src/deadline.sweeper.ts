import type { Logger } from '@studio/shared/platform/logger';
import { Sweeper } from '@studio/shared/platform/sweeper';
import type { JobStore } from './job.store';

/** A job has to end by its deadline + 2 leases (architecture.md, invariant 2); this is far inside. */
const SWEEP_MS = 500;
const BATCH = 200;

/** Ends jobs that are past their deadline, whoever holds them. Any number of replicas may run it. */
export function deadlineSweeper(jobs: JobStore, onExpired: () => void, log: Pick<Logger, 'error'>): Sweeper {
  return new Sweeper({
    name: 'deadlines',
    everyMs: SWEEP_MS,
    log,
    run: async () => {
      const expired = await jobs.expire(BATCH);
      if (expired > 0) onExpired();
      return expired === BATCH;
    },
  });
}
