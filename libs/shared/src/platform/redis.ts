import { Redis } from 'ioredis';
import type { Logger } from 'pino';

/** Longest pause between two attempts to reconnect: Redis is a projection, a short gap costs a rebuild at most. */
const MAX_RECONNECT_MS = 2_000;

/**
 * A connection that opens with its first command and reconnects for ever. While Redis is away commands fail at once
 * instead of waiting: every caller has Postgres to fall back on.
 * @param options.batching commands of one turn of the event loop cross in one write: for callers with many at once.
 */
export function connectRedis(
  url: string,
  name: string,
  log: Pick<Logger, 'warn' | 'info'>,
  { batching = false }: { batching?: boolean } = {},
): Redis {
  const redis = new Redis(url, {
    connectionName: name,
    enableAutoPipelining: batching,
    lazyConnect: true,
    connectTimeout: 3_000,
    commandTimeout: 2_000,
    maxRetriesPerRequest: 1,
    // The default of 2 s after the last byte would hold up the end of the process.
    disconnectTimeout: 100,
    retryStrategy: (attempt) => Math.min(MAX_RECONNECT_MS, 50 * 2 ** Math.min(attempt, 10)),
  });
  let down = false;
  // Without a listener ioredis prints to the console. One line an outage, not one an attempt.
  redis.on('error', (error: Error) => {
    if (!down) log.warn({ err: error }, 'redis connection lost');
    down = true;
  });
  redis.on('ready', () => {
    if (down) log.info({}, 'redis connection is back');
    down = false;
  });
  return redis;
}
