/** What validators read, over HTTP and from the stream SCORES. Points are millionths as decimal strings. */
import { Type } from 'class-transformer';
import { IsInt, IsOptional, Max, Min } from 'class-validator';
import type { JobKind } from '../domain/job';
import type { Policy } from '../domain/policy';
import type { LedgerEntryType } from '../domain/score-window';

export interface ScoreEvent {
  /** 1, 2, 3, … without a gap. */
  seq: number;
  type: LedgerEntryType | 'snapshot';
  epoch: number;
  at: string;
  /** award, reversal and restoration: */
  id?: string;
  hotkey?: string;
  kind?: JobKind;
  job_id?: string;
  points?: string;
  reason?: string;
  policy_version?: number;
  /** snapshot: SHA-256 of the body that `GET /v1/snapshots/{epoch}` serves. */
  sha256?: string;
}

/** Largest page of events: about 300 KiB. */
export const SCORE_EVENTS_PAGE = 1_000;

/** Query of `GET /v1/scores/events`. */
export class ScoreEventsQuery {
  /** Number of the last event already known; 0 for all. */
  @Type(() => Number)
  @IsInt()
  @Min(0)
  @Max(Number.MAX_SAFE_INTEGER)
  after = 0;

  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(SCORE_EVENTS_PAGE)
  limit = SCORE_EVENTS_PAGE;
}

/** Path of `GET /v1/epochs/{epoch}` and `GET /v1/snapshots/{epoch}`; query of the admin's ledger. */
export class EpochNumber {
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(2_147_483_647)
  epoch!: number;
}

/** Body of the admin's `POST …/epochs/close`; `epoch` makes it safe to repeat after a lost reply. */
export class CloseEpochCommand {
  @IsOptional()
  @IsInt()
  @Min(1)
  epoch?: number;
}

/** Reply to `GET /v1/scores/events`. */
export interface ScoreEventPage {
  events: ScoreEvent[];
  /** Number of the newest event there is; ask again while the last one received is lower. */
  last_seq: number;
}

export interface MinerScore {
  hotkey: string;
  points: string;
  points_by_kind: Record<JobKind, string>;
  valid_jobs: number;
  win_rate: number;
  /** Softmax share; the shares of all scored miners sum to 1. */
  weight: number;
  u16: number;
}

/** Who belonged to the subnet. Miners outside it are left out of scores and weights; the ledger keeps what they earned. */
export interface MetagraphView {
  /** Block at which it was read; null where its source names none. */
  block: number | null;
  /** Every member's number on the chain, by hotkey. */
  uids: Record<string, number>;
}

/** `GET /v1/snapshots/{epoch}`: canonical JSON (RFC 8785), immutable. */
export interface Snapshot {
  epoch: number;
  /** Entries up to this number with an epoch inside the window make the scores. */
  ledger_seq: number;
  policy: Policy;
  outcome: 'OK' | 'NO_SCORES';
  /** Null where the registry works without one: then everybody who is scored is weighted. */
  metagraph: MetagraphView | null;
  /** By hotkey, ascending. */
  miners: MinerScore[];
  draw: { commitment: string; secret: string };
  opened_at: string;
  closing_at: string;
}

/** `GET /v1/scores`: as the snapshot's, of the open epoch so far. */
export interface ScoreBoard {
  epoch: number;
  last_seq: number;
  metagraph: MetagraphView | null;
  miners: MinerScore[];
}

/** `GET /v1/epochs/current`. */
export interface EpochView {
  epoch: number;
  state: 'open' | 'closing' | 'closed';
  commitment: string;
  opened_at: string;
  closing_at: string | null;
  closed_at: string | null;
}

/** `GET /scores`: the form of the public Dippy Studio orchestrator. */
export interface DippyScores {
  scores: Record<string, { status: 'COMPLETED' | 'SLASHED'; score: { total_score: number } }>;
  stats: { source: string; requested: number; available: number; last_updated: string | null };
}
