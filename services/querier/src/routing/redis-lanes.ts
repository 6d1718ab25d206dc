/**
 * Lanes in Redis, shared by all workers. Each lane is a hash and a sorted set of holds by the time they run out, under one
 * hash tag, so that a cluster keeps them together:
 *
 *     turns:{kind|engine}        g → generation · t → the lane's turns · o:<operator> → its turns
 *                                m:<hotkey> → packed record · u:<hotkey> → slots in use
 *     turns:{kind|engine}:holds  <hotkey>|<job>:<attempt>|<1: took the last slot> → runs out at; <generation> → +inf
 *     holders:<lora>             <hotkey> → last used at
 *
 * The generation stands in both, so that a lane of which one half was evicted counts as lost. Scripts get the time from
 * their caller. They decide nothing but whether the caller's copy was the newest: the rules are TypeScript.
 */
import type { Redis } from 'ioredis';
import { packRecord, unpackRecord, type MinerRecord } from './lane-record';
import {
  HOLDER_TTL_MS,
  LANE_TTL_MS,
  MAX_HOLDERS,
  type HoldName,
  type LaneImage,
  type LaneName,
  type LaneStore,
  type Released,
  type Take,
  type TakeAnswer,
  type TakeVerdict,
  type TimedHold,
} from './lane-store';

const SHARED = `
local lane, holds, now = KEYS[1], KEYS[2], ARGV[1]
local function present()
  local generation = redis.call('HGET', lane, 'g')
  return generation and redis.call('ZSCORE', holds, generation)
end
local function drop(member)
  if redis.call('ZREM', holds, member) == 0 then return false end
  local field = 'u:' .. string.match(member, '^[^|]*')
  if redis.call('HINCRBY', lane, field, -1) < 1 then redis.call('HDEL', lane, field) end
  return true
end
local function sweep()
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', holds, '-inf', now)) do drop(member) end
end
local function add(hotkey, name, expires, filled)
  redis.call('ZADD', holds, expires, hotkey .. '|' .. name .. '|' .. filled)
  return redis.call('HINCRBY', lane, 'u:' .. hotkey, 1)
end
local function restore(from)
  for i = from, #ARGV, 3 do
    local member = ARGV[i] .. '|' .. ARGV[i + 1] .. '|'
    if not redis.call('ZSCORE', holds, member .. '0') and not redis.call('ZSCORE', holds, member .. '1') then
      add(ARGV[i], ARGV[i + 1], ARGV[i + 2], '0')
    end
  end
end
local function used(hotkey) return tonumber(redis.call('HGET', lane, 'u:' .. hotkey) or '0') end
local function keep()
  redis.call('PEXPIRE', lane, ${LANE_TTL_MS})
  redis.call('PEXPIRE', holds, ${LANE_TTL_MS})
end
`;

const READ = `${SHARED}
if not present() then return {} end
sweep()
return redis.call('HGETALL', lane)`;

/** ARGV: now, number of field values, the fields and values of the hash, then hotkey, name, expiry of each hold. */
const CREATE = `${SHARED}
if present() then return 0 end
redis.call('DEL', lane, holds)
local last = 2 + tonumber(ARGV[2])
for i = 3, last, 2 do redis.call('HSET', lane, ARGV[i], ARGV[i + 1]) end
redis.call('ZADD', holds, '+inf', redis.call('HGET', lane, 'g'))
restore(last + 1)
keep()
return 1`;

/** ARGV: now, hotkey, name, expiry, operator, known revision, known operator's turns, record, both turns, slots, proven. */
const TAKE = `${SHARED}
if not present() then return { 'absent', '', 0, '', '0' } end
sweep()
local hotkey, miner, operator = ARGV[2], 'm:' .. ARGV[2], 'o:' .. ARGV[5]
local record, turns = redis.call('HGET', lane, miner) or '', redis.call('HGET', lane, operator) or ''
local rev, inUse, verdict = string.match(record, '^%d+') or '0', used(hotkey), 'taken'
if rev ~= ARGV[6] or turns ~= ARGV[7] then verdict = 'behind'
elseif inUse >= tonumber(ARGV[11]) then verdict = 'full'
else
  record, turns = ARGV[8], ARGV[9]
  redis.call('HSET', lane, miner, record, operator, turns)
  if tonumber(ARGV[10]) > tonumber(redis.call('HGET', lane, 't')) then redis.call('HSET', lane, 't', ARGV[10]) end
  inUse = add(hotkey, ARGV[3], ARGV[4], inUse + 1 >= tonumber(ARGV[12]) and '1' or '0')
  keep()
end
return { verdict, record, inUse, turns, redis.call('HGET', lane, 't') }`;

/** ARGV: now, hotkey, name. */
const RELEASE = `${SHARED}
if not present() then return {} end
sweep()
local member = ARGV[2] .. '|' .. ARGV[3] .. '|'
local filled = drop(member .. '1')
if not filled and not drop(member .. '0') then return {} end
return { redis.call('HGET', lane, 'm:' .. ARGV[2]) or '', used(ARGV[2]), filled and 1 or 0 }`;

/** ARGV: now, hotkey, revision it follows, record. */
const LEARN = `${SHARED}
if not present() then return '' end
local record = redis.call('HGET', lane, 'm:' .. ARGV[2]) or ''
if string.match(record, '^%d+') ~= ARGV[3] then return record end
redis.call('HSET', lane, 'm:' .. ARGV[2], ARGV[4])
return ARGV[4]`;

