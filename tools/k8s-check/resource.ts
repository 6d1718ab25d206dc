/** What the rules read of a manifest. Fields that no rule looks at are left to the schema (schema.ts). */

export interface Resource {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string; labels?: Labels; annotations?: Labels };
  spec?: Record<string, unknown>;
  data?: Record<string, string>;
}

export type Labels = Record<string, string>;

export interface Selector {
  matchLabels?: Labels;
  matchExpressions?: { key: string; operator: string; values?: string[] }[];
}

export interface Probe {
  httpGet?: { path: string; port: string | number };
  tcpSocket?: { port: string | number };
  exec?: { command: string[] };
}

export interface EnvVariable {
  name: string;
  value?: string;
  valueFrom?: { fieldRef?: object; configMapKeyRef?: { name: string; key: string }; secretKeyRef?: object };
}

export interface Container {
  name: string;
  image: string;
  command?: string[];
  args?: string[];
  env?: EnvVariable[];
  envFrom?: { configMapRef?: { name: string }; secretRef?: { name: string } }[];
  ports?: { name?: string; containerPort: number }[];
  startupProbe?: Probe;
  readinessProbe?: Probe;
  livenessProbe?: Probe;
  lifecycle?: { preStop?: { exec?: { command: string[] } } };
  resources?: { requests?: Labels; limits?: Labels };
  securityContext?: {
    allowPrivilegeEscalation?: boolean;
    privileged?: boolean;
    readOnlyRootFilesystem?: boolean;
    capabilities?: { drop?: string[]; add?: string[] };
  };
  volumeMounts?: { name: string; mountPath: string; readOnly?: boolean }[];
}

export interface Volume {
  name: string;
  configMap?: { name: string };
  secret?: { secretName: string; defaultMode?: number };
  projected?: { sources: { configMap?: { name: string }; secret?: { name: string } }[] };
  persistentVolumeClaim?: { claimName: string };
  emptyDir?: object;
  hostPath?: object;
}

export interface PodSpec {
  serviceAccountName?: string;
  automountServiceAccountToken?: boolean;
  enableServiceLinks?: boolean;
  hostNetwork?: boolean;
  hostPID?: boolean;
  hostIPC?: boolean;
  terminationGracePeriodSeconds?: number;
  securityContext?: { runAsNonRoot?: boolean; runAsUser?: number; fsGroup?: number; seccompProfile?: { type: string } };
  topologySpreadConstraints?: { topologyKey: string; labelSelector: Selector }[];
  initContainers?: Container[];
  containers: Container[];
  volumes?: Volume[];
}

/** A resource that makes pods. */
export interface Workload {
  resource: Resource;
  name: string;
  labels: Labels;
  pod: PodSpec;
}

/** What is wrong with one field of one resource, and what to do. */
export interface Problem {
  resource: string;
  field: string;
  message: string;
}

export const WORKLOAD_KINDS = ['Deployment', 'StatefulSet', 'DaemonSet', 'Job', 'CronJob', 'Pod'];

/** Default of Kubernetes. */
export const DEFAULT_GRACE_S = 30;

export const titleOf = ({ kind, metadata }: Resource): string => `${kind}/${metadata.name}`;

export function problem(resource: Resource, field: string, message: string): Problem {
  return { resource: titleOf(resource), field, message };
}

export function workloadsOf(resources: readonly Resource[]): Workload[] {
  return resources
    .filter(({ kind }) => WORKLOAD_KINDS.includes(kind))
    .map((resource) => {
      const template = templateOf(resource);
      return { resource, name: resource.metadata.name, labels: template.metadata?.labels ?? {}, pod: template.spec };
    });
}

interface Template {
  metadata?: { labels?: Labels };
  spec: PodSpec;
}

function templateOf(resource: Resource): Template {
  if (resource.kind === 'Pod') return resource as unknown as Template;
  const spec = resource.spec ?? {};
  const inner = resource.kind === 'CronJob' ? ((spec.jobTemplate as Resource).spec ?? {}) : spec;
  return inner.template as Template;
}

export const allContainers = ({ pod }: Workload): Container[] => [...(pod.initContainers ?? []), ...pod.containers];

export function ofKind(resources: readonly Resource[], kind: string): Resource[] {
  return resources.filter((resource) => resource.kind === kind);
}

export function matches(selector: Selector, labels: Labels): boolean {
  const equal = Object.entries(selector.matchLabels ?? {}).every(([key, value]) => labels[key] === value);
  return equal && (selector.matchExpressions ?? []).every((expression) => holds(expression, labels));
}

function holds(
  { key, operator, values = [] }: NonNullable<Selector['matchExpressions']>[number],
  labels: Labels,
): boolean {
  const value = labels[key];
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    default:
      return value === undefined;
  }
}
