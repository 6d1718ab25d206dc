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

/** The NATS for validators of this worker, and where the files of its account lie. */
export interface TestScoresServer {
  url: string;
  files: { registryCreds: string; signingKey: string; accountSeed: string };
}

export function testScoresServer(): TestScoresServer {
  const files = JSON.parse(required(`TEST_SCORES_FILES_${testWorker()}`)) as TestScoresServer['files'];
  return { url: required(`TEST_SCORES_URL_${testWorker()}`), files };
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
