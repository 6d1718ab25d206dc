import { connectDataSource } from '@studio/shared/database/data-source';
import { artifactsProbe, openArtifacts } from '@studio/shared/platform/artifacts-env';
import { Health } from '@studio/shared/platform/health';
import type { Logger } from '@studio/shared/platform/logger';
import { connectNats } from '@studio/shared/platform/nats';
import { assemble } from './assembly';
import { openDoors } from './auditor.module';
import type { AuditorEnv } from './env';

/** A probe that takes longer says as much as one that fails. */
const PROBE_TIMEOUT_MS = 2_000;

export interface RunningAuditor {
  url: string;
  /** Ends in order: the loops' current runs, requests in flight, connections. */
  close(): Promise<void>;
}

/**
 * Starts an auditor in this process and resolves once its door is open, however long its servers take to appear.
 * @param signal gives up waiting for the database.
 */
export async function boot(env: AuditorEnv, log: Logger, signal?: AbortSignal): Promise<RunningAuditor> {
  const db = await connectDataSource(
    { url: env.POSTGRES_URL, name: 'auditor', onError: (err) => log.warn({ err }, 'database connection lost') },
    signal,
  );
  const nats = await connectNats(env.NATS_URL, 'auditor', log);
  const artifacts = await openArtifacts(env, log);
  const auditor = assemble({ db, nats, artifacts }, { sweepMs: env.SWEEP_MS, canaryCorpus: env.CANARY_CORPUS }, log);
  const health = new Health(
    {
      postgres: () => auditor.audits.ping(),
      nats: () => nats.flush(),
      artifacts: artifactsProbe(artifacts, log),
    },
    { timeoutMs: PROBE_TIMEOUT_MS, alive: () => !nats.isClosed() },
  );
  const doors = await openDoors(auditor, health, env, log);
  auditor.start();
  return {
    url: doors.url,
    close: async () => {
      await auditor.stop();
      await doors.close();
      await nats.close();
      await db.destroy();
    },
  };
}
