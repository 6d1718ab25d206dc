/**
 * Turns of all lanes for one process: decisions on the copies (lane-copy.ts), reservations in the shared store
 * (lane-store.ts), and the way back when the store has lost a lane. Called by the workers' job runs, and by the api where
 * a callback ends an attempt.
 */
import { randomUUID } from 'node:crypto';
import type { RoutingPolicy } from '@studio/shared/domain/policy';
import { TASK_KINDS } from '@studio/shared/domain/task-kinds';
import type { Logger } from '@studio/shared/platform/logger';
import { LaneCopy } from './lane-copy';
import { learned } from './lane-record';
import {
  restAfter,
  type HoldName,
  type LaneImage,
  type LaneStore,
  type Released,
  type Take,
  type TimedHold,
} from './lane-store';
import { LoraHolders } from './lora-holders';
import type { Offer } from './miner-directory';
import type { EndNotes, HoldEnd, Lane, SlotHold, TurnCandidate, Turns } from './turns';

/** What Postgres knows of a lane. */
export interface LaneRows {
  /** The holds of all attempts under way. */
  openHolds(lane: Lane, nowMs: number): Promise<TimedHold[]>;
  provenSlots(lane: Lane): Promise<Map<string, number>>;
}

export interface TurnBoardParts {
  store: LaneStore;
  rows: LaneRows;
  /** Every offer for this lane that is not barred, references included. */
  directory: { every(kind: Lane['kind'], engine: Lane['engine']): readonly Offer[] };
  policy: () => RoutingPolicy;
  log: Pick<Logger, 'warn'>;
  /** Hears that a slot has become free, or that more of them are proven. */
  onFree?: () => void;
  /** Wall clock, the same in all processes: clocks that differ shift the ends of holds and breakers, nothing else. */
  clock?: () => number;
}

/**
 * After a refusal the whole copy is read again, unless it is as young as this. Each refusal corrects the miner that it is
 * about, which costs a fifth of a reading of 256 miners: up to some of them a reading would cost more.
 */
const REREAD_MS = 50;
/** A reservation becomes a row within this: a lane that is made anew before then is told of it by its worker. */
const ROW_WITHIN_MS = 10_000;
/** Others may learn about the same miner at the same moment; what is lost after so many tries is one lesson. */
const LEARN_TRIES = 8;

export class TurnBoard implements Turns {
  private readonly lanes = new Map<string, LaneCopy>();
  private readonly loras: LoraHolders;
  private readonly clock: () => number;
  private readonly reads = new Map<LaneCopy, Promise<void>>();
  private readonly unfinished = new Set<Promise<void>>();
  /** Reservations that may not be rows yet, with the time of each. */
  private readonly recent = new Map<string, { hold: TimedHold; lane: LaneCopy; takenAtMs: number }>();

  constructor(private readonly parts: TurnBoardParts) {
    this.clock = parts.clock ?? (() => Date.now());
    this.loras = new LoraHolders(parts.store, this.clock);
  }

  candidates(offers: readonly Offer[], lane: Lane, lora: string | null): TurnCandidate[] {
    const copy = this.copy(lane);
    const holders = lora === null ? new Set<string>() : this.loras.of(lora);
    const [nowMs, policy] = [this.clock(), this.parts.policy()];
    return askedAsOperators(
      offers.map((offer) => copy.candidate(offer, holders.has(offer.miner.hotkey), nowMs, policy)),
    );
  }

  async reserve(candidate: TurnCandidate, hold: SlotHold, ttlMs: number): Promise<boolean> {
    const nowMs = this.clock();
    const copy = this.copy(hold);
    const timed = { ...nameOf(hold), expiresAtMs: nowMs + ttlMs };
    const take = copy.take(candidate, timed, nowMs, this.parts.policy());
    const answer = await this.ask(copy, take);
    if (copy.taken(take, answer)) {
      this.recent.set(recentKey(copy, timed), { hold: timed, lane: copy, takenAtMs: nowMs });
      return true;
    }
    const ageMs = this.clock() - copy.readAtMs;
    if (answer.verdict === 'absent' || ageMs < 0 || ageMs >= REREAD_MS) await this.read(copy, hold);
    return false;
  }

