/** Lanes in this process: for a worker whose Redis is away, and shared by the workers of a simulation. */
import type { MinerRecord } from './lane-record';
import {
  HOLDER_TTL_MS,
  MAX_HOLDERS,
  type HoldName,
  type LaneImage,
  type LaneName,
  type LaneStore,
  type Released,
  type Take,
  type TakeAnswer,
  type TimedHold,
} from './lane-store';

interface StoredHold extends TimedHold {
  filled: boolean;
}

interface StoredLane {
  generation: string;
  turns: number;
  operators: Map<string, number>;
  records: Map<string, MinerRecord>;
  used: Map<string, number>;
  /** By miner and name, in the order they were taken. */
  holds: Map<string, StoredHold>;
  /** No hold ends before this: most calls then need not look. */
  nextExpiryMs: number;
}

const ABSENT: TakeAnswer = { verdict: 'absent', record: undefined, used: 0, operatorTurns: undefined, laneTurns: 0 };

export class MemoryLanes implements LaneStore {
  private readonly lanes = new Map<LaneName, StoredLane>();
  private readonly loras = new Map<string, Map<string, number>>();

  /** Forgets everything, as a flush of Redis does. */
  clear(): void {
    this.lanes.clear();
    this.loras.clear();
  }

  async read(name: LaneName, nowMs: number): Promise<LaneImage | undefined> {
    const lane = this.lane(name, nowMs);
    if (!lane) return undefined;
    const { generation, turns, operators, records, used } = lane;
    return { generation, turns, operators: new Map(operators), records: new Map(records), used: new Map(used) };
  }

  async create(name: LaneName, image: LaneImage, holds: readonly TimedHold[], nowMs: number): Promise<boolean> {
    if (this.lanes.has(name)) return false;
    this.lanes.set(name, {
      generation: image.generation,
      turns: image.turns,
      operators: new Map(image.operators),
      records: new Map(image.records),
      used: new Map(),
      holds: new Map(),
      nextExpiryMs: Infinity,
    });
    await this.restore(name, holds, nowMs);
    return true;
  }

  async take(name: LaneName, take: Take): Promise<TakeAnswer> {
    const { hold, operator, nowMs } = take;
    const lane = this.lane(name, nowMs);
    if (!lane) return ABSENT;
    const used = lane.used.get(hold.hotkey) ?? 0;
    const isBehind =
      (lane.records.get(hold.hotkey)?.rev ?? 0) !== take.known.rev ||
      lane.operators.get(operator) !== take.knownOperatorTurns;
    if (isBehind) return answer(lane, take, 'behind');
    if (used >= take.slots) return answer(lane, take, 'full');
    lane.records.set(hold.hotkey, take.record);
    lane.operators.set(operator, take.operatorTurns);
    lane.turns = Math.max(lane.turns, take.laneTurns);
    addHold(lane, { ...hold, filled: used + 1 >= take.proven });
    return answer(lane, take, 'taken');
  }

  async release(name: LaneName, released: HoldName, nowMs: number): Promise<Released | undefined> {
    const lane = this.lane(name, nowMs);
    const hold = lane?.holds.get(keyOf(released));
    if (!lane || !hold) return undefined;
    const { hotkey } = hold;
    removeHold(lane, hold);
    return { record: lane.records.get(hotkey), used: lane.used.get(hotkey) ?? 0, filled: hold.filled };
  }

  async learn(name: LaneName, hotkey: string, record: MinerRecord): Promise<MinerRecord | undefined> {
    const lane = this.lanes.get(name);
    const stored = lane?.records.get(hotkey);
    if (stored?.rev !== record.rev - 1) return stored;
    lane?.records.set(hotkey, record);
    return record;
  }

  async holds(name: LaneName, nowMs: number): Promise<HoldName[]> {
    return [...(this.lane(name, nowMs)?.holds.values() ?? [])].map(({ hotkey, name: holdName }) => ({
      hotkey,
      name: holdName,
    }));
  }

  async restore(name: LaneName, holds: readonly TimedHold[], nowMs: number): Promise<void> {
    const lane = this.lane(name, nowMs);
    for (const hold of holds) if (lane && !lane.holds.has(keyOf(hold))) addHold(lane, { ...hold, filled: false });
  }

  async addHolder(lora: string, hotkey: string, nowMs: number): Promise<void> {
    const holders = this.loras.get(lora) ?? new Map<string, number>();
    this.loras.set(lora, holders);
    // Taken out first: a Map keeps the order of insertion, and the oldest go.
    holders.delete(hotkey);
    holders.set(hotkey, nowMs);
    for (const oldest of holders.keys()) {
      if (holders.size <= MAX_HOLDERS) break;
      holders.delete(oldest);
    }
  }

  async holders(lora: string, nowMs: number): Promise<string[]> {
    const known = this.loras.get(lora) ?? new Map<string, number>();
    return [...known].filter(([, usedAtMs]) => usedAtMs > nowMs - HOLDER_TTL_MS).map(([hotkey]) => hotkey);
  }

  /** The lane without the holds that ran out. */
  private lane(name: LaneName, nowMs: number): StoredLane | undefined {
    const lane = this.lanes.get(name);
    if (!lane || lane.nextExpiryMs > nowMs) return lane;
    for (const hold of [...lane.holds.values()]) if (hold.expiresAtMs <= nowMs) removeHold(lane, hold);
    lane.nextExpiryMs = Math.min(...[...lane.holds.values()].map(({ expiresAtMs }) => expiresAtMs));
    return lane;
  }
}

function answer(
  lane: StoredLane,
  { hold: { hotkey }, operator }: Take,
  verdict: 'taken' | 'behind' | 'full',
): TakeAnswer {
  return {
    verdict,
    record: lane.records.get(hotkey),
    used: lane.used.get(hotkey) ?? 0,
    operatorTurns: lane.operators.get(operator),
    laneTurns: lane.turns,
  };
}

function keyOf({ hotkey, name }: HoldName): string {
  return `${hotkey}|${name}`;
}

function addHold(lane: StoredLane, hold: StoredHold): void {
  lane.holds.set(keyOf(hold), hold);
  lane.used.set(hold.hotkey, (lane.used.get(hold.hotkey) ?? 0) + 1);
  lane.nextExpiryMs = Math.min(lane.nextExpiryMs, hold.expiresAtMs);
}

function removeHold(lane: StoredLane, hold: StoredHold): void {
  const { hotkey } = hold;
  lane.holds.delete(keyOf(hold));
  const left = (lane.used.get(hotkey) ?? 0) - 1;
  if (left > 0) lane.used.set(hotkey, left);
  else lane.used.delete(hotkey);
}
