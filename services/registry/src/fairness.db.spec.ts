import { randomBytes, randomUUID } from 'node:crypto';
import type { FairnessReport } from '@studio/shared/contract/miners';
import { createMetrics } from '@studio/shared/platform/metrics';
import { connectDataSource } from '@studio/shared/database/data-source';
import { loadEnv } from '@studio/shared/platform/env';
import { createLogger } from '@studio/shared/platform/logger';
import { someTraining } from '@studio/shared/testing/finished-jobs';
import { RegistryGround, until } from '@studio/shared/testing/registry-ground';
import { boot, type RunningRegistry } from './boot';
import { RegistryEnv } from './env';
import { FairnessBoard } from './fairness-board';
import { FairnessStore } from './fairness.store';

let ground: RegistryGround;
let db: Awaited<ReturnType<typeof connectDataSource>>;
let registry: RunningRegistry | undefined;

interface SomeMiner {
  slots?: number;
  proven?: number;
  minutes?: number;
  trusted?: boolean;
  jobs?: number;
}

beforeAll(async () => {
  ground = await RegistryGround.open(fetch);
  db = await connectDataSource({ url: ground.database.urls.registry, name: 'fairness', onError: () => undefined });
});

afterAll(async () => {
  await registry?.close();
  await db.destroy();
  await ground.close();
});

beforeEach(async () => {
  await ground.owner.query(
    'TRUNCATE studio.miners, studio.miner_slots, studio.attempts, studio.quarantines, studio.neurons CASCADE',
  );
});

/** A miner registered `minutes` ago that got `jobs` training attempts since, one of them refused. */
async function miner(hotkey: string, more: SomeMiner = {}): Promise<void> {
  const { slots = 8, proven, minutes = 600, trusted = false, jobs = 0 } = more;
  const offers = JSON.stringify([{ kind: 'lora-training', engine: 'ref-sep-v1', slots }]);
  await ground.owner.query(
    `INSERT INTO studio.miners (hotkey, operator, endpoint, dialect, offers, trusted, registered_at)
     VALUES ($1, $1, $2, 'native', $3, $4, studio.now() - $5 * interval '1 minute')`,
    [hotkey, `http://${hotkey}.test`, offers, trusted, minutes],
  );
  if (proven !== undefined) {
    await ground.owner.query(
      `INSERT INTO studio.miner_slots (hotkey, kind, engine, proven) VALUES ($1, 'lora-training', 'ref-sep-v1', $2)`,
      [hotkey, proven],
    );
  }
  await attempts(hotkey, jobs);
}

async function attempts(hotkey: string, jobs: number, minutesAgo = 1): Promise<void> {
  for (let n = 0; n < jobs; n += 1) {
    const id = randomUUID();
    await ground.owner.query(
      `INSERT INTO studio.jobs (id, client_id, request_hash, kind, engine, input, timeout_ms, deadline_at)
       VALUES ($1, $2, $3, 'lora-training', 'ref-sep-v1', $4, 10000, studio.now())`,
      [id, randomUUID(), randomBytes(32), someTraining()],
    );
    await ground.owner.query(
      `INSERT INTO studio.attempts (job_id, attempt_no, hotkey, operator, kind, engine, state, lease_no, callback_hash, sent_at)
       VALUES ($1, 1, $2, $2, 'lora-training', 'ref-sep-v1', $3, 1, $4, studio.now() - $5 * interval '1 minute')`,
      [id, hotkey, n === 0 ? 'busy' : 'accepted', randomBytes(32), minutesAgo],
    );
  }
}

const board = (membersOnly = false): FairnessBoard =>
  new FairnessBoard(new FairnessStore(db, membersOnly), createMetrics('test'), () => new Date(0));

async function lane(membersOnly = false): Promise<FairnessReport['lanes'][number] | undefined> {
  const { lanes } = await board(membersOnly).report();
  expect(lanes.length).toBeLessThanOrEqual(1);
  return lanes[0];
}

