import { Gauge, type Registry } from 'prom-client';
import type { WorkerDemandStore } from './worker-demand.store';

/** Read anew at every scrape. Without an answer there is no sample: a zero would send workers away. */
export function exposeWorkerDemand(registry: Registry, store: Pick<WorkerDemandStore, 'count'>): void {
  new Gauge({
    name: 'studio_worker_demand',
    help: 'Jobs that workers hold or would take up now, of the whole system',
    registers: [registry],
    async collect() {
      const demand = await store.count().catch(() => undefined);
      if (demand === undefined) this.remove();
      else this.set(demand);
    },
  });
}
