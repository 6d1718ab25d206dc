/**
 * A finished job enters the books: it is awarded at once, and drawn for an audit or not. The award must not wait for the
 * draw's outcome, or the delay would betray it.
 */
import { v7 as uuidv7 } from 'uuid';
import type { LedgerEntryMessage } from '@studio/shared/contract/ledger';
import { auditRate, isDrawn, wilsonLower } from '@studio/shared/domain/audit-sampling';
import type { Engine, JobKind } from '@studio/shared/domain/job';
import { voidLatencyUs } from '@studio/shared/domain/latency';
import { pointsFor } from '@studio/shared/domain/points';
import type { Policy } from '@studio/shared/domain/policy';
import { taskKind } from '@studio/shared/domain/task-kinds';
import { comparatorNamed } from './comparators/by-name';
import { drawU, exponentialDelayMs } from './draw';
import { awardEntry, awardId } from './ledger-entries';

/** A succeeded job that has no draw yet, with its accepted attempt. */
export interface FinishedJob {
  jobId: string;
  attemptNo: number;
  hotkey: string;
  operator: string;
  kind: JobKind;
  engine: Engine;
  /** T_max. */
  timeoutMs: number;
  /** Null or void: not measured, or spoiled by a fault of ours. */
  netUs: number | null;
  void: boolean;
  /** As Postgres writes it: a Date would lose the microseconds. */
  finishedAt: string;
  /** A replay that the auditor itself asked for: awarded, never drawn. */
  house: boolean;
  /** Done by a reference: neither awarded nor drawn. */
  trusted: boolean;
  /** Of trainings: the photograph's pixels and the LoRA's file. */
  imageHash: string | null;
  loraSha256: string | null;
}

/** What is known of a (miner, kind) before the batch; by `minerKind`. */
export interface MinerRecord {
  jobsSeen: number;
  audits: number;
  passes: number;
  cusum: number;
  /** Latest accepted, valid samples in µs, newest first. Only filled where the batch has a void sample. */
  recentUs: number[];
}

export interface IntakeBatch {
  epoch: number;
  policy: Policy;
  secret: Uint8Array;
  jobs: FinishedJob[];
  records: ReadonlyMap<string, MinerRecord>;
}

/** One row of `draws`. */
export interface DrawRow extends FinishedJob {
  epoch: number;
  policyVersion: number;
  latencyUs: number;
  points: bigint;
  awardId: string | null;
  q: number | null;
  u: bigint | null;
  drawn: boolean;
}

/** What one batch writes. */
export interface Filing {
  draws: DrawRow[];
  audits: { id: string; jobId: string; delayMs: number }[];
  awards: LedgerEntryMessage[];
  /** Drawable jobs per (miner, kind). */
  seen: ReadonlyMap<string, number>;
}

export const minerKind = (hotkey: string, kind: JobKind): string => `${hotkey}|${kind}`;

const NO_RECORD: MinerRecord = { jobsSeen: 0, audits: 0, passes: 0, cusum: 0, recentUs: [] };

/** Decides a whole batch, in the order of the jobs' ends: each raises its miner's `jobsSeen` for the next. */
export function fileJobs(batch: IntakeBatch, delayMs: (meanMs: number) => number = exponentialDelayMs): Filing {
  const filing = { draws: [] as DrawRow[], audits: [] as Filing['audits'], awards: [] as LedgerEntryMessage[] };
  const seen = new Map<string, number>();
  for (const job of batch.jobs) {
    const key = minerKind(job.hotkey, job.kind);
    const before = seen.get(key) ?? 0;
    const row = fileJob(job, batch, before);
    filing.draws.push(row);
    if (row.awardId) filing.awards.push(awardEntry(row, awardReason(row)));
    if (row.q !== null) seen.set(key, before + 1);
    if (row.drawn) {
      filing.audits.push({ id: uuidv7(), jobId: job.jobId, delayMs: delayMs(batch.policy.audit.meanDelayMs) });
    }
  }
  return { ...filing, seen };
}

function fileJob(job: FinishedJob, { epoch, policy, secret, records }: IntakeBatch, seenInBatch: number): DrawRow {
  const record = records.get(minerKind(job.hotkey, job.kind)) ?? NO_RECORD;
  const latencyUs = latencyOf(job, record, policy);
  const subject = { ...job, epoch, policyVersion: policy.version, latencyUs };
  if (job.trusted) return { ...subject, points: 0n, awardId: null, q: null, u: null, drawn: false };
  const points = isJudged(job) ? earned(job, latencyUs, policy) : 0n;
  const awarded = { ...subject, points, awardId: awardId(job.jobId) };
  if (job.house) return { ...awarded, q: null, u: null, drawn: false };
  const lower = wilsonLower(record.passes, record.audits, policy.audit.wilsonZ);
  const q = auditRate(
    { jobsSeen: record.jobsSeen + seenInBatch, cusum: record.cusum, wilsonLower: lower },
    policy.audit,
  );
  const u = drawU(secret, job.jobId);
  return { ...awarded, q, u, drawn: isDrawn(u, q) };
}

/** Results that nobody can compare earn nothing: otherwise a miner could pay itself with them (incentive.md). */
function isJudged({ kind, engine }: FinishedJob): boolean {
  return comparatorNamed(taskKind(kind, engine).comparator) !== undefined;
}

function earned({ kind, engine, timeoutMs }: FinishedJob, latencyUs: number, policy: Policy): bigint {
  const { weightMicro } = taskKind(kind, engine);
  return pointsFor({ weightMicro, tMaxMs: timeoutMs, latencyUs, cutoffShare: policy.latencyCutoffShare });
}

function awardReason(row: DrawRow): string {
  const done = `completed in ${seconds(row.latencyUs)} s`;
  return isJudged(row) ? done : `${done}; unpaid, because results of ${row.engine} cannot be compared yet`;
}

function latencyOf(job: FinishedJob, record: MinerRecord, policy: Policy): number {
  if (!job.void && job.netUs !== null) return job.netUs;
  return voidLatencyUs(record.recentUs, job.timeoutMs, policy.latencyCutoffShare);
}

function seconds(us: number): string {
  return (us / 1_000_000).toFixed(3);
}