  settle(hold: SlotHold, end: HoldEnd, notes: EndNotes = {}): void {
    this.follow(this.end(hold, end, notes));
  }

  holds(hotkey: string, lora: string): void {
    this.follow(this.loras.add(lora, hotkey));
  }

  async learnHolders(lora: string): Promise<void> {
    await this.loras.learn(lora).catch((err: unknown) => this.warn(err));
  }

  async refresh(maxAgeMs: number): Promise<void> {
    const nowMs = this.clock();
    this.forgetOldReservations(nowMs);
    const stale = TASK_KINDS.filter((lane) => {
      const copy = this.copy(lane);
      const offers = this.members(lane, copy);
      // A clock that was set back must not keep a copy for ever.
      return offers > 0 && !(copy.readAtMs <= nowMs && nowMs - copy.readAtMs < maxAgeMs);
    });
    await Promise.all(stale.map((lane) => this.read(this.copy(lane), lane).catch((err: unknown) => this.warn(err))));
  }

  /** Free slots as far as the copies know, by `roomKey`. A lane without miners is not among them: its jobs have to hear of it. */
  room(): Map<string, number> {
    const [nowMs, policy] = [this.clock(), this.parts.policy()];
    const room = new Map<string, number>();
    for (const lane of TASK_KINDS) {
      const copy = this.copy(lane);
      for (const { miner, slots } of this.parts.directory.every(lane.kind, lane.engine)) {
        const free = copy.freeSlots({ miner, slots }, nowMs, policy);
        room.set(roomKey(lane, miner.hotkey), free);
        // A reference has room only for the jobs that name it.
        if (!miner.trusted) room.set(roomKey(lane), (room.get(roomKey(lane)) ?? 0) + free);
      }
    }
    return room;
  }

  /** What each miner of a lane has proven, as far as this process knows. */
  proven(lane: Lane): { hotkey: string; proven: number }[] {
    return this.copy(lane).provenSlots();
  }

  /** Resolves when everything that was settled has been written. */
  async drain(): Promise<void> {
    while (this.unfinished.size > 0) await Promise.all(this.unfinished);
  }

  private async ask(copy: LaneCopy, take: Take): ReturnType<LaneStore['take']> {
    try {
      return await this.parts.store.take(copy.name, take);
    } catch (error) {
      copy.unanswered(take);
      throw error;
    }
  }

  private async end(hold: SlotHold, end: HoldEnd, { restMs = 0, isSlow = false }: EndNotes): Promise<void> {
    const copy = this.copy(hold);
    const name = nameOf(hold);
    this.recent.delete(recentKey(copy, name));
    const isProof = !isSlow || (await this.isFull(copy, hold));
    const released = await this.parts.store.release(copy.name, name, this.clock());
    if (!released) return;
    const rests = restMs > 0 && (await this.restSlot(copy, hold, restMs));
    copy.released(hold.hotkey, rests ? { ...released, used: released.used + 1 } : released);
    await this.learn(copy, hold, end, { ...released, filled: released.filled && isProof });
    this.parts.onFree?.();
  }

  /**
   * Whether every miner of the lane has all its slots in use. Only then does a slow success prove one more: otherwise whoever
   * held its answers back would have more jobs under way, and would get more for that alone.
   */
  private async isFull(copy: LaneCopy, lane: Lane): Promise<boolean> {
    const nowMs = this.clock();
    if (!(copy.readAtMs <= nowMs && nowMs - copy.readAtMs < REREAD_MS)) await this.read(copy, lane);
    return copy.isFull(nowMs, this.parts.policy());
  }

  /** A reference is ours: it gains nothing by refusing, and audits wait for it. */
  private async restSlot(copy: LaneCopy, hold: SlotHold, restMs: number): Promise<boolean> {
    const nowMs = this.clock();
    if (this.offerOf(hold)?.miner.trusted) return false;
    await this.parts.store.restore(copy.name, [{ ...restAfter(nameOf(hold)), expiresAtMs: nowMs + restMs }], nowMs);
    return true;
  }

