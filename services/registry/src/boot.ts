import { connectDataSource } from '@studio/shared/database/data-source';
import type { Logger } from '@studio/shared/platform/logger';
import { connectNats } from '@studio/shared/platform/nats';
import { connectRedis } from '@studio/shared/platform/redis';
import { assemble } from './assembly';
import type { RegistryEnv } from './env';
import { openDoors } from './registry.module';
import { openScoresDoor } from './scores-door';

export interface RunningRegistry {
  url: string;
  adminUrl: string;
  /** Ends in order: no new work, requests in flight answered, connections closed. */
  close(): Promise<void>;
}

/**
 * Starts a registry in this process and resolves once its doors are open, however long its servers take to appear.
 * @param signal gives up waiting for the database.
 */
export async function boot(env: RegistryEnv, log: Logger, signal?: AbortSignal): Promise<RunningRegistry> {
  // First, because a file that is missing is not cured by waiting.
  const door = await openScoresDoor(env, log);
  const db = await connectDataSource(
    { url: env.POSTGRES_URL, name: 'registry', onError: (err) => log.warn({ err }, 'database connection lost') },
    signal,
  );
  const redis = connectRedis(env.REDIS_URL, 'registry', log);
  const nats = await connectNats(env.NATS_URL, 'registry', log);
  const registry = assemble(env, { db, nats, redis, door }, log);
  const doors = await openDoors(registry, env, log);
  registry.start();
  return {
    url: doors.url,
    adminUrl: doors.adminUrl,
    close: async () => {
      // First the endless streams and the sweepers: an open stream would hold up the server's end.
      await registry.stop();
      await doors.close();
      await registry.end();
      await nats.close();
      await door?.link.close();
      redis.disconnect();
      await db.destroy();
    },
  };
}
