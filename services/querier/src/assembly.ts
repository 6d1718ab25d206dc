/** Everything a querier is made of, without its doors: the module adds HTTP and NATS. */
import type { connectDataSource } from '@studio/shared/database/data-source';
import { jobReadySubject, SUBJECTS } from '@studio/shared/contract/subjects';
import { FileArtifactStore } from '@studio/shared/platform/artifacts-fs';
import { createEgress } from '@studio/shared/platform/egress';
import { Health } from '@studio/shared/platform/health';
import type { Logger } from '@studio/shared/platform/logger';
import { createMetrics } from '@studio/shared/platform/metrics';
import { publishHint } from '@studio/shared/platform/nats';
import { StallWatch } from '@studio/shared/platform/stall-watch';
import type { NatsConnection } from 'nats';
import { ArtifactRows } from './artifact.store';
import { ArtifactUrls } from './artifact-urls';
import { Callbacks } from './callbacks';
import { Cancellations } from './cancellations';
import { CheckPool } from './checks/check-pool';
import { ClientKeyStore } from './client-key.store';
import { deadlineSweeper } from './deadline.sweeper';
import { DispatchStore } from './dispatch.store';
import { Dispatcher } from './dispatcher';
import type { QuerierEnv } from './env';
import { FinishedWatch } from './finished-watch';
import { ClientFiles } from './input-files';
import { JobStore } from './job.store';
import { JobViews } from './job-view';
import { MeasurementStore } from './measurement.store';
import { NativeDialect } from './dialects/native';
import { askRegistry, MinerDirectory } from './routing/miner-directory';
import { MinerLoad } from './routing/miner-load';
import { PolicyStore } from './policy.store';
import { ResultIntake } from './result-intake';
import { ResultStore } from './result.store';
import { RttProbe } from './rtt-probe';
import { Submissions } from './submit';
import { Uploads } from './uploads';

export interface Connections {
  db: Awaited<ReturnType<typeof connectDataSource>>;
  nats: NatsConnection;
}

const HEALTH_TIMEOUT_MS = 2_000;
/** Longest that a lost hint delays a job. */
const CLAIM_SWEEP_MS = 250;
/** A miner's slots bound what runs there; this bounds what a broken list of slots could open. */
const MAX_CONNECTIONS_PER_MINER = 64;

export type Parts = ReturnType<typeof assembleParts>;

/** What both roles have. */
export function assembleParts(env: QuerierEnv, { db, nats }: Connections, log: Logger) {
  const { PUBLIC_URL: publicUrl, URL_SECRET: urlSecret, ALLOW_PRIVATE_EGRESS: allowPrivate } = env;
  const finishedHint = (): void => publishHint(nats, SUBJECTS.jobFinished.subject, {});
  const jobs = new JobStore(db, (kinds) => {
    for (const kind of kinds) publishHint(nats, jobReadySubject(kind), {});
  });
  const urls = new ArtifactUrls({ publicUrl, secret: urlSecret, ttlSeconds: env.URL_TTL_SECONDS });
  const artifacts = new FileArtifactStore(env.ARTIFACTS_DIR);
  const egress = createEgress({ allowPrivate, maxConnectionsPerOrigin: MAX_CONNECTIONS_PER_MINER });
  const stalls = new StallWatch();
  // An api checks uploads and callbacks, a worker every result.
  const checks = new CheckPool({ warm: env.ROLE === 'worker' ? 1 : 0 });
  const measurements = new MeasurementStore(db);
  const results = new ResultStore(db, finishedHint);
  return {
    db,
    nats,
    jobs,
    urls,
    artifacts,
    egress,
    stalls,
    checks,
    measurements,
    results,
    finishedHint,
    client: new NativeDialect(egress, urls, { publicUrl, urlSecret }),
    intake: new ResultIntake(checks, artifacts, results, measurements),
    rows: new ArtifactRows(db),
    stalled: (fromMs: number, toMs: number) => stalls.overlapped(fromMs, toMs),
    ask: askRegistry(nats),
    metrics: createMetrics(`querier-${env.ROLE}`),
    health: new Health(
      { postgres: () => db.query('SELECT 1'), nats: () => nats.flush() },
      { timeoutMs: HEALTH_TIMEOUT_MS, alive: () => !nats.isClosed() },
    ),
    log,
  };
}

export type Api = ReturnType<typeof assembleApi>;

/** The doors for clients, callbacks and the auditor. */
export function assembleApi(env: QuerierEnv, parts: Parts) {
  const { db, nats, jobs, urls, artifacts, checks, rows, client, results, intake, finishedHint, stalled, log } = parts;
  const directory = new MinerDirectory(parts.ask, log);
  const views = new JobViews(env.PUBLIC_URL, urls);
  const finished = new FinishedWatch(jobs, log);
  const readyAgain = ({ kind }: { kind: Parameters<typeof jobReadySubject>[0] }): void =>
    publishHint(nats, jobReadySubject(kind), {});
  return {
    keys: new ClientKeyStore(db),
    submissions: new Submissions(jobs, directory, new ClientFiles(artifacts, rows, urls, checks)),
    views,
    finished,
    cancellations: new Cancellations(jobs, directory, client, finishedHint),
    uploads: new Uploads(artifacts, rows, checks, views),
    callbacks: new Callbacks(results, intake, readyAgain, stalled),
    start: () => {
      parts.stalls.start();
      directory.start(nats);
      finished.start(nats);
    },
    /** Before the doors close: waiting requests would hold them open. */
    stop: async () => {
      await finished.stop();
      await directory.stop();
    },
  };
}

export type Worker = ReturnType<typeof assembleWorker>;

/** Dispatch, leases, deadlines, round trips. */
export function assembleWorker(env: QuerierEnv, parts: Parts) {
  const { db, nats, client, intake, stalled, log, jobs, finishedHint, measurements } = parts;
  const directory: MinerDirectory = new MinerDirectory(parts.ask, log, () => dispatcher.hint());
  const dispatcher = new Dispatcher(
    new DispatchStore(db, env.workerName, finishedHint),
    new PolicyStore(db),
    { directory, load: new MinerLoad(), client, intake, stalled, urlSecret: env.URL_SECRET },
    { concurrency: env.WORKER_CONCURRENCY, sweepMs: CLAIM_SWEEP_MS, graceMs: env.WORKER_GRACE_MS },
    log,
  );
  const deadlines = deadlineSweeper(jobs, finishedHint, log);
  const probe = new RttProbe(directory, measurements, { allowPrivate: env.ALLOW_PRIVATE_EGRESS }, log);
  return {
    dispatcher,
    start: () => {
      parts.stalls.start();
      directory.start(nats);
      dispatcher.start(nats);
      deadlines.start();
      probe.start();
    },
    stop: async () => {
      await Promise.all([dispatcher.stop(), deadlines.stop(), probe.stop()]);
      await directory.stop();
    },
  };
}
