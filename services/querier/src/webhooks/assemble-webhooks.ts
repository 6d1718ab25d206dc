/** Everything that tells clients of the ends of their jobs, but for its doors. Part of the api. */
import { SUBJECTS } from '@studio/shared/contract/subjects';
import { createEgress } from '@studio/shared/platform/egress';
import { egressRules } from '@studio/shared/platform/egress-env';
import type { Logger } from '@studio/shared/platform/logger';
import type { NatsConnection } from 'nats';
import type { Registry } from 'prom-client';
import type { QuerierEnv } from '../env';
import type { FalJobs } from '../fal/fal-jobs';
import type { JobStore, StoredJob } from '../job.store';
import type { JobViews } from '../job-view';
import { falFailure, v1Failure } from './webhook-message';
import { webhookMetrics } from './webhook-metrics';
import { WebhookSender } from './webhook-sender';
import { WebhookSigner } from './webhook-signer';
import { TURN_LIMITS } from './webhook-turns';
import { WebhookStore } from './webhook.store';

interface Needs {
  db: ConstructorParameters<typeof WebhookStore>[0];
  nats: NatsConnection;
  jobs: JobStore;
  views: JobViews;
  falJobs: FalJobs;
  metrics: Registry;
  log: Logger;
}

export function assembleWebhooks(env: QuerierEnv, { db, nats, jobs, views, falJobs, metrics, log }: Needs) {
  const store = new WebhookStore(db);
  const signer = new WebhookSigner({ secret: env.WEBHOOK_SECRET ?? env.URL_SECRET, other: env.WEBHOOK_OTHER_SECRET });
  // Not the miners': no place at a miner may be taken by webhooks, and no connect time of theirs counted as its own.
  const egress = createEgress({ ...egressRules(env), maxConnectionsPerOrigin: TURN_LIMITS.atOnce });
  const count = webhookMetrics(metrics, () => store.backlog(), log);
  const routes = {
    fal: { output: (job: StoredJob) => falJobs.output(job), failure: falFailure },
    v1: { output: (job: StoredJob) => views.result(job), failure: v1Failure },
  };
  const sender = new WebhookSender({ store, jobs, routes, signer, egress, count, log });
  return {
    store,
    signer,
    sender,
    start: () => {
      nats.subscribe(SUBJECTS.jobFinished.subject, { callback: () => sender.hint() });
      sender.start();
    },
    stop: async () => {
      await sender.stop();
      await egress.close();
    },
  };
}
