import type { Engine } from '@studio/shared/domain/job';
import type { TaskKind } from '@studio/shared/domain/task-kinds';

/** Engines that the auditor can run itself, to try an adapter on: none but the CPU engine. */
const TRUSTED_ENGINES: ReadonlySet<Engine> = new Set<Engine>(['ref-sep-v1']);

/**
 * Whether results of this kind on this engine can be compared at all. Where they cannot, audits end as inconclusive and the
 * work is unpaid: saying so is better than a comparison that convicts by chance.
 */
export function isComparable({ comparator, engine }: Pick<TaskKind, 'comparator' | 'engine'>): boolean {
  return comparator !== 'functional' || TRUSTED_ENGINES.has(engine);
}
