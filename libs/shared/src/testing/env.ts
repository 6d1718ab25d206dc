/** Where a test finds its real servers: set by Jest's global setup, or by a developer who keeps servers up. */
export interface TestServerUrls {
  postgres: string;
  nats: string;
  redis: string;
}

export function testServerUrls(): TestServerUrls {
  return {
    postgres: required('TEST_POSTGRES_URL'),
    // One NATS server per worker: streams and subjects have fixed names, and files run at the same time.
    nats: process.env[`TEST_NATS_URL_${testWorker()}`] || required('TEST_NATS_URL'),
    redis: required('TEST_REDIS_URL'),
  };
}

/** Jest's number of this worker, from 1: files of one worker run one after another. */
export function testWorker(): number {
  return Number(process.env.JEST_WORKER_ID ?? 1);
}

function required(name: string): string {
  const value = process.env[name];
  if (value) return value;
  throw new Error(`${name} is not set: a test with real servers is named *.db.spec.ts or *.e2e.ts`);
}
