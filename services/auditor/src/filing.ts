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
import { drawU } from '@studio/shared/protocol/draws';
import { isComparable } from './comparators/by-name';
import { exponentialDelayMs } from './draw';
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
  /** Only a reference may replay it. */
  private: boolean;
  /** Done by a reference: neither awarded nor drawn. */
  trusted: boolean;
  /** Of trainings: the photograph's pixels and the LoRA's file. */
  imageHash: string | null;
  loraSha256: string | null;
}

/**
 * What is known of a (miner, kind) before the batch. q is decided from it; it is stored and exported with the draw, so that anyone
 * can decide q again.
 */
export interface DrawRecord {
  jobsSeen: number;
  audits: number;
  passes: number;
  cusum: number;
}

/** Who could replay the jobs of one (kind, engine), now. */
export interface Judges {
  trusted: boolean;
  operators: ReadonlySet<string>;
}

export interface IntakeBatch {
  epoch: number;
  policy: Policy;
  secret: Uint8Array;
  jobs: FinishedJob[];
  /** By `minerKind`. */
  records: ReadonlyMap<string, DrawRecord>;
  /** Latest accepted, valid samples in µs, newest first, by `minerLane`; only where the batch has a void one. */
  recentUs: ReadonlyMap<string, readonly number[]>;
  /** By `lane`. */
  judges: ReadonlyMap<string, Judges>;
}

/** One row of `draws`. */
export interface DrawRow extends FinishedJob {
  epoch: number;
  policyVersion: number;
  latencyUs: number;
  points: bigint;
  awardId: string | null;
  /** These three are null for jobs that are never drawn. */
  q: number | null;
  u: bigint | null;
  record: DrawRecord | null;
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
/** An engine's usual latency says nothing about another's. */
export const minerLane = ({ hotkey, kind, engine }: Pick<FinishedJob, 'hotkey' | 'kind' | 'engine'>): string =>
  `${hotkey}|${lane(kind, engine)}`;
export const lane = (kind: JobKind, engine: Engine): string => `${kind}|${engine}`;

const NO_RECORD: DrawRecord = { jobsSeen: 0, audits: 0, passes: 0, cusum: 0 };

/** Decides a whole batch, in the order of the jobs' ends: each raises its miner's `jobsSeen` for the next. */
export function fileJobs(batch: IntakeBatch, delayMs: (meanMs: number) => number = exponentialDelayMs): Filing {
  const filing = { draws: [] as DrawRow[], audits: [] as Filing['audits'], awards: [] as LedgerEntryMessage[] };
  const seen = new Map<string, number>();
  for (const job of batch.jobs) {
    const key = minerKind(job.hotkey, job.kind);
    const before = seen.get(key) ?? 0;
    const row = fileJob(job, batch, before);
    filing.draws.push(row);
    if (row.awardId) filing.awards.push(awardEntry(row, awardReason(row, batch)));
    if (row.q !== null) seen.set(key, before + 1);
    if (row.drawn) {
      filing.audits.push({ id: uuidv7(), jobId: job.jobId, delayMs: delayMs(batch.policy.audit.meanDelayMs) });
    }
  }
  return { ...filing, seen };
}

function fileJob(job: FinishedJob, batch: IntakeBatch, seenInBatch: number): DrawRow {
  const { epoch, policy, secret, records } = batch;
  const before = records.get(minerKind(job.hotkey, job.kind)) ?? NO_RECORD;
  const latencyUs = latencyOf(job, batch);
  const undrawn = {
    ...job,
    epoch,
    policyVersion: policy.version,
    latencyUs,
    q: null,
    u: null,
    record: null,
    drawn: false,
  };
  if (job.trusted) return { ...undrawn, points: 0n, awardId: null };
  const points = unpaidBecause(job, batch) === undefined ? earned(job, latencyUs, policy) : 0n;
  const awarded = { ...undrawn, points, awardId: awardId(job.jobId) };
  if (job.house) return awarded;
  const { audits, passes, cusum } = before;
  const record = { jobsSeen: before.jobsSeen + seenInBatch, audits, passes, cusum };
  const q = rateFor(record, policy);
  const u = drawU(secret, job.jobId);
  return { ...awarded, q, u, record, drawn: isDrawn(u, q) };
}

function rateFor({ jobsSeen, audits, passes, cusum }: DrawRecord, { audit }: Policy): number {
  return auditRate({ jobsSeen, cusum, wilsonLower: wilsonLower(passes, audits, audit.wilsonZ) }, audit);
}

/**
 * Results that nobody can hold to account earn nothing: otherwise a miner could pay itself with them (incentive.md). Without a
 * reference it takes as many other operators as convict (audit-verdict.ts): with fewer, every wrong result would end as
 * inconclusive.
 */
function unpaidBecause(job: FinishedJob, { judges, policy }: IntakeBatch): string | undefined {
  const { kind, engine, operator } = job;
  if (!isComparable(taskKind(kind, engine))) return `results of ${kind} on ${engine} cannot be compared yet`;
  const { trusted, operators } = judges.get(lane(kind, engine)) ?? { trusted: false, operators: new Set() };
  // The door took it while there was a reference.
  if (job.private && !trusted)
    return `nobody may check it: it is private, and ${kind} on ${engine} has no reference now`;
  const others = operators.size - (operators.has(operator) ? 1 : 0);
  if (trusted || others >= policy.audit.quorumOperators) return undefined;
  return `nobody could check it: ${kind} on ${engine} has no reference, and ${others} other operators of ${policy.audit.quorumOperators} needed`;
}

function earned({ kind, engine, timeoutMs }: FinishedJob, latencyUs: number, policy: Policy): bigint {
  const { weightMicro } = taskKind(kind, engine);
  return pointsFor({ weightMicro, tMaxMs: timeoutMs, latencyUs, cutoffShare: policy.latencyCutoffShare });
}

function awardReason(row: DrawRow, batch: IntakeBatch): string {
  const done = `completed in ${seconds(row.latencyUs)} s`;
  const unpaid = unpaidBecause(row, batch);
  return unpaid === undefined ? done : `${done}; unpaid: ${unpaid}`;
}

function latencyOf(job: FinishedJob, { recentUs, policy }: IntakeBatch): number {
  if (!job.void && job.netUs !== null) return job.netUs;
  return voidLatencyUs(recentUs.get(minerLane(job)) ?? [], job.timeoutMs, policy.latencyCutoffShare);
}

function seconds(us: number): string {
  return (us / 1_000_000).toFixed(3);
}
