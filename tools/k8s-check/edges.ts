/**
 * Who speaks with whom: ARCHITECTURE.md as a list, by port of the pod. `internet`: public addresses; `namespace:x`: whatever
 * runs there. Names are the label app.kubernetes.io/name.
 */

const SERVICES_ON_POSTGRES = ['querier-api', 'querier-worker', 'auditor', 'registry', 'migrate'];
const SERVICES_ON_NATS = ['querier-api', 'querier-worker', 'auditor', 'registry'];
const SERVICES_ON_REDIS = ['querier-api', 'querier-worker', 'registry'];
const QUERIERS = ['querier-api', 'querier-worker'];
const MINERS = ['miner', 'reference'];
const SCRAPED = ['querier-api', 'querier-worker', 'auditor', 'registry'];

const edges = (from: readonly string[], to: readonly string[], ...ports: (number | string)[]): string[] =>
  from.flatMap((one) => to.flatMap((other) => ports.map((port) => `${one} → ${other}:${port}`)));

/** Miners, and the files that clients name. */
const STRANGERS = edges(QUERIERS, ['internet'], 80, 443, '1024-65535');

const DEV = [
  ...STRANGERS,
  ...edges([...SERVICES_ON_POSTGRES, 'demo'], ['postgres'], 5432),
  ...edges(SERVICES_ON_NATS, ['nats'], 4222),
  ...edges(SERVICES_ON_REDIS, ['redis'], 6379),
  ...edges(['registry', 'validator'], ['nats-scores'], 4222),
  // Jobs and cancels there; inputs, callbacks and the registration back.
  ...edges(QUERIERS, MINERS, 8080),
  ...edges(MINERS, ['querier-api', 'registry'], 8080),
  ...edges(['validator'], ['registry'], 8080),
  // PUBLIC_URL, which a worker looks at.
  ...edges(['querier-worker'], ['querier-api'], 8080),
  ...edges(['demo'], ['querier-api', 'registry', 'auditor'], 8080),
  ...edges(['demo'], ['registry'], 8081),
];

const PRODUCTION = [
  ...STRANGERS,
  ...edges(SERVICES_ON_POSTGRES, ['namespace:engines'], 5432),
  ...edges(SERVICES_ON_NATS, ['namespace:engines'], 4222),
  ...edges(SERVICES_ON_REDIS, ['namespace:engines'], 6379),
  // The chain's sidecar.
  ...edges(['registry'], ['namespace:engines'], 8000),
  // The bucket.
  ...edges(['auditor'], ['internet'], 443),
  ...edges(['namespace:ingress-nginx'], ['querier-api', 'registry'], 8080),
];

const WATCHED = [...PRODUCTION, ...edges(['namespace:monitoring'], SCRAPED, 8080)];

/** By overlay. */
export const EDGES: Record<string, readonly string[]> = {
  dev: DEV,
  production: PRODUCTION,
  keda: PRODUCTION,
  monitoring: WATCHED,
  'prometheus-adapter': WATCHED,
};
