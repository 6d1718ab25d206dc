import { randomUUID } from 'node:crypto';
import { createDataSource } from '@studio/shared/database/data-source';
import { createMetrics } from '@studio/shared/platform/metrics';
import { createDatabase, type TestDatabase } from '@studio/shared/testing/postgres';
import type { DataSource } from 'typeorm';
import { exposeWorkerDemand } from './worker-demand';
import { WorkerDemandStore } from './worker-demand.store';

let database: TestDatabase;
let db: DataSource;

beforeAll(async () => {
  database = await createDatabase();
  db = await createDataSource({ url: database.urls.querier, name: 'test', poolSize: 1 }).initialize();
});
afterAll(async () => {
  await db?.destroy();
  await database?.drop();
});

/** Seconds from now: when a worker should look, and by when it has to be done. */
async function job(state: string, { wake = 0, deadline = 600 } = {}): Promise<void> {
  const ended = state === 'failed' ? 'studio.now()' : 'NULL';
  await db.query(
    `INSERT INTO studio.jobs (id, client_id, request_hash, kind, engine, input, state, timeout_ms, wake_at, deadline_at, finished_at)
     VALUES ($1, $1, '', 'lora-inference', 'ref-sep-v1', '{}', $2, 60000, studio.now() + $3 * interval '1 s',
             studio.now() + $4 * interval '1 s', ${ended})`,
    [randomUUID(), state, wake, deadline],
  );
}

describe('what workers are scaled by', () => {
  const store = () => new WorkerDemandStore(db);

  it('counts jobs under way and those whose time has come, and no others', async () => {
    expect(await store().count()).toBe(0);
    await job('queued');
    await job('running', { wake: 15 });
    await job('awaiting-callback', { wake: -1 });
    expect(await store().count()).toBe(3);
    await job('queued', { wake: 60 });
    await job('queued', { deadline: -1 });
    await job('awaiting-callback', { wake: 60 });
    await job('failed');
    expect(await store().count()).toBe(3);
  });

  it('is read anew at every scrape', async () => {
    const metrics = createMetrics('querier-api');
    exposeWorkerDemand(metrics, store());
    const before = await store().count();
    expect(await metrics.metrics()).toContain(`studio_worker_demand{service="querier-api"} ${before}\n`);
    await job('queued');
    expect(await metrics.metrics()).toContain(`studio_worker_demand{service="querier-api"} ${before + 1}\n`);
  });

  it('gives no sample, rather than a wrong one, while the database does not answer', async () => {
    const metrics = createMetrics('querier-api');
    const store = { count: jest.fn().mockResolvedValueOnce(5).mockRejectedValue(new Error('away')) };
    exposeWorkerDemand(metrics, store);
    expect(await metrics.metrics()).toMatch(/^studio_worker_demand\{.* 5$/m);
    expect(await metrics.metrics()).not.toMatch(/^studio_worker_demand/m);
  });
});
