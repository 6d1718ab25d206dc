import type { AuditGround } from '@studio/shared/testing/audit-ground';
import { Comparators } from './comparators/comparators';
import { ReplayStore } from './replay.store';
import { Replays, type ReplayEvents } from './replays';
import { VerdictStore } from './verdict.store';

const nothing = (): void => undefined;

/** Nothing is looked into: for tests of results that are compared by their hashes. */
const HASHES_ALONE = new Comparators(
  { read: () => Promise.resolve(null) },
  { pictures: () => Promise.reject(new Error('unused')), functional: () => Promise.reject(new Error('unused')) },
);

/** Replays on a test's ground; who is told of what is up to the test. */
export function replaysOn(
  { source, nats }: AuditGround,
  events: Partial<ReplayEvents> = {},
  comparators: Pick<Comparators, 'of'> = HASHES_ALONE,
): Replays {
  const log = { info: nothing, warn: nothing };
  const told = { decided: nothing, quarantined: nothing, corrected: nothing, ...events };
  return new Replays(new ReplayStore(source), new VerdictStore(source), comparators, nats, log, told);
}
