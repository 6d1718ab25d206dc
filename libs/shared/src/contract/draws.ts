/**
 * `GET /v1/epochs/{epoch}/draws`: every draw of a closed epoch with all that it was decided from, so that anyone can decide
 * it again. Lines of JSON (application/x-ndjson): a `DrawExportHeader`, then a `DrawExportRow` for each awarded job in
 * the order of job ids. Nothing in it changes any more: audits and verdicts are those of the moment the secret was revealed.
 */
import { IsOptional, IsUUID } from 'class-validator';
import type { Engine, JobKind } from '../domain/job';
import type { Policy } from '../domain/policy';

export interface DrawExportHeader {
  epoch: number;
  /** SHA-256 of the secret, hex: published when the epoch opened. */
  commitment: string;
  /** The 32 bytes that every u was computed with, hex. */
  secret: string;
  policy: Policy;
  /** Lines of the whole export after the header, whatever `after` leaves out. */
  rows: number;
  /** By hotkey, then time. */
  rewrites: RecordRewrite[];
}

/** A miner's record was begun anew (quarantine) or counted again (corrected verdict), for both kinds: figures may jump. */
export interface RecordRewrite {
  hotkey: string;
  /** UTC with microseconds, as all times of the export: as text they sort as they happened. */
  at: string;
  why: 'quarantine' | 'correction';
}

/** What was known of the miner and kind before the job: q follows from it and the policy. */
export interface DrawnFrom {
  jobs_seen: number;
  audits: number;
  passes: number;
  cusum: number;
}

/**
 * Why a job was audited: drawn, filled up to the floor, suspected of being a copy, a replay that was itself wrong, or a job
 * of our own whose answer was known.
 */
export const AUDITED_BECAUSE = ['draw', 'floor', 'copy', 'replica', 'canary'] as const;
export const AUDIT_OUTCOMES = ['valid', 'invalid', 'inconclusive'] as const;

export interface DrawExportRow {
  job_id: string;
  hotkey: string;
  kind: JobKind;
  engine: Engine;
  attempt: number;
  /** Millionths, as its award in the ledger has them. */
  points: string;
  latency_us: number;
  policy_version: number;
  /** These three are null for replays of audited jobs, which are never drawn. u as a decimal string, below 2⁶⁴. */
  q: number | null;
  u: string | null;
  record: DrawnFrom | null;
  drawn: boolean;
  /** Both null: not audited. Of first audits only, appeals are told by the ledger's restorations. */
  audited: (typeof AUDITED_BECAUSE)[number] | null;
  outcome: (typeof AUDIT_OUTCOMES)[number] | null;
  /** Of a replay: the job that it replayed. */
  replay_of: string | null;
  finished_at: string;
  /** When it was drawn. Jobs of one moment were decided together, in the order of `finished_at` and job id. */
  taken_at: string;
}

/** Query of the export. */
export class DrawExportQuery {
  /** Job id of the last line that was received: goes on after it. */
  @IsOptional()
  @IsUUID()
  after?: string;
}
