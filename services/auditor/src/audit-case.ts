/** An audit with all that its decision needs: the target, the replays so far, and who could replay. Read in one query. */
import type { Engine, JobInput, JobKind, JobResult, JobState, RoutingRule } from '@studio/shared/domain/job';
import type { Policy } from '@studio/shared/domain/policy';

/** Why a job is audited. `canary`: the reference knew the answer before; `appeal`: its miner objects to the first verdict. */
export type AuditReason = 'draw' | 'floor' | 'copy' | 'replica' | 'canary' | 'appeal';

export interface AuditCase {
  id: string;
  /** 2: an appeal. Its verdict corrects the first one or lets it stand. */
  round: 1 | 2;
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
  /** The client wants no peer to see the input: references only. */
  private: boolean;
  /** The job's epoch is being closed: whoever cannot be had now will not come in time. Never so for an appeal. */
  closing: boolean;
  /** Everybody whose miner has seen this input, for the target or for a replay. */
  seenBy: string[];
  /** By ordinal, ascending. */
  replays: ReplayRow[];
}

/** What spoke against the result before any replay: it looks like another job's, which was asked for something else. */
export type Suspicion = AdapterSuspicion | PictureSuspicion;

export interface AdapterSuspicion {
  /** Absent in what was stored before pictures were compared. */
  of?: 'adapter';
  /** The job whose adapter this one copies, and the |cosine| between the two. */
  copyOf: string;
  cosine: number;
  /** Mean absolute difference of the two training images' thumbnails, of 255; null when one could not be read. */
  imageDifference: number | null;
}

export interface PictureSuspicion {
  of: 'picture';
  /** The job one of whose pictures this one copies; its own, when it gives one picture for two seeds. */
  copyOf: string;
  /** Which of the job's pictures, from 0. */
  picture: number;
  /** Bits of 256 in which the DCT hashes differ; null when the pixels are equal. */
  distance: number | null;
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
