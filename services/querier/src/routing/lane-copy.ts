/**
 * One worker's copy of one lane. Decisions are made on it without waiting, and a turn counts here from the moment it is
 * asked for, so that jobs which choose together do not choose the same miner. The store's answers come in the order of
 * the questions: what is still unanswered is added to what the last answer said.
 *
 * Why an old copy is good enough: turns only grow. If the chosen miner's own record is the newest (the store checks
 * that), the others can only have moved further on than the copy says, so that it is its turn all the more.
 */
import { TURN_MICRO } from '@studio/shared/domain/dispatch-policy';
import { breakerState } from '@studio/shared/domain/circuit-breaker';
import type { RoutingPolicy } from '@studio/shared/domain/policy';
import { asked, newcomer, type MinerRecord } from './lane-record';
import type { LaneImage, LaneName, Released, Take, TakeAnswer, TimedHold } from './lane-store';
import type { Offer } from './miner-directory';
import type { TurnCandidate } from './turns';

/** A miner's first job alone fills the one slot that it begins with, and its success gives it the second. */
const FIRST_STEP = 1;

interface Entry {
  record: MinerRecord | undefined;
  /** Slots in use at the last answer, and turns that were asked for since. */
  used: number;
  pending: number;
}

export class LaneCopy {
  generation: string | undefined;
  readAtMs = -Infinity;
  private turns = 0;
  private readonly entries = new Map<string, Entry>();
  private readonly operators = new Map<string, number>();
  /** Everybody who may be asked without a restriction. */
  private members: readonly Offer[] = [];

  constructor(readonly name: LaneName) {}

  setMembers(offers: readonly Offer[]): void {
    this.members = offers;
  }

  /** @returns whether the lane was made anew since the last reading. */
  replace(image: LaneImage, nowMs: number): boolean {
    const isNew = image.generation !== this.generation;
    if (isNew) this.forget();
    this.generation = image.generation;
    this.readAtMs = nowMs;
    this.turns = Math.max(this.turns, image.turns);
    for (const [operator, turns] of image.operators) {
      this.operators.set(operator, Math.max(turns, this.operators.get(operator) ?? 0));
    }
    for (const entry of this.entries.values()) entry.used = 0;
    for (const [hotkey, record] of image.records) {
      const entry = this.entry(hotkey);
      if (record.rev >= (entry.record?.rev ?? 0)) entry.record = record;
    }
    for (const [hotkey, used] of image.used) this.entry(hotkey).used = used;
    return isNew;
  }

  candidate(offer: Offer, holdsLora: boolean, nowMs: number, policy: RoutingPolicy): TurnCandidate {
    const { hotkey, operator } = offer.miner;
    const { record } = this.entries.get(hotkey) ?? {};
    return {
      hotkey,
      operator,
      slots: provenOf(record, offer, policy),
      freeSlots: this.freeSlots(offer, nowMs, policy),
      operatorTurns: this.caughtUp(this.operators.get(operator), policy),
      minerTurns: this.caughtUp(record?.turns, policy),
      askedAtMs: record?.askedAtMs ?? 0,
      holdsLora,
      offer,
    };
  }

  freeSlots(offer: Offer, nowMs: number, policy: RoutingPolicy): number {
    const entry = this.entries.get(offer.miner.hotkey);
    return Math.max(0, openSlots(entry?.record, offer, nowMs, policy) - inUse(entry));
  }

  /** The question to the store, asked already as far as this copy is concerned. */
  take({ offer, operator }: TurnCandidate, hold: TimedHold, nowMs: number, policy: RoutingPolicy): Take {
    const entry = this.entry(hold.hotkey);
    const known = entry.record ?? newcomer(this.turns, provenOf(undefined, offer, policy));
    const laneTurns = Math.max(this.turns, this.leastTurns(nowMs, policy));
    const slots = openSlots(entry.record, offer, nowMs, policy);
    const proven = provenOf(known, offer, policy);
    const turns = this.caughtUp(entry.record?.turns, policy) + share(proven);
    const knownOperatorTurns = this.operators.get(operator);
    const operatorSlots = this.slotsOf(operator, offer, nowMs, policy);
    const operatorTurns = this.caughtUp(knownOperatorTurns, policy) + share(operatorSlots);
    const record = asked(known, turns, nowMs);
    entry.record = record;
    entry.pending += 1;
    this.operators.set(operator, operatorTurns);
    this.turns = laneTurns;
    const next = { record, operatorTurns, laneTurns };
    return { hold, operator, known, knownOperatorTurns, ...next, slots, proven, nowMs };
  }

  /** The store's answer to a `take`. A refusal says how it really is. */
  taken(take: Take, answer: TakeAnswer): boolean {
    const { hold, operator } = take;
    const entry = this.entry(hold.hotkey);
    entry.pending -= 1;
    if (answer.verdict === 'absent') return this.undo(take);
    entry.used = answer.used;
    this.turns = Math.max(this.turns, answer.laneTurns);
    if (answer.verdict === 'taken') return true;
    entry.record = answer.record;
    if (answer.operatorTurns === undefined) this.operators.delete(operator);
    else this.operators.set(operator, answer.operatorTurns);
    return false;
  }

