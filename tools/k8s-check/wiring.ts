/** What one resource says of another: selectors and labels, ports, targets, names. */
import {
  allContainers,
  matches,
  ofKind,
  problem,
  workloadsOf,
  type Container,
  type Problem,
  type Resource,
  type Selector,
  type Workload,
} from './resource';

export function wiringRules(resources: readonly Resource[]): Problem[] {
  const workloads = workloadsOf(resources);
  return [
    ...duplicates(resources),
    ...workloads.flatMap((workload) => [
      ...ownSelector(workload),
      ...probeProblems(workload),
      ...mountProblems(workload),
      ...spreadProblems(workload),
    ]),
    ...ofKind(resources, 'Service').flatMap((service) => serviceProblems(service, workloads)),
    ...ofKind(resources, 'PodDisruptionBudget').flatMap((budget) => budgetProblems(budget, workloads)),
    ...unprotected(resources, workloads),
    ...ofKind(resources, 'Ingress').flatMap((ingress) => ingressProblems(ingress, resources)),
    ...referenceProblems(resources, workloads),
  ];
}

function duplicates(resources: readonly Resource[]): Problem[] {
  const seen = new Set<string>();
  return resources.flatMap((resource) => {
    const key = `${resource.apiVersion} ${resource.kind} ${resource.metadata.namespace} ${resource.metadata.name}`;
    const again = seen.has(key);
    seen.add(key);
    return again ? [problem(resource, 'metadata.name', 'is there twice: remove one')] : [];
  });
}

function ownSelector({ resource, labels }: Workload): Problem[] {
  const selector = resource.spec?.selector as Selector | undefined;
  if (!selector || matches(selector, labels)) return [];
  return [problem(resource, 'spec.selector', 'does not match the labels of its own pods: correct one of them')];
}

function serviceProblems(service: Resource, workloads: readonly Workload[]): Problem[] {
  const { selector, ports = [] } = service.spec as {
    selector?: Record<string, string>;
    ports?: { port: number; targetPort?: string | number }[];
  };
  const targets = workloads.filter(({ labels }) => matches({ matchLabels: selector }, labels));
  if (!selector || targets.length === 0) return [problem(service, 'spec.selector', 'matches no pod: correct it')];
  return ports.flatMap(({ port, targetPort = port }) =>
    targets
      .filter(({ pod }) => !hasPort(pod.containers, targetPort))
      .map(({ name }) => problem(service, 'spec.ports', `${targetPort} is no port of ${name}: name one of its ports`)),
  );
}

const hasPort = (containers: readonly Container[], port: string | number): boolean =>
  containers.some(({ ports = [] }) => ports.some(({ name, containerPort }) => name === port || containerPort === port));

function probeProblems({ resource, pod }: Workload): Problem[] {
  return pod.containers.flatMap((container) => {
    const { name, startupProbe, readinessProbe, livenessProbe, ports } = container;
    const probes = { startupProbe, readinessProbe, livenessProbe };
    return Object.entries(probes).flatMap(([field, probe]) => {
      if (!probe) {
        return ports
          ? [problem(resource, `${name}.${field}`, 'is missing: whoever has a port is asked whether it works')]
          : [];
      }
      const port = probe.httpGet?.port ?? probe.tcpSocket?.port;
      if (port === undefined || hasPort([container], port)) return [];
      return [problem(resource, `${name}.${field}`, `asks port ${port}, which ${name} has not: name one of its ports`)];
    });
  });
}

function mountProblems({ resource, pod }: Workload): Problem[] {
  const volumes = new Set((pod.volumes ?? []).map(({ name }) => name));
  const claims = (resource.spec?.volumeClaimTemplates ?? []) as Resource[];
  for (const { metadata } of claims) volumes.add(metadata.name);
  const mounts = allContainers({ pod } as Workload).flatMap(({ name, volumeMounts = [] }) =>
    volumeMounts.map((mount) => ({ container: name, ...mount })),
  );
  return mounts
    .filter(({ name }) => !volumes.has(name))
    .map(({ container, name }) => problem(resource, `${container}.volumeMounts`, `there is no volume ${name}: add it`));
}

const SPREAD_OVER = ['topology.kubernetes.io/zone', 'kubernetes.io/hostname'];

