/** Everything a querier is made of, without its doors: the module adds HTTP and NATS. */
import type { connectDataSource } from '@studio/shared/database/data-source';
import { jobReadySubject, SUBJECTS } from '@studio/shared/contract/subjects';
import type { ArtifactStore } from '@studio/shared/platform/artifacts';
import { artifactsProbe } from '@studio/shared/platform/artifacts-env';
import { createEgress } from '@studio/shared/platform/egress';
import { egressRules } from '@studio/shared/platform/egress-env';
import { Health } from '@studio/shared/platform/health';
import type { Logger } from '@studio/shared/platform/logger';
import { createMetrics } from '@studio/shared/platform/metrics';
import { publishHint } from '@studio/shared/platform/nats';
import type { SignatureThreads } from '@studio/shared/platform/signature-threads';
import { StallWatch } from '@studio/shared/platform/stall-watch';
import type { Redis } from 'ioredis';
import type { NatsConnection } from 'nats';
import { ClientAccess } from './access/client-access';
import { RequestRates } from './access/request-rates';
import { AddressOwners } from './address-owners';
import { ArtifactRows } from './artifact.store';
import { ArtifactUrls } from './artifact-urls';
import { afterResult } from './attempt-ends';
import { Callbacks } from './callbacks';
import { Cancellations } from './cancellations';
import { CheckPool } from './checks/check-pool';
import { ClientKeyStore } from './client-key.store';
import { deadlineSweeper } from './deadline.sweeper';
import { DispatchStore } from './dispatch.store';
import { dispatchMetrics } from './dispatch-metrics';
import { Dispatcher } from './dispatcher';
import { DoorWatch } from './door-watch';
import type { QuerierEnv } from './env';
import { Adoptions } from './fal/adoptions';
import { FalFiles } from './fal/fal-files';
import { FalJobs } from './fal/fal-jobs';
import { UploadSlotStore } from './fal/upload-slot.store';
import { Estimates } from './estimates';
import { FinishedWatch } from './finished-watch';
import { Hedges } from './hedges';
import { ClientFiles } from './input-files';
import { JobStore } from './job.store';
import { JobViews } from './job-view';
import { MeasurementStore } from './measurement.store';
import { createDialects } from './dialects/dialects';
import { askRegistry, MinerDirectory } from './routing/miner-directory';
import { shareTurns } from './routing/shared-turns';
import { ReceiptStore } from './receipt.store';
import { Receipts } from './receipts';
import { PolicyStore } from './policy.store';
import { ProgressStore } from './progress.store';
import { GarbageStore } from './retention/garbage.store';
import { JobArchiveStore } from './retention/job-archive.store';
import { daysToMs, Retention, retentionSweeper } from './retention/retention';
import { Reachability } from './reachability';
import { RemoteFiles } from './remote-files';
import { ResultIntake } from './result-intake';
import { ResultStore, type CallbackTarget } from './result.store';
import { RttProbe } from './rtt-probe';
import { RttSamples } from './rtt-samples';
import { Submissions } from './submit';
import { Uploads } from './uploads';
import { assembleWebhooks } from './webhooks/assemble-webhooks';
import { exposeWorkerDemand } from './worker-demand';
import { WorkerDemandStore } from './worker-demand.store';

export interface Connections {
  db: Awaited<ReturnType<typeof connectDataSource>>;
  nats: NatsConnection;
  redis: Redis;
  signatures: SignatureThreads;
  artifacts: ArtifactStore;
}

const HEALTH_TIMEOUT_MS = 2_000;
/** Longest that a lost hint delays a job. */
const CLAIM_SWEEP_MS = 250;
/** A miner's slots bound what runs there: the most that it can offer (contract/miners.ts), and some cancels beside them. */
const MAX_CONNECTIONS_PER_MINER = 1_024 + 64;
/** A loop that stood still for so long may have let a deadline pass with the reply already in our buffers. */
const EXCUSING_STALL_MS = 1_000;

export type Parts = ReturnType<typeof assembleParts>;

type MinerSideNeeds = Connections & {
  urls: ArtifactUrls;
  measurements: MeasurementStore;
  policies: PolicyStore;
  log: Logger;
};

