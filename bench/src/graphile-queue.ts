/**
 * graphile-worker at its best: many jobs locked at once into a local queue, completions in batches, results stored in
 * batches. Each job is sent to a miner and its result checked and kept with the very code of the product's worker.
 */
import 'reflect-metadata';
import { createHash } from 'node:crypto';
import { imagePart } from '@studio/shared/contract/miner-job';
import { Batcher } from '@studio/shared/platform/batcher';
import { FileArtifactStore } from '@studio/shared/platform/artifacts-fs';
import { CheckPool } from '@studio/querier/checks/check-pool';
import { Logger, run, type TaskList } from 'graphile-worker';
import type { Pool as Database } from 'pg';
import { Agent } from 'undici';
import { serve, tell } from './child';
import { WIDTH } from './contender';
import { openDatabase } from './database';
import { postJob } from './post-job';
import { SIDE } from './workload';

export interface GraphileQueueConfig {
  databaseUrl: string;
  artifactsDir: string;
  miners: string[];
  /** Check and keep the picture as the product does; else only its hash is stored. */
  check: boolean;
}

export interface GraphileJob {
  id: string;
  request: object;
}

interface Finished {
  id: string;
  sha256: string;
  pixelHash: string;
}

/** The size its own documentation measures with. */
const LOCAL_QUEUE = 500;
/** The documentation has one connection a job; with batches, few are ever busy (10 and 65 measured the same). */
const CONNECTIONS = 10;
const RESULT_BATCH = 200;
const MAX_IMAGE_BYTES = 16 * 1_024 * 1_024;

/** Resolves to what is kept of the job; runs in the worker's process, decoding in its threads. */
type Keep = (image: Buffer) => Promise<Omit<Finished, 'id'>>;

function keepChecked(artifactsDir: string): Keep {
  const checks = new CheckPool();
  const artifacts = new FileArtifactStore(artifactsDir);
  return async (image) => {
    const checked = await checks.image(image, { width: SIDE, height: SIDE });
    if (!checked.ok) throw new Error(checked.reason);
    const { png, pixelHash } = checked.value;
    const { sha256 } = await artifacts.put(png, { contentType: 'image/png', maxBytes: MAX_IMAGE_BYTES });
    return { sha256, pixelHash };
  };
}

const keepHash: Keep = async (image) => {
  const sha256 = createHash('sha256').update(image).digest('hex');
  return { sha256, pixelHash: sha256 };
};

async function store(database: Database, finished: Finished[]): Promise<Finished[]> {
  await database.query(
    `INSERT INTO bench_results (job_id, sha256, pixel_hash)
     SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[])`,
    [finished.map(({ id }) => id), finished.map(({ sha256 }) => sha256), finished.map(({ pixelHash }) => pixelHash)],
  );
  // One message a batch: telling costs the peer as little as it can.
  tell(finished.map(({ id }) => id));
  return finished;
}

void serve<GraphileQueueConfig>(async (config) => {
  const { databaseUrl, artifactsDir, miners } = config;
  const database = openDatabase(databaseUrl, CONNECTIONS);
  const results = new Batcher<Finished, Finished>((batch) => store(database, batch), { maxBatch: RESULT_BATCH });
  const dispatcher = new Agent({ connections: WIDTH / miners.length });
  const checked = keepChecked(artifactsDir);
  let turn = 0;
  const taskList: TaskList = {
    dispatch: async (payload) => {
      const { id, request } = payload as GraphileJob;
      const parts = await postJob(miners[(turn += 1) % miners.length]!, request, dispatcher);
      const image = parts.get(imagePart(0));
      if (!image) throw new Error('the miner sent no image');
      await results.add({ id, ...(await (config.check ? checked : keepHash)(image)) });
    },
  };
  await run({
    pgPool: database,
    taskList,
    logger: new Logger(() => () => undefined),
    preset: {
      worker: {
        concurrentJobs: WIDTH,
        maxPoolSize: CONNECTIONS,
        localQueue: { size: LOCAL_QUEUE },
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0,
      },
    },
    noHandleSignals: true,
  });
});
