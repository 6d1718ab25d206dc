import type { Logger } from '@studio/shared/platform/logger';
import { Counter, Gauge, type Registry } from 'prom-client';
import type { WebhookBacklog } from './webhook.store';

export type TryOutcome = 'ok' | 'failed' | 'dead';

/** What became of tries, and what waits; the backlog is that of all replicas, asked for when somebody reads the metrics. */
export function webhookMetrics(
  registry: Registry,
  backlog: () => Promise<WebhookBacklog>,
  log: Pick<Logger, 'warn'>,
): (outcome: TryOutcome) => void {
  const tries = new Counter({
    name: 'querier_webhook_tries_total',
    help: 'Tries to deliver a webhook; dead: the last one failed as well',
    labelNames: ['outcome'],
    registers: [registry],
  });
  for (const outcome of ['ok', 'failed', 'dead'] as const) tries.inc({ outcome }, 0);
  const read = readTogether(backlog, log);
  const gauge = (name: string, help: string, value: (found: WebhookBacklog) => number): Gauge =>
    new Gauge({
      name,
      help,
      registers: [registry],
      async collect() {
        const found = await read();
        if (found) this.set(value(found));
      },
    });
  gauge('querier_webhooks_pending', 'Webhooks that are not delivered yet', ({ pending }) => pending);
  gauge('querier_webhooks_oldest_pending_seconds', 'Age of the oldest pending webhook', ({ oldestS }) => oldestS);
  gauge(
    'querier_webhooks_overdue_seconds',
    'How long the longest due one waits for its try',
    ({ overdueS }) => overdueS,
  );
  return (outcome) => tries.inc({ outcome });
}

/** One question for all who ask at the same time; undefined without the database, so that the other metrics can be read. */
function readTogether(
  backlog: () => Promise<WebhookBacklog>,
  log: Pick<Logger, 'warn'>,
): () => Promise<WebhookBacklog | undefined> {
  let reading: Promise<WebhookBacklog | undefined> | undefined;
  const begin = async (): Promise<WebhookBacklog | undefined> => {
    try {
      return await backlog();
    } catch (err) {
      log.warn({ err }, 'the backlog of webhooks could not be read');
      return undefined;
    } finally {
      reading = undefined;
    }
  };
  return () => (reading ??= begin());
}
