/**
 * Where the lanes are kept that all workers share. A store decides nothing: it changes a record only if the caller knew
 * its newest revision, takes a slot only while there is one, and frees the slots of holds that ran out. In Redis
 * (redis-lanes.ts) for all workers, in memory (memory-lanes.ts) for one that is alone, and for simulations.
 */
import type { MinerRecord } from './lane-record';

/** `kind|engine`. */
export type LaneName = string;

/** A hold is named by its attempt, so that any process can end it. */
export interface HoldName {
  hotkey: string;
  /** `job:attempt`; with `rest:` before it, of a slot that rests after that attempt. */
  name: string;
}

const REST = 'rest:';

/** Known by its attempt as well, so that a slot rests once. No attempt under way belongs to it. */
export function restAfter({ hotkey, name }: HoldName): HoldName {
  return { hotkey, name: `${REST}${name}` };
}

export function isRest({ name }: HoldName): boolean {
  return name.startsWith(REST);
}

export interface TimedHold extends HoldName {
  expiresAtMs: number;
}

/** A lane as a whole. The generation is made with it: another one means that it was lost and made again. */
export interface LaneImage {
  generation: string;
  /** The lane's own virtual time: where newcomers begin. */
  turns: number;
  operators: ReadonlyMap<string, number>;
  records: ReadonlyMap<string, MinerRecord>;
  /** Slots in use; absent for none. */
  used: ReadonlyMap<string, number>;
}

export interface Take {
  hold: TimedHold;
  operator: string;
  /** What the caller decided on: the miner's record (revision 0: none is stored) and its operator's turns. */
  known: MinerRecord;
  knownOperatorTurns: number | undefined;
  record: MinerRecord;
  operatorTurns: number;
  /** The lane's virtual time only grows: a lower one changes nothing. */
  laneTurns: number;
  /** The most that may be in use afterwards, and the number at which all that is proven is in use: a probe is alone. */
  slots: number;
  proven: number;
  nowMs: number;
}

/** `behind`: the caller's copy was old. `full`: no slot is free. `absent`: the lane is not there. */
export type TakeVerdict = 'taken' | 'behind' | 'full' | 'absent';

/** The state after the call. */
export interface TakeAnswer {
  verdict: TakeVerdict;
  record: MinerRecord | undefined;
  used: number;
  operatorTurns: number | undefined;
  laneTurns: number;
}

export interface Released {
  record: MinerRecord | undefined;
  /** Slots in use afterwards. */
  used: number;
  /** Whether the hold took the last slot when it was taken. */
  filled: boolean;
}

export interface LaneStore {
  /** Undefined: it is not there. */
  read(lane: LaneName, nowMs: number): Promise<LaneImage | undefined>;
  /** Makes the lane; false when it is there already. */
  create(lane: LaneName, image: LaneImage, holds: readonly TimedHold[], nowMs: number): Promise<boolean>;
  take(lane: LaneName, take: Take): Promise<TakeAnswer>;
  /** Undefined: there is no such hold, or no longer. */
  release(lane: LaneName, hold: HoldName, nowMs: number): Promise<Released | undefined>;
  /** Stores the record if its predecessor is the newest. @returns what is stored now. */
  learn(lane: LaneName, hotkey: string, record: MinerRecord): Promise<MinerRecord | undefined>;
  holds(lane: LaneName, nowMs: number): Promise<HoldName[]>;
  /** Adds holds that are missing, whether there is a slot for them or not: they are under way. */
  restore(lane: LaneName, holds: readonly TimedHold[], nowMs: number): Promise<void>;
  addHolder(lora: string, hotkey: string, nowMs: number): Promise<void>;
  holders(lora: string, nowMs: number): Promise<string[]>;
}

/** A lane that nobody uses disappears; made again, it costs one look into Postgres. */
export const LANE_TTL_MS = 3_600_000;

/** How long a miner is believed to keep a LoRA that it used; a wrong belief costs one transfer. */
export const HOLDER_TTL_MS = 3_600_000;
/** More holders of one LoRA than this add no choice that matters. */
export const MAX_HOLDERS = 64;
