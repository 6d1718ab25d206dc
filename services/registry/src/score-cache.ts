import type { Redis } from 'ioredis';
import type { ScoreEvent } from '@studio/shared/contract/scores';
import type { JobKind } from '@studio/shared/domain/job';
import type { Policy } from '@studio/shared/domain/policy';
import { firstEpoch, validStep } from '@studio/shared/domain/score-window';
import { JOB_KINDS } from '@studio/shared/domain/task-kinds';
import type { Logger } from '@studio/shared/platform/logger';
import type { KindSum, ScoreStore, WindowSums } from './score.store';

/**
 * One sorted set per window, `scores:<policy>:<epoch>`, with everything in it: members `<kind>|<hotkey>` (points) and
 * `<kind>#|<hotkey>` (valid jobs), and under `#seq` the number up to which they count. One key is lost or kept as a whole,
 * so a flush, an eviction or an old copy can only leave sums that know what they contain.
 * Redis holds scores as doubles: exact up to 2⁵³ millionths, nine thousand million jobs of one miner.
 */
const SEQ = '#seq';

/** Long after an epoch's end nobody asks for its window. */
const TTL_SECONDS = 24 * 3_600;

/** Events behind at which summing anew in Postgres is cheaper than applying them one by one. */
const APPLY_LIMIT = 1_000;

/** Adds increments when the set counts up to exactly ARGV[1], and then lets it count up to ARGV[2]. Returns its number, −1 for none. */
const APPLY = `
local seq = redis.call('ZSCORE', KEYS[1], '${SEQ}')
if not seq then return -1 end
if seq ~= ARGV[1] then return tonumber(seq) end
for i = 4, #ARGV, 2 do redis.call('ZINCRBY', KEYS[1], ARGV[i + 1], ARGV[i]) end
redis.call('ZADD', KEYS[1], ARGV[2], '${SEQ}')
redis.call('EXPIRE', KEYS[1], ARGV[3])
return tonumber(ARGV[2])`;

/** Replaces the set by sums from Postgres. A newer set of another replica is replaced too: both are right at their number. */
const REPLACE = `
redis.call('DEL', KEYS[1])
for i = 3, #ARGV, 2 do redis.call('ZADD', KEYS[1], ARGV[i + 1], ARGV[i]) end
redis.call('ZADD', KEYS[1], ARGV[1], '${SEQ}')
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1`;

export interface CachedWindow {
  epoch: number;
  policy: Policy;
}

/** Sums of the open epoch's window: from Redis where it is whole and up to date, else from Postgres, which repairs it. */
export class ScoreCache {
  constructor(
    private readonly redis: Redis,
    private readonly store: ScoreStore,
    private readonly log: Pick<Logger, 'warn'>,
  ) {}

  /** Never older than what was committed when the call began. */
  async sums(window: CachedWindow): Promise<WindowSums> {
    const lastSeq = await this.store.lastSeq();
    try {
      return (await this.cached(window, lastSeq)) ?? (await this.rebuild(window));
    } catch (error) {
      if (!isRedisFault(error)) throw error;
      this.log.warn({ err: error }, 'scores are served from Postgres: Redis does not answer');
      return this.store.sums(bounds(window));
    }
  }

  private async cached(window: CachedWindow, lastSeq: number): Promise<WindowSums | null> {
    const held = await this.redis.zscore(keyOf(window), SEQ).catch(asRedisFault);
    if (held === null) return null;
    const seq = Number(held);
    // Ahead of the log: the copy of another database.
    if (seq > lastSeq || lastSeq - seq > APPLY_LIMIT) return null;
    if (seq < lastSeq && !(await this.apply(window, seq))) return null;
    const read = await this.read(window);
    return read && read.seq >= lastSeq ? read : null;
  }

  /** False when another replica moved or removed the set meanwhile. */
  private async apply(window: CachedWindow, seq: number): Promise<boolean> {
    const events = await this.store.events(seq, APPLY_LIMIT);
    const end = events.at(-1)?.seq ?? seq;
    const increments = events.flatMap((event) => incrementsOf(event, window));
    const result = await this.redis
      .eval(APPLY, 1, keyOf(window), seq, end, TTL_SECONDS, ...increments)
      .catch(asRedisFault);
    return Number(result) >= end;
  }

  private async rebuild(window: CachedWindow): Promise<WindowSums> {
    const fresh = await this.store.sums(bounds(window));
    const members = fresh.sums.flatMap((sum) => [
      pointsMember(sum.kind, sum.hotkey),
      sum.points.toString(),
      validMember(sum.kind, sum.hotkey),
      sum.valid,
    ]);
    await this.redis.eval(REPLACE, 1, keyOf(window), fresh.seq, TTL_SECONDS, ...members).catch(asRedisFault);
    return fresh;
  }

  private async read(window: CachedWindow): Promise<WindowSums | null> {
    const flat = await this.redis.zrange(keyOf(window), 0, -1, 'WITHSCORES').catch(asRedisFault);
    const scores = new Map<string, number>();
    for (let i = 0; i < flat.length; i += 2) scores.set(flat[i] ?? '', Number(flat[i + 1]));
    const seq = scores.get(SEQ);
    if (seq === undefined) return null;
    const sums: KindSum[] = [];
    for (const [member, points] of scores) {
      const [kind, hotkey] = member.split('|');
      if (hotkey === undefined || !isKind(kind)) continue;
      sums.push({ hotkey, kind, points: BigInt(points), valid: scores.get(validMember(kind, hotkey)) ?? 0 });
    }
    return { seq, sums };
  }
}

function incrementsOf(event: ScoreEvent, window: CachedWindow): (string | number)[] {
  const { hotkey, kind, points, type, epoch } = event;
  const { epoch: last, windowEpochs } = bounds(window);
  if (type === 'snapshot' || !hotkey || !kind || points === undefined) return [];
  if (epoch > last || epoch < firstEpoch({ epoch: last, windowEpochs })) return [];
  return [pointsMember(kind, hotkey), points, validMember(kind, hotkey), validStep(type)];
}

const keyOf = ({ epoch, policy }: CachedWindow): string => `scores:${policy.version}:${epoch}`;
const pointsMember = (kind: JobKind, hotkey: string): string => `${kind}|${hotkey}`;
const validMember = (kind: JobKind, hotkey: string): string => `${kind}#|${hotkey}`;
const isKind = (text: string | undefined): text is JobKind => (JOB_KINDS as readonly unknown[]).includes(text);
const bounds = ({ epoch, policy }: CachedWindow) => ({ epoch, windowEpochs: policy.windowEpochs });

/** Told apart from a fault of Postgres, which has no substitute. */
class RedisFault extends Error {}

function asRedisFault(error: unknown): never {
  throw new RedisFault('redis', { cause: error });
}

function isRedisFault(error: unknown): error is RedisFault {
  return error instanceof RedisFault;
}
