/** How busy each miner is, whose turn it is, and who has which LoRA: the figures that dispatch-policy.ts decides on. */
import { TURN_MICRO, type Candidate } from '@studio/shared/domain/dispatch-policy';
import type { Engine, JobKind } from '@studio/shared/domain/job';
import type { MinerLoadRow } from '../dispatch.store';
import type { Offer } from './miner-directory';

/** After a 429 the slots were fewer than declared; short, because one job takes about this long. */
const BUSY_MS = 250;

/** Miner and LoRA pairs that are remembered; the oldest go. A wrong memory costs one transfer. */
const MAX_HELD = 10_000;

export interface MinerCandidate extends Candidate {
  offer: Offer;
}

interface Lane {
  /** Attempts under way at the last look into the database. */
  stored: number;
  /** Attempts that this worker opened since, less those it saw end. */
  since: number;
  /** Chosen, but not yet in the database. */
  pending: number;
  turns: number;
  busyUntil: number;
}

export class MinerLoad {
  private readonly lanes = new Map<string, Lane>();
  private readonly held = new Set<string>();

  constructor(private readonly clock: () => number = () => performance.now()) {}

  /** The truth of all workers; what this worker did since the last look is in it. */
  replace(rows: readonly MinerLoadRow[]): void {
    for (const lane of this.lanes.values()) Object.assign(lane, { stored: 0, since: 0 });
    for (const { hotkey, kind, engine, open } of rows) this.lane(hotkey, kind, engine).stored = open;
  }

  /** `lora`: SHA-256 of the LoRA that the job renders with, null for none. */
  candidates(offers: readonly Offer[], kind: JobKind, engine: Engine, lora: string | null): MinerCandidate[] {
    this.admit(offers, kind, engine);
    return offers.map((offer) => {
      const { hotkey, operator } = offer.miner;
      const lane = this.lane(hotkey, kind, engine);
      const busy = lane.busyUntil > this.clock();
      const freeSlots = busy ? 0 : Math.max(0, offer.slots - lane.pending - Math.max(0, lane.stored + lane.since));
      const holdsLora = lora !== null && this.held.has(`${hotkey}|${lora}`);
      const turns = Math.floor((lane.turns * TURN_MICRO) / offer.slots);
      const asked = { operatorTurns: turns, minerTurns: turns, askedAtMs: Infinity };
      return { hotkey, operator, slots: offer.slots, freeSlots, ...asked, holdsLora, offer };
    });
  }

  chosen(hotkey: string, kind: JobKind, engine: Engine): void {
    const lane = this.lane(hotkey, kind, engine);
    lane.pending += 1;
    lane.turns += 1;
  }

  /** The attempt is in the database, or (`false`) will never be. */
  opened(hotkey: string, kind: JobKind, engine: Engine, stored: boolean): void {
    const lane = this.lane(hotkey, kind, engine);
    lane.pending -= 1;
    if (stored) lane.since += 1;
  }

  /** The miner has just made or used this LoRA. */
  holds(hotkey: string, lora: string): void {
    this.held.add(`${hotkey}|${lora}`);
    for (const oldest of this.held) {
      if (this.held.size <= MAX_HELD) break;
      this.held.delete(oldest);
    }
  }

  ended(hotkey: string, kind: JobKind, engine: Engine): void {
    this.lane(hotkey, kind, engine).since -= 1;
  }

  refused(hotkey: string, kind: JobKind, engine: Engine): void {
    this.lane(hotkey, kind, engine).busyUntil = this.clock() + BUSY_MS;
  }

  /** A newcomer starts level with the least served: from zero it would get every job until it had caught up. */
  private admit(offers: readonly Offer[], kind: JobKind, engine: Engine): void {
    const known = offers.filter(({ miner }) => this.lanes.has(laneKey(miner.hotkey, kind, engine)));
    if (known.length === offers.length || known.length === 0) return;
    const perSlot = known.map(({ miner, slots }) => this.lane(miner.hotkey, kind, engine).turns / slots);
    const level = Math.min(...perSlot);
    for (const offer of offers) {
      if (!known.includes(offer)) this.lane(offer.miner.hotkey, kind, engine).turns = Math.floor(level * offer.slots);
    }
  }

  private lane(hotkey: string, kind: JobKind, engine: Engine): Lane {
    const key = laneKey(hotkey, kind, engine);
    const lane = this.lanes.get(key) ?? { stored: 0, since: 0, pending: 0, turns: 0, busyUntil: 0 };
    this.lanes.set(key, lane);
    return lane;
  }
}

function laneKey(hotkey: string, kind: JobKind, engine: Engine): string {
  return `${hotkey}|${kind}|${engine}`;
}
