import type { Comparator } from '@studio/shared/domain/task-kinds';
import { exact } from './exact';
import type { ResultComparator } from './result-comparator';

/**
 * Perceptual results cannot be compared yet: their audits end as inconclusive, which never hurts a miner. Saying so is
 * better than a comparison that convicts by an uncalibrated threshold.
 */
const COMPARATORS: Readonly<Record<Comparator, ResultComparator | undefined>> = { exact, perceptual: undefined };

/** Undefined: results under this comparator cannot be compared. */
export function comparatorNamed(name: Comparator): ResultComparator | undefined {
  return COMPARATORS[name];
}
