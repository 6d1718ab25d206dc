/** An audit with all that its decision needs: the target, the replays so far, and who could replay. Read in one query. */
import type { Engine, JobInput, JobKind, JobResult, JobState, RoutingRule } from '@studio/shared/domain/job';
import type { Policy } from '@studio/shared/domain/policy';

export type AuditReason = 'draw' | 'floor' | 'copy' | 'replica';

export interface AuditCase {
  id: string;
  why: AuditReason;
  suspicion: Suspicion | null;
  jobId: string;
  attemptNo: number;
  hotkey: string;
  operator: string;
  kind: JobKind;
  engine: Engine;
  epoch: number;
  policy: Policy;
  /** Of the draw; null for a replica, which was not drawn. */
  q: number | null;
  u: string | null;
  input: JobInput;
  result: JobResult;
  /** The job's epoch is being closed: whoever cannot be had now will not come in time. */
  closing: boolean;
  /** Everybody whose miner has seen this input, for the target or for a replay. */
  seenBy: string[];
  /** By ordinal, ascending. */
  replays: ReplayRow[];
}

/** What spoke against the result before any replay. */
export interface Suspicion {
  /** The job whose adapter this one copies, and the |cosine| between the two. */
  copyOf: string;
  cosine: number;
  /** Mean absolute difference of the two training images' thumbnails, of 255; null when one could not be read. */
  imageDifference: number | null;
}

export interface ReplayRow {
  ordinal: number;
  judge: 'trusted' | 'peer';
  requestKey: string;
  routing: RoutingRule;
  /** Null until the job exists; it may exist before its submit was answered. */
  jobId: string | null;
  state: JobState | null;
  /** How long ago the replay ended without a result (failed, expired, cancelled, refused), in ms; null otherwise. */
  failedMsAgo: number | null;
  /** The result, once the replay's own job is in the books. */
  done: ReplayResult | null;
}

export interface ReplayResult {
  hotkey: string;
  operator: string;
  attemptNo: number;
  epoch: number;
  result: JobResult;
}

/** Who is there to replay a (kind, engine); quarantined and withdrawn miners are not. */
export interface Replayer {
  hotkey: string;
  operator: string;
  trusted: boolean;
}

/** The replays that have a result. */
export function finishedReplays(replays: readonly ReplayRow[]): (ReplayRow & { jobId: string; done: ReplayResult })[] {
  return replays.filter(
    (replay): replay is ReplayRow & { jobId: string; done: ReplayResult } =>
      replay.done !== null && replay.jobId !== null,
  );
}

/** The replays that may still give one. */
export function openReplays(replays: readonly ReplayRow[]): ReplayRow[] {
  return replays.filter((replay) => replay.done === null && replay.failedMsAgo === null);
}
