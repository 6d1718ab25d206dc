/** Miners as they register (HTTP, signed) and as workers route to them (NATS). */
import { Type } from 'class-transformer';
import {
  ArrayMaxSize,
  ArrayMinSize,
  IsArray,
  IsIn,
  IsInt,
  IsOptional,
  IsString,
  IsUrl,
  Length,
  Max,
  Min,
  ValidateNested,
} from 'class-validator';
import type { AttemptState, Blame, Engine, JobKind } from '../domain/job';
import { ENGINES, JOB_KINDS } from '../domain/task-kinds';

export const MINER_DIALECTS = ['native', 'dippy'] as const;
export type MinerDialect = (typeof MINER_DIALECTS)[number];

/** One thing a miner does. A miner is only asked for what it offers. */
export class MinerOffer {
  @IsIn(JOB_KINDS)
  kind!: JobKind;

  @IsIn(ENGINES)
  engine!: Engine;

  /** Jobs of this kind at the same time. */
  @IsInt()
  @Min(1)
  @Max(1_024)
  slots!: number;
}

/** `PUT /v1/miners/{hotkey}`, signed by that hotkey. */
export class MinerRegistration {
  @IsUrl({ require_tld: false, protocols: ['http', 'https'], require_protocol: true })
  endpoint!: string;

  @IsIn(MINER_DIALECTS)
  dialect!: MinerDialect;

  @IsArray()
  @ArrayMinSize(1)
  @ArrayMaxSize(16)
  @ValidateNested({ each: true })
  @Type(() => MinerOffer)
  offers!: MinerOffer[];

  /** Who owns the miner; its own hotkey where not given. */
  @IsOptional()
  @IsString()
  @Length(1, 128)
  operator?: string;
}

export interface RoutableMiner {
  hotkey: string;
  operator: string;
  endpoint: string;
  dialect: MinerDialect;
  offers: { kind: JobKind; engine: Engine; slots: number }[];
  /** A reference: only jobs that name it reach it. */
  trusted: boolean;
  /** Kinds it is quarantined for: nothing is routed to it. */
  quarantined: JobKind[];
  /** Its number in the metagraph; null without one, and for a reference outside it. */
  uid: number | null;
}

/** Reply to `registry.miners.routable`. */
export interface RoutableMiners {
  miners: RoutableMiner[];
}

/** `PUT` and `GET /v1/miners/{hotkey}`. Endpoints are public on the chain as well. */
export interface MinerView {
  hotkey: string;
  /** Its coldkey where a metagraph is known, else what it registered. */
  operator: string;
  /** Its number in the metagraph; null without one, and for who is not in it (any more). */
  uid: number | null;
  endpoint: string;
  dialect: MinerDialect;
  offers: { kind: JobKind; engine: Engine; slots: number }[];
  trusted: boolean;
  /** Since when it has taken part without a break. */
  registered_at: string;
  updated_at: string;
  withdrawn_at: string | null;
}

/** `GET /v1/miners`, by hotkey. */
export interface MinerList {
  miners: MinerView[];
}

/** `GET /v1/identity`: the recipient that requests to the registry are signed for. */
export interface RegistryIdentity {
  hotkey: string;
}

/** Most attempts that one account shows. */
export const ACCOUNT_PAGE = 200;

/** Query of `GET /v1/miners/{hotkey}`. */
export class MinerAccountQuery {
  /** Attempts in each of the account's lists. */
  @Type(() => Number)
  @IsInt()
  @Min(1)
  @Max(ACCOUNT_PAGE)
  limit = 50;
}

/** `GET /v1/miners/{hotkey}`. */
export interface MinerDetails extends MinerView {
  /** Only for a request that the miner itself has signed. */
  account?: MinerAccount;
}

/** What a miner may know about itself. Nothing in it tells whether a job of a running epoch was drawn for an audit. */
export interface MinerAccount {
  /** Null without a valid job in the window of the open epoch. */
  score: AccountScore | null;
  /** What it offers, in the order of its registration. */
  lanes: AccountLane[];
  /** Newest first, the open ones too. */
  jobs: AccountAttempt[];
  /** The ones of its last ten thousand that brought nothing: busy, failed, invalid or timeout; newest first. */
  missed: AccountAttempt[];
  /** Null before the first probe. */
  measurement: AccountMeasurement | null;
  /** Why it is asked for nothing: its address belongs to another operator. Null where nothing is in its way. */
  blocked: string | null;
  /** Newest first, the lifted ones too. */
  quarantines: AccountQuarantine[];
  /**
   * Of closed epochs only, newest first; of a job that was appealed against, the first verdict. What our own test jobs found
   * in order is not told: knowing old ones would help to tell new ones.
   */
  verdicts: AccountVerdict[];
}

/** As in `GET /v1/scores`, with its place. */
export interface AccountScore {
  epoch: number;
  /** Millionths, as decimal strings. */
  points: string;
  points_by_kind: Record<JobKind, string>;
  valid_jobs: number;
  /** Share of the other scored miners that it beats, ties half; 0 to 1. */
  win_rate: number;
  u16: number;
  /** 1 for the most points; equal points share a rank. */
  rank: number;
  /** How many miners are scored. */
  of: number;
}

