import { Registry, collectDefaultMetrics } from 'prom-client';

/**
 * The registry of one process, with memory, CPU and event-loop figures of Node. Services add their own counters with
 * `registers: [registry]`: prom-client's global registry would mix the services of a test.
 */
export function createMetrics(service: string): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ service });
  collectDefaultMetrics({ register: registry });
  return registry;
}
