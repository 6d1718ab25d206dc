/**
 * How many canaries (jobs of our own) each miner still needs in this epoch, and when they go out. Pure: counts, time and
 * chance are passed in.
 *
 * What is missing to a miner's floor is spread over what is left of the epoch like independent uniform times: in every slice
 * each missing job comes with probability slice ÷ time left. So nobody can tell when the next is due, what clients send
 * meanwhile takes the place of canaries, and the floor is reached all the same.
 */
import type { Engine, JobKind } from '@studio/shared/domain/job';
import type { CanaryPolicy } from '@studio/shared/domain/policy';

/** What a miner has had of one (kind, engine). */
export interface LaneRecord {
  hotkey: string;
  kind: JobKind;
  engine: Engine;
  /** Jobs that it did in this epoch, whoever asked; not counted beyond the floor. */
  done: number;
  /** Canaries meant for it that have not ended. */
  open: number;
  /** Canaries meant for it in this epoch that it was asked for and did not do: it had its chance. */
  asked: number;
  /** All canaries meant for it in this epoch, those too that it could not be asked for. */
  aimed: number;
  /** Jobs that clients gave it in the epoch before; counted up to a multiple of the floor. */
  before: number;
  /** References that do such jobs. */
  references: readonly string[];
}

export interface Planning {
  lanes: readonly LaneRecord[];
  policy: CanaryPolicy;
  epochMs: number;
  /** Until the epoch's end by the clock. */
  leftMs: number;
  /** What is planned now goes out within this time. */
  sliceMs: number;
}

export interface PlannedCanary {
  hotkey: string;
  kind: JobKind;
  engine: Engine;
  inMs: number;
  /** Asked for the answer first; null where the answer will not be known. */
  reference: string | null;
}

/** Uniform in [0, 1). */
export type Chance = () => number;

/** Enough slices for the times to look random, in a real epoch (72 minutes) one every 15 s. */
const SLICES_PER_EPOCH = 288;

/** The end of an epoch is left for what is under way: its jobs count once they are in the books. */
const LAST_SHARE = 0.1;

/** With less than this left, an answer that is asked for first would come too late for the miner's job. */
const ANSWER_SHARE = 0.25;

/** A miner that cannot be asked at all (busy, unreachable) costs the others so many floors of extra jobs, no more. */
const AIMED_FLOORS = 2;

/** More at once would look like no client, and keep clients' jobs out of a miner with few slots. */
const OPEN_PER_MINER = 2;

/** Of one planning, and in all: 100 in 15 s are 28,800 in an epoch, the floors of 4,800 miners; a pass handles them in seconds. */
const PLANNED_AT_ONCE = 100;
const OPEN_IN_ALL = 400;

export function sliceMsOf(epochMs: number): number {
  return epochMs / SLICES_PER_EPOCH;
}

/** The canaries of the next slice, at random times in it. */
export function planCanaries(planning: Planning, chance: Chance): PlannedCanary[] {
  const wanted = planning.lanes.flatMap((lane) => wantedIn(lane, planning, chance)).sort((a, b) => a.inMs - b.inMs);
  const open = new Map<string, number>();
  for (const lane of planning.lanes) open.set(lane.hotkey, (open.get(lane.hotkey) ?? 0) + lane.open);
  const total = planning.lanes.reduce((sum, lane) => sum + lane.open, 0);
  const room = Math.min(PLANNED_AT_ONCE, OPEN_IN_ALL - total);
  const planned: PlannedCanary[] = [];
  for (const canary of wanted) {
    const others = open.get(canary.hotkey) ?? 0;
    if (planned.length >= room || others >= OPEN_PER_MINER) continue;
    open.set(canary.hotkey, others + 1);
    planned.push(canary);
  }
  return planned;
}

function wantedIn(lane: LaneRecord, planning: Planning, chance: Chance): PlannedCanary[] {
  const { leftMs, epochMs, sliceMs } = planning;
  if (leftMs <= 0) return [];
  const usableMs = leftMs - LAST_SHARE * epochMs;
  // Past it only what was lost on the way is made up for.
  const share = usableMs <= sliceMs ? 1 : sliceMs / usableMs;
  const { hotkey, kind, engine } = lane;
  const canaries: PlannedCanary[] = [];
  for (let n = missing(lane, planning); n > 0; n -= 1) {
    if (chance() >= share) continue;
    canaries.push({ hotkey, kind, engine, inMs: chance() * sliceMs, reference: referenceFor(lane, planning, chance) });
  }
  return canaries;
}

/**
 * What the miner will be short of at the epoch's end if clients go on as they did in the last one. When they stop, the
 * forecast shrinks with the time left, until all that is missing is to be made.
 */
function missing(lane: LaneRecord, { policy: { floorPerEpoch }, epochMs, leftMs }: Planning): number {
  const { done, open, asked, aimed, before } = lane;
  const forecast = (before * Math.min(leftMs, epochMs)) / epochMs;
  const short = Math.ceil(floorPerEpoch - done - open - asked - forecast);
  return Math.min(short, AIMED_FLOORS * floorPerEpoch - aimed);
}

function referenceFor(
  { references }: LaneRecord,
  { policy, epochMs, leftMs }: Planning,
  chance: Chance,
): string | null {
  const isKnown = chance() < policy.knownShare;
  if (!isKnown || references.length === 0 || leftMs < ANSWER_SHARE * epochMs) return null;
  return references[Math.floor(chance() * references.length)] ?? null;
}