/** One kind on one engine. */
export interface AccountLane {
  kind: JobKind;
  engine: Engine;
  /** Slots as registered. */
  declared: number;
  /** Slots that it has proven to have: as many jobs it gets at the same time. */
  proven: number;
  /** Attempts under way. */
  open: number;
  /** Attempts of the last hour, whatever came of them. */
  jobs_last_hour: number;
  /**
   * Attempts that it would have had, had every proven slot got the same, as of some seconds ago; null while it takes no
   * part in this lane.
   */
  fair_share_last_hour: number | null;
}

export interface AccountAttempt {
  job_id: string;
  attempt: number;
  kind: JobKind;
  engine: Engine;
  state: AttemptState;
  /** Who an unsuccessful attempt is held against. Only `miner` counts. */
  blame: Blame;
  reason: string | null;
  /** A second attempt beside a slow one of another miner. */
  hedge: boolean;
  sent_at: string;
  finished_at: string | null;
  /** Milliseconds: by our clock, taken off for the network, and what is left. */
  raw_ms: number | null;
  credit_ms: number | null;
  net_ms: number | null;
  /** What the credit was computed from. */
  network: object | null;
  /** Our own fault spoiled the measurement: the award is that of the miner's median. */
  void: boolean;
  /** Of its award, in millionths; null without one. */
  points: string | null;
}

export interface AccountMeasurement {
  /** Least time of a TCP connect to the endpoint, in microseconds: the round trip that the network credit rests on. */
  rtt_min_us: number;
  samples: number;
  /** Where the endpoint led, as IP:port, and since when. It belongs to one operator. */
  address: string | null;
  address_since: string | null;
  measured_at: string;
}

export interface AccountQuarantine {
  kind: JobKind;
  from_epoch: number;
  /** The first epoch without it. */
  until_epoch: number;
  /** Null while the epoch that it began in runs: it may name a draw. */
  reason: string | null;
  /** It fell with the verdicts that it rested on; null while it stands. */
  lifted: { cause: CorrectionCause; at: string } | null;
}

/** Why a verdict no longer stands: its miner's appeal was right, or an operator took back what a faulty reference had said. */
export type CorrectionCause = 'appeal' | 'amnesty';

export interface AccountVerdict {
  job_id: string;
  attempt: number;
  kind: JobKind;
  /** Of the award. */
  epoch: number;
  outcome: VerdictOutcome;
  reason: string;
  decided_at: string;
  evidence: VerdictEvidence;
  /** Null where the miner filed none. */
  appeal: AccountAppeal | null;
  /** Since then it counts for nothing, and what it took is given back; null while the verdict stands. */
  corrected: { cause: CorrectionCause; reason: string; at: string } | null;
}

export type VerdictOutcome = 'valid' | 'invalid' | 'inconclusive';

/**
 * What the verdict was reached from. Who replayed the job, and as which job, is not in it: that would tell a miner with whom to
 * come to an agreement.
 */
export interface VerdictEvidence {
  /** Names the miner's own result, as far as the comparison looks at it (`exact`: the hash of pixels or tensors). */
  digest: string;
  replays: VerdictReplay[];
  /** How sure the judges are to notice a wrong result, 0 to 1: it decides how many neighbouring awards fall with this one. */
  kappa: number;
  /** Null for a job that the auditor itself had asked for: those are compared without a draw. */
  draw: VerdictDraw | null;
  /** What spoke against the result before any replay. */
  suspicion: VerdictSuspicion | null;
}

/** The result looks like that of `copy_of`, which was asked for something else. */
export type VerdictSuspicion =
  | { of: 'adapter'; copy_of: string; cosine: number; image_difference: number | null }
  /** `picture`: which of the job's, from 0; `distance`: bits of 256 in which the DCT hashes differ, null for equal pixels. */
  | { of: 'picture'; copy_of: string; picture: number; distance: number | null };

export interface VerdictReplay {
  /** `trusted`: a reference; `peer`: a miner of another operator. */
  judge: 'trusted' | 'peer';
  digest: string;
  /** Whether its result and the miner's are the same work. */
  agrees: boolean;
  /** What was measured, by name, one set per picture; null where only equality was asked for. */
  distances: Readonly<Record<string, number>>[] | null;
}

/**
 * Why this job: drawn, or for the epoch's floor (the lowest u of those that were not), or as a likely copy. u comes from the epoch's
 * revealed secret and the job's id; drawn means u < q·2⁶⁴.
 */
export interface VerdictDraw {
  why: 'draw' | 'floor' | 'copy';
  q: number | null;
  u: string | null;
  epoch: number;
  policy_version: number;
}

/** Outcome and all that follows are null until the audit has been done again. `valid` corrects the verdict. */
export interface AccountAppeal {
  filed_at: string;
  reason: string;
  outcome: VerdictOutcome | null;
  decided_at: string | null;
  verdict_reason: string | null;
}

/** `GET /v1/fairness`: whether routing gave equal capacity equal work. References and who left meanwhile do not count. */
export interface FairnessReport {
  at: string;
  /** Milliseconds that the figures cover, up to `at`. */
  span_ms: number;
  lanes: FairnessLane[];
}

export interface FairnessLane {
  kind: JobKind;
  engine: Engine;
  miners: number;
  /** Attempts sent, whatever came of them: each is one turn. */
  jobs: number;
  /**
   * Gini coefficient of jobs per proven slot: 0 equal, towards 1 all to one; null without a job. A miner that was
   * registered for a part of the span counts as that part of its slots.
   */
  gini: number | null;
  /** Jobs per proven slot and whole span, of the miners that were there for a tenth of it; null without any. */
  per_slot: { min: number; median: number; max: number } | null;
}