  /** A turn that never was must not be in the lane that is made from this copy. Others may have been asked for since. */
  private undo({
    hold: { hotkey },
    operator,
    known,
    knownOperatorTurns,
    record,
    operatorTurns,
    laneTurns,
  }: Take): false {
    const entry = this.entry(hotkey);
    if (entry.record) {
      const turns = entry.record.turns - (record.turns - known.turns);
      entry.record = { ...entry.record, turns, askedAtMs: known.askedAtMs };
    }
    const step = operatorTurns - (knownOperatorTurns ?? laneTurns);
    this.operators.set(operator, (this.operators.get(operator) ?? step) - step);
    return false;
  }

  /** No answer will come. */
  unanswered({ hold }: Take): void {
    this.entry(hold.hotkey).pending -= 1;
  }

  released(hotkey: string, { record, used }: Released): void {
    this.entry(hotkey).used = used;
    this.learned(hotkey, record);
  }

  learned(hotkey: string, record: MinerRecord | undefined): void {
    const entry = this.entry(hotkey);
    if (record && record.rev >= (entry.record?.rev ?? 0)) entry.record = record;
  }

  /** What this copy can say about a lane that was lost: everything but what is under way. */
  image(generation: string, proven: ReadonlyMap<string, number>, policy: RoutingPolicy): LaneImage {
    const records = new Map<string, MinerRecord>();
    for (const [hotkey, { record }] of this.entries) if (record) records.set(hotkey, record);
    for (const [hotkey, slots] of proven) {
      if (!records.has(hotkey)) records.set(hotkey, { ...newcomer(this.turns, slots), rev: 1 });
    }
    const operators = new Map([...this.operators].map(([name, turns]) => [name, this.caughtUp(turns, policy)]));
    return { generation, turns: this.turns, operators, records, used: new Map() };
  }

  provenSlots(): { hotkey: string; proven: number }[] {
    return [...this.entries].flatMap(([hotkey, { record }]) => (record ? [{ hotkey, proven: record.proven }] : []));
  }

  /** Whoever could not be asked for a while may catch up a little, and newcomers begin where the lane is. */
  private caughtUp(turns: number | undefined, policy: RoutingPolicy): number {
    return turns === undefined ? this.turns : Math.max(turns, this.turns - policy.creditTurns * TURN_MICRO);
  }

  /** The operator furthest behind among those that can be asked: the lane is as far as that. */
  private leastTurns(nowMs: number, policy: RoutingPolicy): number {
    let least = Infinity;
    for (const offer of this.members) {
      const turns = this.caughtUp(this.operators.get(offer.miner.operator), policy);
      if (turns < least && this.freeSlots(offer, nowMs, policy) > 0) least = turns;
    }
    return Number.isFinite(least) ? least : this.turns;
  }

  /** Whether nobody has a free slot. */
  isFull(nowMs: number, policy: RoutingPolicy): boolean {
    return this.members.every((offer) => this.freeSlots(offer, nowMs, policy) <= 0);
  }

  /**
   * Slots of all the operator's miners that can be asked, this one's included in any case. Those that a hotkey is believed to
   * have before it has proven any count once: ten hotkeys on one machine would otherwise have ten times as many.
   */
  private slotsOf(operator: string, own: Offer, nowMs: number, policy: RoutingPolicy): number {
    let [proven, believed] = [0, 0];
    const count = (slots: number): void => {
      if (slots > policy.rampStart + FIRST_STEP) proven += slots;
      else believed = Math.max(believed, slots);
    };
    count(provenOf(this.entries.get(own.miner.hotkey)?.record, own, policy));
    for (const offer of this.members) {
      const { hotkey } = offer.miner;
      if (offer.miner.operator !== operator || hotkey === own.miner.hotkey) continue;
      count(openSlots(this.entries.get(hotkey)?.record, offer, nowMs, policy));
    }
    return proven + believed;
  }

  private forget(): void {
    for (const entry of this.entries.values()) Object.assign(entry, { record: undefined, used: 0 });
    this.operators.clear();
    this.turns = 0;
  }

  private entry(hotkey: string): Entry {
    const known = this.entries.get(hotkey);
    if (known) return known;
    const entry: Entry = { record: undefined, used: 0, pending: 0 };
    this.entries.set(hotkey, entry);
    return entry;
  }
}

function share(slots: number): number {
  return Math.floor(TURN_MICRO / slots);
}

function inUse(entry: Entry | undefined): number {
  return entry ? entry.used + entry.pending : 0;
}

/** A reference is ours: it is believed. */
function provenOf(record: MinerRecord | undefined, { miner, slots }: Offer, policy: RoutingPolicy): number {
  if (miner.trusted) return slots;
  return Math.min(record?.proven ?? policy.rampStart, slots);
}

/** The slots that the circuit breaker leaves open: all, none, or the one of a probe. */
function openSlots(record: MinerRecord | undefined, offer: Offer, nowMs: number, policy: RoutingPolicy): number {
  const proven = provenOf(record, offer, policy);
  if (!record) return proven;
  const state = breakerState(record.breaker, nowMs);
  if (state === 'closed') return proven;
  return state === 'open' ? 0 : Math.min(1, proven);
}