/** Who the miners are, how they are reached and spoken to, and whose turn it is. */
function assembleMinerSide(env: QuerierEnv, needs: MinerSideNeeds) {
  const { db, nats, redis, signatures, urls, measurements, policies, log } = needs;
  const samples = new RttSamples();
  const egress = createEgress({
    ...egressRules(env),
    maxConnectionsPerOrigin: MAX_CONNECTIONS_PER_MINER,
    onConnect: samples.onConnect,
  });
  const dialectOf = createDialects({
    egress,
    urls,
    publicUrl: env.PUBLIC_URL,
    urlSecret: env.URL_SECRET,
    signer: signatures.signer(env.ORCHESTRATOR_SEED),
    verifier: signatures,
  });
  /** Who hears that a miner may have come or become free: a worker's dispatcher. */
  const atMinerNews: (() => void)[] = [];
  const onFree = (): void => atMinerNews.forEach((listener) => listener());
  const directory: MinerDirectory = new MinerDirectory(askRegistry(nats), log, onFree, (hotkey) =>
    owners.isBlocked(hotkey),
  );
  const owners: AddressOwners = new AddressOwners(directory, measurements, log, samples);
  const policy = () => policies.latest.routing;
  const { board: turns, sweeper: holds } = shareTurns({ redis, db, directory, policy, onFree, log });
  return { samples, egress, dialectOf, atMinerNews, directory, owners, turns, holds };
}

/** What both roles have. */
export function assembleParts(env: QuerierEnv, connections: Connections, log: Logger) {
  const { db, nats, artifacts } = connections;
  const finishedHint = (): void => publishHint(nats, SUBJECTS.jobFinished.subject, {});
  const jobs = new JobStore(db, (kinds) => {
    for (const kind of kinds) publishHint(nats, jobReadySubject(kind), {});
  });
  const urls = new ArtifactUrls({
    publicUrl: env.PUBLIC_URL,
    secret: env.URL_SECRET,
    ttlSeconds: env.URL_TTL_SECONDS,
  });
  const stalls = new StallWatch();
  // An api checks uploads and callbacks, a worker every result.
  const checks = new CheckPool({ warm: env.ROLE === 'worker' ? 1 : 0 });
  const [measurements, policies] = [new MeasurementStore(db), new PolicyStore(db)];
  const minerSide = assembleMinerSide(env, { ...connections, urls, measurements, policies, log });
  const { directory, owners, turns } = minerSide;
  const results: ResultStore = new ResultStore(db, finishedHint, (attempts) =>
    afterResult(attempts, { ...minerSide, hedges }),
  );
  const hedges = new Hedges(results, policies, log);
  return {
    ...connections,
    ...minerSide,
    jobs,
    urls,
    stalls,
    checks,
    measurements,
    policies,
    results,
    hedges,
    finishedHint,
    intake: new ResultIntake(checks, artifacts, results, measurements),
    rows: new ArtifactRows(db),
    stalled: (fromMs: number, toMs: number) => stalls.overlapped(fromMs, toMs),
    metrics: createMetrics(`querier-${env.ROLE}`),
    health: new Health(
      { postgres: () => db.query('SELECT 1'), nats: () => nats.flush(), artifacts: artifactsProbe(artifacts, log) },
      { timeoutMs: HEALTH_TIMEOUT_MS, alive: () => !nats.isClosed() },
    ),
    log,
    start: () => {
      stalls.start();
      directory.start(nats);
      owners.start();
      hedges.start();
    },
    /** After the doors and the dispatcher: what they still wait for is finished here. */
    stop: async () => {
      await Promise.all([directory.stop(), owners.stop(), hedges.stop()]);
      await turns.drain();
    },
  };
}

/** Who may ask, and what they get in writing. */
function assembleAccess(env: QuerierEnv, { db, nats, redis, signatures, log }: Parts) {
  const keys = new ClientKeyStore(db, () => publishHint(nats, SUBJECTS.keysChanged.subject, {}));
  const access = new ClientAccess(keys, new RequestRates(redis, log));
  const receipts = new Receipts(new ReceiptStore(db), signatures.signer(env.ORCHESTRATOR_SEED));
  return { keys, access, receipts };
}

export type Api = ReturnType<typeof assembleApi>;

