import { connectDataSource } from '@studio/shared/database/data-source';
import { openArtifacts } from '@studio/shared/platform/artifacts-env';
import type { Logger } from '@studio/shared/platform/logger';
import { connectNats } from '@studio/shared/platform/nats';
import { connectRedis } from '@studio/shared/platform/redis';
import { SignatureThreads } from '@studio/shared/platform/signature-threads';
import { assembleApi, assembleParts, assembleWorker, type Parts } from './assembly';
import type { QuerierEnv } from './env';
import { openDoors } from './querier.module';

export interface RunningQuerier {
  url: string;
  /** Of an api with an ADMIN_KEY. */
  adminUrl?: string;
  /** Ends in order: no new work, requests and jobs in flight finished or handed on, connections closed. */
  close(): Promise<void>;
}

/**
 * Starts one role in this process and resolves once its doors are open, however long its servers take to appear.
 * @param signal gives up waiting for the database.
 * @param shared signature threads that stay the caller's; otherwise the querier has its own.
 */
export async function boot(
  env: QuerierEnv,
  log: Logger,
  signal?: AbortSignal,
  shared?: SignatureThreads,
): Promise<RunningQuerier> {
  const name = `querier-${env.ROLE}`;
  const db = await connectDataSource(
    { url: env.POSTGRES_URL, name, onError: (err) => log.warn({ err }, 'database connection lost') },
    signal,
  );
  const nats = await connectNats(env.NATS_URL, name, log);
  const redis = connectRedis(env.REDIS_URL, name, log, { batching: true });
  const signatures = shared ?? new SignatureThreads();
  // A thread takes a moment to begin: not in the first miner's time.
  await signatures.signer(env.ORCHESTRATOR_SEED).sign('');
  const artifacts = await openArtifacts(env, log);
  const parts = assembleParts(env, { db, nats, redis, signatures, artifacts }, log);
  const querier = env.ROLE === 'api' ? await startApi(env, parts) : await startWorker(env, parts);
  const close = async (): Promise<void> => {
    await querier.close();
    if (!shared) await signatures.close();
  };
  return { url: querier.url, adminUrl: querier.adminUrl, close };
}

async function startApi(env: QuerierEnv, parts: Parts): Promise<RunningQuerier> {
  const api = assembleApi(env, parts);
  api.start();
  const doors = await openDoors(env, parts, api);
  const close = async (): Promise<void> => {
    await api.stop();
    await doors.close();
    await closeParts(parts);
  };
  return { url: doors.url, adminUrl: doors.adminUrl, close };
}

async function startWorker(env: QuerierEnv, parts: Parts): Promise<RunningQuerier> {
  const worker = assembleWorker(env, parts);
  const doors = await openDoors(env, parts);
  worker.start();
  const close = async (): Promise<void> => {
    await worker.stop();
    await doors.close();
    await closeParts(parts);
  };
  return { url: doors.url, close };
}

async function closeParts(parts: Parts): Promise<void> {
  const { jobs, results, stalls, egress, checks, nats, redis, db } = parts;
  await Promise.all([jobs.drain(), results.drain()]);
  await parts.stop();
  stalls.stop();
  await egress.close();
  await checks.close();
  redis.disconnect();
  await nats.close();
  await db.destroy();
}
