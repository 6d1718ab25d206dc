import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { startPostgres } from '@studio/launcher/servers/postgres';
import { Batcher } from '@studio/shared/platform/batcher';
import { Logger, makeWorkerUtils, runMigrations, type WorkerUtils } from 'graphile-worker';
import type { Pool as Database } from 'pg';
import { startChild } from './child';
import { timed, type Contender, type PacedTimes } from './contender';
import { openDatabase } from './database';
import type { GraphileJob, GraphileQueueConfig } from './graphile-queue';
import { openLoop } from './load';
import type { MinerFleet } from './miner-fleet';
import { minerRequest } from './workload';

/** As many as the product puts into one insert. */
const ADD_BATCH = 200;

export const GRAPHILE = 'graphile';
export const GRAPHILE_BARE = 'graphile, bare';

interface Graphile {
  /** Does what the product's worker does with a result, and the same without check and file. */
  contenders: Contender[];
  stop(): Promise<void>;
}

/** Jobs in flight, by id, each with what to do when its result is stored. */
type Pending = Map<string, () => void>;

export async function startGraphile(
  dataDir: string,
  fleet: MinerFleet,
  say: (line: string) => void,
): Promise<Graphile> {
  const postgres = await startPostgres({ dataDir: join(dataDir, 'postgres'), log: say });
  const database = openDatabase(postgres.url, 4);
  const logger = new Logger(() => () => undefined);
  await runMigrations({ pgPool: database, taskList: {}, logger });
  await database.query(
    `CREATE TABLE bench_results (job_id uuid PRIMARY KEY, sha256 text NOT NULL, pixel_hash text NOT NULL,
       stored_at timestamptz NOT NULL DEFAULT now())`,
  );
  const worker = await startChild<GraphileQueueConfig>('graphile-queue', {
    databaseUrl: postgres.url,
    artifactsDir: join(dataDir, 'artifacts'),
    miners: fleet.paid.map(({ url }) => url),
    check: true,
  });
  const pending: Pending = new Map();
  worker.listen((ids) => (ids as string[]).forEach((id) => pending.get(id)?.()));
  const utils = await makeWorkerUtils({ pgPool: database, logger });
  const adds = new Batcher<GraphileJob, void>((jobs) => addJobs(utils, jobs), { maxBatch: ADD_BATCH });
  const processes = (): Record<string, number> => ({ postgres: postgres.pid!, worker: worker.pid, miners: fleet.pid });
  const contender = (name: string, what: string, check: boolean): Contender => {
    const prepare = (): Promise<void> => worker.configure({ check });
    return { name, what, processes, prepare, ...measurable({ adds, pending, database }) };
  };
  return {
    contenders: [
      contender(GRAPHILE_BARE, 'graphile-worker: bulk adds, local queue, batched completion, results stored', false),
      contender(GRAPHILE, 'the same, and every picture checked, re-encoded and kept with the code of our worker', true),
    ],
    stop: async () => {
      await worker.stop();
      await utils.release();
      await database.end();
      await postgres.stop();
    },
  };
}

async function addJobs(utils: WorkerUtils, jobs: GraphileJob[]): Promise<void[]> {
  await utils.addJobs(jobs.map((payload) => ({ identifier: 'dispatch', payload, maxAttempts: 3 })));
  return jobs.map(() => undefined);
}

interface Parts {
  adds: Batcher<GraphileJob, void>;
  pending: Pending;
  database: Database;
}

function measurable({ adds, pending, database }: Parts): Pick<Contender, 'burst' | 'paced' | 'verify'> {
  const submitted: string[] = [];
  /** Resolves when the result is stored; `onAdded` hears when the job is durable. */
  const run = async (index: number, onAdded: () => void = () => undefined): Promise<void> => {
    const id = randomUUID();
    submitted.push(id);
    const stored = new Promise<void>((resolve) => pending.set(id, resolve));
    await adds.add({ id, request: minerRequest(id, index) });
    onAdded();
    await stored;
    pending.delete(id);
  };
  return {
    burst: async (count) => {
      const jobs = Array.from({ length: count }, (_, index) => index);
      return (await timed(() => Promise.all(jobs.map((index) => run(index))))) / 1_000;
    },
    paced: async (count, perSecond) => {
      const times: PacedTimes = { total: [], submit: [] };
      await openLoop(count, perSecond, async (index) => {
        const start = performance.now();
        await run(index, () => times.submit.push(performance.now() - start));
        times.total.push(performance.now() - start);
      });
      return times;
    },
    verify: () => verifyGraphile(database, submitted),
  };
}

async function verifyGraphile(database: Database, submitted: string[]): Promise<string[]> {
  const { rows } = await database.query<{ stored: number; queued: number }>(
    `SELECT (SELECT count(*)::int FROM bench_results WHERE job_id = ANY($1::uuid[])) AS stored,
            (SELECT count(*)::int FROM graphile_worker.jobs WHERE attempts > 1 OR last_error IS NOT NULL) AS queued`,
    [submitted],
  );
  const { stored, queued } = rows[0]!;
  const problems: string[] = [];
  if (stored !== submitted.length)
    problems.push(`${submitted.length - stored} of ${submitted.length} jobs have no result`);
  if (queued > 0) problems.push(`${queued} jobs failed or ran twice`);
  return problems;
}
