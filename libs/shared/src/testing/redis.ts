import { Redis } from 'ioredis';
import { testServerUrls, testWorker } from './env';

/** Redis numbers its databases 0 to 15 unless configured otherwise. */
const DATABASES = 16;

export interface TestRedis {
  /** Names the database, so that a service under test sees the same one. */
  url: string;
  client: Redis;
  /** Empties the database. */
  clear(): Promise<void>;
  /** `clear` and disconnect. */
  close(): Promise<void>;
}

/** An empty Redis database that belongs to this Jest worker alone. Call once per file. */
export async function openTestRedis(): Promise<TestRedis> {
  const url = `${testServerUrls().redis}/${testWorker() % DATABASES}`;
  // Shorter than ioredis's 2 s, which would hold up the end of every test file.
  const client = new Redis(url, { disconnectTimeout: 100 });
  const clear = async (): Promise<void> => void (await client.flushdb());
  await clear();
  const close = async (): Promise<void> => {
    await clear();
    await client.quit();
  };
  return { url, client, clear, close };
}