  private async learn(copy: LaneCopy, hold: SlotHold, end: HoldEnd, { record, used, filled }: Released): Promise<void> {
    let known = record;
    for (let tries = 0; known && tries < LEARN_TRIES; tries += 1) {
      const declared = this.offerOf(hold)?.slots ?? known.proven;
      const lesson = { end, declared, filled, beside: used, nowMs: this.clock() };
      const next = learned(known, lesson, this.parts.policy());
      if (!next) return;
      known = await this.parts.store.learn(copy.name, hold.hotkey, next);
      copy.learned(hold.hotkey, known);
      if (known?.rev === next.rev && known.turns === next.turns) return;
    }
  }

  /** One reading at a time for each lane; whoever asks meanwhile shares it. */
  private read(copy: LaneCopy, lane: Lane): Promise<void> {
    const reading = this.reads.get(copy) ?? this.readLane(copy, lane).finally(() => this.reads.delete(copy));
    this.reads.set(copy, reading);
    return reading;
  }

  private async readLane(copy: LaneCopy, lane: Lane): Promise<void> {
    const { store } = this.parts;
    this.members(lane, copy);
    const image = (await store.read(copy.name, this.clock())) ?? (await this.rebuild(copy, lane));
    if (!image) return;
    const nowMs = this.clock();
    // Made anew, perhaps by another worker, who does not know what was reserved here a moment ago.
    if (copy.replace(image, nowMs)) await store.restore(copy.name, this.recentHolds(copy), nowMs);
  }

  /** Of all workers that notice, the first to write makes the lane. */
  private async rebuild(copy: LaneCopy, lane: Lane): Promise<LaneImage | undefined> {
    const { rows, store, policy } = this.parts;
    const [open, proven] = await Promise.all([rows.openHolds(lane, this.clock()), rows.provenSlots(lane)]);
    await store.create(copy.name, copy.image(randomUUID(), proven, policy()), open, this.clock());
    return store.read(copy.name, this.clock());
  }

  private recentHolds(of: LaneCopy): TimedHold[] {
    return [...this.recent.values()].flatMap(({ hold, lane }) => (lane === of ? [hold] : []));
  }

  private forgetOldReservations(nowMs: number): void {
    for (const [key, { takenAtMs }] of this.recent) {
      if (nowMs - takenAtMs < ROW_WITHIN_MS && nowMs >= takenAtMs) break;
      this.recent.delete(key);
    }
  }

  private offerOf({ hotkey, kind, engine }: SlotHold): Offer | undefined {
    return this.parts.directory.every(kind, engine).find(({ miner }) => miner.hotkey === hotkey);
  }

  private members({ kind, engine }: Lane, copy: LaneCopy): number {
    const everybody = this.parts.directory.every(kind, engine);
    copy.setMembers(everybody.filter(({ miner }) => !miner.trusted));
    return everybody.length;
  }

  private copy({ kind, engine }: Lane): LaneCopy {
    const name = `${kind}|${engine}`;
    const copy = this.lanes.get(name) ?? new LaneCopy(name);
    this.lanes.set(name, copy);
    return copy;
  }

  private follow(work: Promise<void>): void {
    const followed = work.catch((err: unknown) => this.warn(err)).finally(() => this.unfinished.delete(followed));
    this.unfinished.add(followed);
  }

  private warn(err: unknown): void {
    this.parts.log.warn({ err }, 'turns are not up to date');
  }
}

function askedAsOperators(candidates: TurnCandidate[]): TurnCandidate[] {
  const latest = new Map<string, number>();
  for (const { operator, askedAtMs } of candidates)
    latest.set(operator, Math.max(askedAtMs, latest.get(operator) ?? 0));
  for (const candidate of candidates) candidate.askedAtMs = latest.get(candidate.operator) ?? 0;
  return candidates;
}

function recentKey({ name: lane }: LaneCopy, { hotkey, name }: HoldName): string {
  return `${lane}|${hotkey}|${name}`;
}

/** `kind|engine`, or `kind|engine|hotkey` for what only this miner may do: as the claim of jobs writes it. */
export function roomKey({ kind, engine }: Lane, onlyHotkey?: string): string {
  return onlyHotkey === undefined ? `${kind}|${engine}` : `${kind}|${engine}|${onlyHotkey}`;
}

function nameOf({ hotkey, jobId, attemptNo }: SlotHold): HoldName {
  return { hotkey, name: `${jobId}:${attemptNo}` };
}