describe('fairness of routing', () => {
  it('is perfect when jobs are in proportion to proven slots, whatever was declared', async () => {
    await miner('one', { proven: 1, jobs: 3 });
    await miner('two', { proven: 2, jobs: 6, slots: 1_000 });
    await miner('unproven', { jobs: 3 });
    expect(await board().report()).toEqual({
      at: '1970-01-01T00:00:00.000Z',
      span_ms: 3_600_000,
      lanes: [
        {
          kind: 'lora-training',
          engine: 'ref-sep-v1',
          miners: 3,
          jobs: 12,
          gini: expect.closeTo(0, 9),
          per_slot: { min: 3, median: 3, max: 3 },
        },
      ],
    });
  });

  it('counts no more slots as proven than are declared now', async () => {
    await miner('smaller', { proven: 8, slots: 2, jobs: 4 });
    expect((await lane())?.per_slot).toEqual({ min: 2, median: 2, max: 2 });
  });

  it('shows one miner getting all', async () => {
    for (const name of ['a', 'b', 'c']) await miner(name);
    await miner('all', { jobs: 4 });
    expect(await lane()).toMatchObject({ gini: expect.closeTo(0.75, 9), per_slot: { min: 0, median: 0, max: 4 } });
  });

  it('expects half the jobs of who was there for half the hour', async () => {
    await miner('old', { jobs: 8 });
    await miner('new', { minutes: 30, jobs: 4 });
    const { gini, per_slot: perSlot } = (await lane())!;
    expect(gini).toBeCloseTo(0, 3);
    expect(perSlot?.max).toBeCloseTo(8, 1);
    expect(await board().fairJobs('old', 'lora-training', 'ref-sep-v1')).toBeCloseTo(8, 1);
  });

  it('leaves out references, older attempts, who is quarantined, who has withdrawn and who is no member', async () => {
    await miner('stays', { jobs: 2 });
    await attempts('stays', 3, 61);
    await miner('reference', { trusted: true, jobs: 5 });
    await miner('gone', { jobs: 5 });
    await ground.owner.query(`UPDATE studio.miners SET withdrawn_at = studio.now() WHERE hotkey = 'gone'`);
    expect(await lane()).toMatchObject({ miners: 1, jobs: 2 });
    expect(await lane(true)).toBeUndefined();
    await ground.owner.query(
      `INSERT INTO studio.neurons (hotkey, uid, coldkey, stake) VALUES ('stays', 1, 'cold', '0')`,
    );
    expect(await lane(true)).toMatchObject({ miners: 1, jobs: 2 });
    expect(await board().fairJobs('gone', 'lora-training', 'ref-sep-v1')).toBeNull();
  });

  it('has no coefficient without jobs', async () => {
    await miner('idle');
    expect(await lane()).toMatchObject({ miners: 1, jobs: 0, gini: null, per_slot: { min: 0, median: 0, max: 0 } });
  });

  it('is published by the registry, as a report and as a gauge', async () => {
    await miner('a', { jobs: 2 });
    await miner('b');
    const log = createLogger({ name: 'registry', level: 'silent', format: 'line' });
    registry = await boot(loadEnv(RegistryEnv, ground.env()), log);
    const { url } = registry;
    const report = (await (await fetch(`${url}/v1/fairness`)).json()) as FairnessReport;
    expect(report.lanes).toMatchObject([{ kind: 'lora-training', jobs: 2, gini: 0.5 }]);
    const line = /registry_routing_gini\{[^}]*kind="lora-training",engine="ref-sep-v1"[^}]*\} 0\.5/;
    await until(async () => line.test(await (await fetch(`${url}/metrics`)).text()));
    const docs = (await (await fetch(`${url}/docs-json`)).json()) as { paths: object };
    expect(Object.keys(docs.paths)).toContain('/v1/fairness');
    await ground.auditor.commit(1);
    await until(async () => (await fetch(`${url}/v1/epochs/current`)).ok);
    await ground.auditor.quarantine('a', 'lora-training', 1, 2);
    expect(await lane()).toMatchObject({ miners: 1, jobs: 0 });
    await ground.auditor.lift('a', 'appeal');
    expect(await lane()).toMatchObject({ miners: 2, jobs: 2 });
  });
});
