/**
 * What is kept of one miner in one lane (a kind on an engine): its turns, when it was asked, what it has proven, its
 * circuit breaker. Every change gives the next revision, by which a store notices that a worker decided on an old copy.
 */
import { afterFailure, afterSuccess, CLOSED_BREAKER, type Breaker } from '@studio/shared/domain/circuit-breaker';
import type { RoutingPolicy } from '@studio/shared/domain/policy';
import { provenAfter, type HoldEnd, type RampStep } from '@studio/shared/domain/slot-ramp';

export interface MinerRecord {
  /** Grows by one with every change; 0 is never stored. */
  rev: number;
  /** Virtual time, see dispatch-policy.ts. */
  turns: number;
  /** 0: never. */
  askedAtMs: number;
  proven: number;
  breaker: Breaker;
}

export function newcomer(turns: number, proven: number): MinerRecord {
  return { rev: 0, turns, askedAtMs: 0, proven, breaker: CLOSED_BREAKER };
}

/** After a turn; `turns` is the virtual time that it ends at. */
export function asked(record: MinerRecord, turns: number, nowMs: number): MinerRecord {
  return { ...record, rev: record.rev + 1, turns, askedAtMs: nowMs };
}

export interface Lesson extends Omit<RampStep, 'proven'> {
  end: HoldEnd;
  nowMs: number;
}

/** What a hold's end teaches; undefined when nothing changes. */
export function learned(record: MinerRecord, lesson: Lesson, policy: RoutingPolicy): MinerRecord | undefined {
  const { end, nowMs, ...step } = lesson;
  const proven = provenAfter(end, { ...step, proven: record.proven });
  const breaker = breakerAfter(record.breaker, end, nowMs, policy);
  const same = proven === record.proven && breaker.failures === record.breaker.failures;
  return same && breaker.openUntilMs === record.breaker.openUntilMs
    ? undefined
    : { ...record, rev: record.rev + 1, proven, breaker };
}

function breakerAfter(breaker: Breaker, end: HoldEnd, nowMs: number, policy: RoutingPolicy): Breaker {
  switch (end) {
    case 'success':
      return afterSuccess();
    case 'failed':
    case 'unreachable':
    // Nothing but late, five times in a row: it accepts jobs and lets others do them.
    case 'late':
      return afterFailure(breaker, nowMs, policy);
    case 'busy':
    case 'released':
      return breaker;
  }
}

const FIELDS = 7;

/** The revision comes first: scripts compare it without knowing the rest. */
export function packRecord({ rev, turns, askedAtMs, proven, breaker }: MinerRecord): string {
  return [rev, turns, askedAtMs, proven, breaker.failures, breaker.trips, breaker.openUntilMs].join('|');
}

/** Undefined for anything but a packed record: another version of this program may share the Redis. */
export function unpackRecord(packed: string): MinerRecord | undefined {
  const [rev, turns, askedAtMs, proven, failures, trips, openUntilMs, ...rest] = packed.split('|').map(Number);
  const numbers = [rev, turns, askedAtMs, proven, failures, trips, openUntilMs];
  if (rest.length > 0 || numbers.length !== FIELDS || !numbers.every(Number.isSafeInteger)) return undefined;
  return {
    rev: rev!,
    turns: turns!,
    askedAtMs: askedAtMs!,
    proven: proven!,
    breaker: { failures: failures!, trips: trips!, openUntilMs: openUntilMs! },
  };
}
