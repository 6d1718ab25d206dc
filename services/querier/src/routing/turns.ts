/**
 * Whose turn it is, how full everybody is, how much of what they declared they have proven, whom to leave alone for a
 * while, who has which LoRA: one state for all workers, kept in Redis and copied here. While Redis is away the copy goes
 * on alone; when it comes back empty, the state is made again from Postgres. Losing it costs fairness of the moment,
 * never a job.
 */
import type { Candidate } from '@studio/shared/domain/dispatch-policy';
import type { Engine, JobKind } from '@studio/shared/domain/job';
import type { HoldEnd } from '@studio/shared/domain/slot-ramp';
import type { Offer } from './miner-directory';

export interface Lane {
  kind: JobKind;
  engine: Engine;
}

export interface TurnCandidate extends Candidate {
  /**
   * When any miner of its operator was last asked: who has ten hotkeys is not forgotten ten times as often, and within an
   * operator whoever is furthest behind is next in any case.
   */
  askedAtMs: number;
  offer: Offer;
}

/** One attempt's hold on one of a miner's slots. Its name is the attempt's, so that any process can settle it. */
export interface SlotHold extends Lane {
  hotkey: string;
  jobId: string;
  attemptNo: number;
}

export type { HoldEnd };

/** What else there is to say of a hold's end. */
export interface EndNotes {
  /** The slot stays taken for so long, because its turn brought nothing and was over too soon. */
  restMs?: number;
  /** A success that took longer than such jobs usually do. */
  isSlow?: boolean;
}

export interface Turns {
  /** Everybody in `offers` with what the copy says of them. `lora`: SHA-256 of the LoRA that the job renders with. */
  candidates(offers: readonly Offer[], lane: Lane, lora: string | null): TurnCandidate[];
  /**
   * Takes the turn and a slot in one step for all workers. False: the copy was behind and has been corrected; choose
   * again from fresh candidates. `ttlMs`: after so long the slot is free again, whatever became of the attempt.
   */
  reserve(candidate: TurnCandidate, hold: SlotHold, ttlMs: number): Promise<boolean>;
  /** Gives the slot back and learns from how it went. Settling again, or what was never held, changes nothing. */
  settle(hold: SlotHold, end: HoldEnd, notes?: EndNotes): void;
  /** The miner has just made or used this LoRA. */
  holds(hotkey: string, lora: string): void;
  /** Brings the holders of this LoRA into the copy; never throws. */
  learnHolders(lora: string): Promise<void>;
  /** Brings the copy up to date when it is older than `maxAgeMs`; never throws. */
  refresh(maxAgeMs: number): Promise<void>;
}