/** ARGV: now, then hotkey, name, expiry of each hold. */
const RESTORE = `${SHARED}
if present() then restore(2) end`;

const SCRIPTS = { READ, CREATE, TAKE, RELEASE, LEARN, RESTORE };
type Script = (...args: (string | number)[]) => Promise<unknown>;

export class RedisLanes implements LaneStore {
  private readonly scripts: Record<string, Script>;

  constructor(private readonly redis: Redis) {
    for (const [name, lua] of Object.entries(SCRIPTS)) {
      redis.defineCommand(`lane${name}`, { numberOfKeys: 2, lua });
    }
    this.scripts = redis as unknown as Record<string, Script>;
  }

  /** A connection that was lost is opened again by its client; no command has to ask for it. */
  get isConnected(): boolean {
    return this.redis.status === 'ready';
  }

  async read(lane: LaneName, nowMs: number): Promise<LaneImage | undefined> {
    const flat = (await this.run('READ', lane, nowMs)) as string[];
    return flat.length === 0 ? undefined : imageOf(flat);
  }

  async create(lane: LaneName, image: LaneImage, holds: readonly TimedHold[], nowMs: number): Promise<boolean> {
    const fields = [
      ['g', image.generation],
      ['t', image.turns],
      ...[...image.operators].map(([operator, turns]) => [`o:${operator}`, turns]),
      ...[...image.records].map(([hotkey, record]) => [`m:${hotkey}`, packRecord(record)]),
    ].flat();
    return (await this.run('CREATE', lane, nowMs, fields.length, ...fields, ...triples(holds))) === 1;
  }

  async take(lane: LaneName, take: Take): Promise<TakeAnswer> {
    const { hold, operator, known, knownOperatorTurns = '', record, operatorTurns, laneTurns, nowMs } = take;
    const { hotkey, name, expiresAtMs } = hold;
    const decidedOn = [operator, known.rev, knownOperatorTurns];
    const next = [packRecord(record), operatorTurns, laneTurns, take.slots, take.proven];
    const reply = await this.run('TAKE', lane, nowMs, hotkey, name, expiresAtMs, ...decidedOn, ...next);
    const [verdict, stored, used, turns, reached] = reply as [TakeVerdict, string, number, string, string];
    return {
      verdict,
      record: unpackRecord(stored),
      used,
      operatorTurns: turns === '' ? undefined : Number(turns),
      laneTurns: Number(reached),
    };
  }

  async release(lane: LaneName, { hotkey, name }: HoldName, nowMs: number): Promise<Released | undefined> {
    const reply = (await this.run('RELEASE', lane, nowMs, hotkey, name)) as [] | [string, number, number];
    if (reply.length === 0) return undefined;
    const [record, used, filled] = reply;
    return { record: unpackRecord(record), used, filled: filled === 1 };
  }

  async learn(lane: LaneName, hotkey: string, record: MinerRecord): Promise<MinerRecord | undefined> {
    return unpackRecord((await this.run('LEARN', lane, 0, hotkey, record.rev - 1, packRecord(record))) as string);
  }

  async holds(lane: LaneName, nowMs: number): Promise<HoldName[]> {
    const members = await this.redis.zrangebyscore(keysOf(lane)[1], `(${nowMs}`, '(+inf');
    return members.map((member) => {
      const [hotkey = '', name = ''] = member.split('|');
      return { hotkey, name };
    });
  }

  async restore(lane: LaneName, holds: readonly TimedHold[], nowMs: number): Promise<void> {
    if (holds.length > 0) await this.run('RESTORE', lane, nowMs, ...triples(holds));
  }

  async addHolder(lora: string, hotkey: string, nowMs: number): Promise<void> {
    const key = `holders:${lora}`;
    const all = this.redis.multi().zadd(key, nowMs, hotkey);
    await all
      .zremrangebyrank(key, 0, -MAX_HOLDERS - 1)
      .pexpire(key, HOLDER_TTL_MS)
      .exec();
  }

  async holders(lora: string, nowMs: number): Promise<string[]> {
    return this.redis.zrangebyscore(`holders:${lora}`, `(${nowMs - HOLDER_TTL_MS}`, '+inf');
  }

  private run(script: keyof typeof SCRIPTS, lane: LaneName, ...args: (string | number)[]): Promise<unknown> {
    return this.scripts[`lane${script}`]!.call(this.redis, ...keysOf(lane), ...args);
  }
}

function keysOf(lane: LaneName): [lane: string, holds: string] {
  return [`turns:{${lane}}`, `turns:{${lane}}:holds`];
}

function triples(holds: readonly TimedHold[]): (string | number)[] {
  return holds.flatMap(({ hotkey, name, expiresAtMs }) => [hotkey, name, expiresAtMs]);
}

function imageOf(flat: readonly string[]): LaneImage {
  const operators = new Map<string, number>();
  const records = new Map<string, MinerRecord>();
  const used = new Map<string, number>();
  let [generation, turns] = ['', 0];
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const [field = '', value = ''] = flat.slice(i, i + 2);
    const name = field.slice(2);
    if (field === 'g') generation = value;
    else if (field === 't') turns = Number(value);
    else if (field.startsWith('o:')) operators.set(name, Number(value));
    else if (field.startsWith('u:')) used.set(name, Number(value));
    else if (field.startsWith('m:')) {
      const record = unpackRecord(value);
      if (record) records.set(name, record);
    }
  }
  return { generation, turns, operators, records, used };
}