/** The doors for clients, callbacks and the auditor. */
export function assembleApi(env: QuerierEnv, parts: Parts) {
  const { db, nats, redis, jobs, urls, artifacts, checks, rows, results, intake, finishedHint, stalled, log } = parts;
  const { directory, dialectOf, turns, hedges, egress } = parts;
  const { keys, access, receipts } = assembleAccess(env, parts);
  const estimates = new Estimates(directory, hedges);
  const views = new JobViews(env.PUBLIC_URL, urls, estimates);
  const finished = new FinishedWatch(jobs, log);
  const afterRefusal = (target: CallbackTarget): void => {
    const { kind, engine, timeoutMs, sinceSentUs } = target;
    turns.settle(target, 'failed', { restMs: hedges.restMs(kind, engine, timeoutMs, sinceSentUs / 1_000) });
    publishHint(nats, jobReadySubject(target.kind), {});
  };
  const cancellations = new Cancellations({ jobs, directory, dialectOf, turns, onFinished: finishedHint });
  const uploads = new Uploads(artifacts, rows, checks, views);
  const files = new ClientFiles(artifacts, rows, urls, checks, uploads, new RemoteFiles(egress));
  const submissions = new Submissions(jobs, directory, files, dialectOf, estimates, egress);
  const falFiles = new FalFiles(new UploadSlotStore(db, env.URL_TTL_SECONDS), uploads, urls, artifacts, env.PUBLIC_URL);
  const falJobs = new FalJobs({
    submissions,
    jobs,
    views,
    finished,
    cancellations,
    files: falFiles,
    store: artifacts,
    adoptions: new Adoptions(redis),
    estimates,
    publicUrl: env.PUBLIC_URL,
  });
  const webhooks = assembleWebhooks(env, { ...parts, views, falJobs });
  return {
    keys,
    access,
    receipts,
    submissions,
    views,
    finished,
    cancellations,
    uploads,
    falFiles,
    falJobs,
    webhooks,
    callbacks: new Callbacks(results, intake, new ProgressStore(db), dialectOf, afterRefusal, stalled),
    start: () => {
      // Of an api, of which there are few: a worker more would be a query more at every scrape.
      exposeWorkerDemand(parts.metrics, new WorkerDemandStore(db));
      parts.start();
      access.start(nats);
      finished.start(nats);
      webhooks.start();
    },
    /** Before the doors close: waiting requests would hold them open. */
    stop: async () => {
      falJobs.close();
      access.stop();
      await Promise.all([finished.stop(), webhooks.stop()]);
    },
  };
}

/** A request that began while the name still opened its place. */
const SLOT_MARGIN_S = 3_600;

export type Worker = ReturnType<typeof assembleWorker>;

/** Dispatch, leases, deadlines, round trips. */
export function assembleWorker(env: QuerierEnv, parts: Parts) {
  const { db, nats, artifacts, intake, samples, stalls, stalled, log, jobs, finishedHint, measurements, metrics } =
    parts;
  const { directory, atMinerNews, dialectOf, turns, holds, hedges, policies } = parts;
  const door = new DoorWatch(env.PUBLIC_URL, { log });
  const dispatcher = new Dispatcher(
    new DispatchStore(db, env.workerName, finishedHint),
    policies,
    {
      directory,
      dialectOf,
      turns,
      hedges,
      intake,
      stalled,
      excused: (fromMs, toMs) => stalls.longestMs(fromMs, toMs) >= EXCUSING_STALL_MS || door.wasShut(fromMs, toMs),
      reach: new Reachability(),
      count: dispatchMetrics(metrics),
      urlSecret: env.URL_SECRET,
    },
    { concurrency: env.WORKER_CONCURRENCY, sweepMs: CLAIM_SWEEP_MS, graceMs: env.WORKER_GRACE_MS },
    log,
  );
  atMinerNews.push(() => dispatcher.hint());
  const deadlines = deadlineSweeper(jobs, finishedHint, log);
  const retention = retentionSweeper(
    new Retention(new JobArchiveStore(db), new GarbageStore(db), artifacts, {
      keepMs: daysToMs(env.RETENTION_DAYS),
      slotSeconds: env.URL_TTL_SECONDS + SLOT_MARGIN_S,
    }),
    log,
  );
  const probe = new RttProbe(directory, measurements, egressRules(env), log, samples);
  return {
    dispatcher,
    start: () => {
      parts.start();
      dispatcher.start(nats);
      deadlines.start();
      retention.start();
      probe.start();
      door.start();
      holds.start();
    },
    stop: async () => {
      await Promise.all([
        dispatcher.stop(),
        deadlines.stop(),
        retention.stop(),
        probe.stop(),
        door.stop(),
        holds.stop(),
      ]);
    },
  };
}