function spreadProblems({ resource, labels, pod }: Workload): Problem[] {
  if (!isService(resource)) return [];
  const over = (pod.topologySpreadConstraints ?? []).filter(({ labelSelector }) => matches(labelSelector, labels));
  return SPREAD_OVER.filter((key) => !over.some(({ topologyKey }) => topologyKey === key)).map((key) =>
    problem(resource, 'topologySpreadConstraints', `does not spread its own pods over ${key}: add it`),
  );
}

/** Ours that have to go on when a node goes. Clients and engines for trying out are one anyway. */
const SERVICES = ['querier-api', 'querier-worker', 'auditor', 'registry'];
const isService = ({ kind, metadata }: Resource): boolean => kind === 'Deployment' && SERVICES.includes(metadata.name);

function budgetProblems(budget: Resource, workloads: readonly Workload[]): Problem[] {
  const { selector, maxUnavailable } = budget.spec as { selector: Selector; maxUnavailable?: number };
  const chosen = workloads.filter(({ labels }) => matches(selector, labels));
  return [
    ...(chosen.length === 1
      ? []
      : [problem(budget, 'spec.selector', `matches ${chosen.length} workloads, not one: correct it`)]),
    ...(maxUnavailable === 1
      ? []
      : [
          problem(
            budget,
            'spec.maxUnavailable',
            'has to be 1: more would go at once, or a node could never be drained',
          ),
        ]),
  ];
}

function unprotected(resources: readonly Resource[], workloads: readonly Workload[]): Problem[] {
  const budgets = ofKind(resources, 'PodDisruptionBudget');
  return workloads
    .filter(({ resource }) => isService(resource))
    .filter(({ labels }) => !budgets.some(({ spec }) => matches(spec?.selector as Selector, labels)))
    .map(({ resource }) => problem(resource, 'metadata.labels', 'no PodDisruptionBudget covers its pods: add one'));
}

interface IngressSpec {
  tls?: { hosts: string[]; secretName: string }[];
  rules: { host: string; http: { paths: { backend: { service: { name: string; port: { name?: string } } } }[] } }[];
}

function ingressProblems(ingress: Resource, resources: readonly Resource[]): Problem[] {
  const { tls = [], rules } = ingress.spec as unknown as IngressSpec;
  const covered = new Set(tls.flatMap(({ hosts }) => hosts));
  const backends = rules.flatMap(({ http }) => http.paths.map(({ backend }) => backend.service));
  const services = new Map(ofKind(resources, 'Service').map((service) => [service.metadata.name, service]));
  const has = ({ name, port }: (typeof backends)[number]): boolean =>
    ((services.get(name)?.spec?.ports ?? []) as { name: string }[]).some((each) => each.name === port.name);
  return [
    ...rules
      .filter(({ host }) => !covered.has(host))
      .map(({ host }) => problem(ingress, 'spec.tls', `${host} has no certificate: name it under tls`)),
    ...backends
      .filter((backend) => !has(backend))
      .map(({ name, port }) => problem(ingress, 'spec.rules', `there is no Service ${name} with a port ${port.name}`)),
  ];
}

/** ConfigMaps, claims and ServiceAccounts that pods name. Secrets are made by the operator (npm run k8s:secrets). */
function referenceProblems(resources: readonly Resource[], workloads: readonly Workload[]): Problem[] {
  const known = new Set(resources.map(({ kind, metadata }) => `${kind}/${metadata.name}`));
  return workloads.flatMap((workload) => {
    const { pod, resource } = workload;
    const wanted = [
      `ServiceAccount/${pod.serviceAccountName}`,
      ...allContainers(workload).flatMap(({ envFrom = [], env = [] }) => [
        ...envFrom.flatMap(({ configMapRef }) => (configMapRef ? [`ConfigMap/${configMapRef.name}`] : [])),
        ...env.flatMap(({ valueFrom }) =>
          valueFrom?.configMapKeyRef ? [`ConfigMap/${valueFrom.configMapKeyRef.name}`] : [],
        ),
      ]),
      ...(pod.volumes ?? []).flatMap(({ configMap, persistentVolumeClaim, projected }) => [
        ...(configMap ? [`ConfigMap/${configMap.name}`] : []),
        ...(persistentVolumeClaim ? [`PersistentVolumeClaim/${persistentVolumeClaim.claimName}`] : []),
        ...(projected?.sources ?? []).flatMap((source) =>
          source.configMap ? [`ConfigMap/${source.configMap.name}`] : [],
        ),
      ]),
    ];
    return wanted
      .filter((name) => !known.has(name))
      .map((name) => problem(resource, 'spec.template', `there is no ${name}: add it or correct the name`));
  });
}
