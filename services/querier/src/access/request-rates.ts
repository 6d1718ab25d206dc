/**
 * How often a key may ask. One bucket a key, shared by all replicas in Redis: it holds a minute's requests and fills evenly. While Redis is away each
 * replica counts for itself, minute by minute: a key may then ask as often as there are replicas, which is better than nobody being served.
 */
import { StudioError } from '@studio/shared/domain/errors';
import type { Logger } from '@studio/shared/platform/logger';
import type { Redis } from 'ioredis';
import { RateLimiterMemory, RateLimiterRedis, RateLimiterRes, type RateLimiterAbstract } from 'rate-limiter-flexible';

const MINUTE_S = 60;
/** A Redis that hangs is asked again after this, by one request: that one waits for its time-out. */
const RETRY_MS = 1_000;
/** Of the distinct limits in use; each has its own pair of limiters. */
const MOST_LIMITS = 1_000;

/**
 * The library counts in windows, at whose border twice the limit passes at once; this is its hook for another way of counting. Kept is the
 * time at which the bucket is full again. Answers what is used, which the library compares with the limit, and the time to the next request (refused) or to
 * the full bucket. KEYS: the bucket. ARGV: requests, seconds until the key ends (unused), size, seconds in which it fills.
 */
const TOKEN_BUCKET = `
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local size = tonumber(ARGV[3])
local each = ARGV[4] * 1000 / size
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now) + ARGV[1] * each
local waits = full - now - size * each
if waits > 0.5 then
  return {size + 1, math.ceil(waits)}
end
redis.call('SET', KEYS[1], string.format('%.3f', full), 'PX', math.ceil(full - now))
return {math.min(size, math.ceil((full - now) / each)), math.ceil(full - now)}`;

interface Limiters {
  shared: RateLimiterAbstract;
  alone: RateLimiterAbstract;
}

export class RequestRates {
  private readonly limiters = new Map<number, Limiters>();
  private retryAtMs = -Infinity;
  private isLost = false;

  constructor(
    private readonly redis: Redis,
    private readonly log: Pick<Logger, 'warn' | 'info'>,
    private readonly monotonicMs: () => number = () => performance.now(),
  ) {}

  /** @throws StudioError TOO_MANY_REQUESTS */
  async take(keyId: string, perMinute: number): Promise<void> {
    try {
      await this.consume(keyId, this.of(perMinute));
    } catch (refusal) {
      if (!(refusal instanceof RateLimiterRes)) throw refusal;
      const seconds = Math.max(1, Math.ceil(refusal.msBeforeNext / 1_000));
      const message = `this key may send ${perMinute} requests a minute: wait ${seconds} s, or ask for a higher limit`;
      throw new StudioError('TOO_MANY_REQUESTS', message, [], { retryAfterS: seconds });
    }
  }

  private async consume(keyId: string, { shared, alone }: Limiters): Promise<void> {
    const nowMs = this.monotonicMs();
    if (this.isLost && nowMs < this.retryAtMs) return void (await alone.consume(keyId));
    this.retryAtMs = nowMs + RETRY_MS;
    try {
      await shared.consume(keyId);
      return this.found();
    } catch (error) {
      if (!(error instanceof RateLimiterRes)) this.lost(error);
      else {
        this.found();
        throw error;
      }
    }
    await alone.consume(keyId);
  }

  private of(perMinute: number): Limiters {
    const known = this.limiters.get(perMinute);
    if (known) return known;
    if (this.limiters.size >= MOST_LIMITS) this.limiters.clear();
    const options = { points: perMinute, duration: MINUTE_S, keyPrefix: 'rate' };
    const made: Limiters = {
      shared: new RateLimiterRedis({ ...options, storeClient: this.redis, customIncrTtlLuaScript: TOKEN_BUCKET }),
      alone: new RateLimiterMemory(options),
    };
    this.limiters.set(perMinute, made);
    return made;
  }

  private lost(err: unknown): void {
    if (!this.isLost) this.log.warn({ err }, 'requests are counted by each replica alone: Redis does not answer');
    this.isLost = true;
  }

  private found(): void {
    if (this.isLost) this.log.info({}, 'requests are counted together again');
    this.isLost = false;
  }
}
