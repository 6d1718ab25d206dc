/** What holds for every pod, whoever runs in it. */
import {
  allContainers,
  problem,
  workloadsOf,
  type Container,
  type Problem,
  type Resource,
  type Workload,
} from './resource';

export function podRules(resources: readonly Resource[]): Problem[] {
  return workloadsOf(resources).flatMap((workload) => [
    ...securityProblems(workload),
    ...allContainers(workload).flatMap((container) => [
      ...containerSecurity(workload, container),
      ...resourceProblems(workload, container),
      ...secretProblems(workload, container),
      ...imageProblems(workload, container),
    ]),
    ...secretVolumeProblems(workload),
  ]);
}

/** Pod security `restricted`, and what goes beyond it. */
function securityProblems({ resource, pod }: Workload): Problem[] {
  const security = pod.securityContext ?? {};
  const wrong: [boolean, string, string][] = [
    [security.runAsNonRoot !== true, 'securityContext.runAsNonRoot', 'has to be true'],
    [
      !security.runAsUser,
      'securityContext.runAsUser',
      'has to be a number above 0: images may name their user by a word',
    ],
    [
      security.seccompProfile?.type !== 'RuntimeDefault',
      'securityContext.seccompProfile.type',
      'has to be RuntimeDefault',
    ],
    [
      pod.automountServiceAccountToken !== false,
      'automountServiceAccountToken',
      'has to be false: nobody speaks with the API server',
    ],
    [
      pod.enableServiceLinks !== false,
      'enableServiceLinks',
      'has to be false: a Service named miner sets MINER_PORT, which is a variable of ours',
    ],
    [pod.hostNetwork === true, 'hostNetwork', 'is forbidden'],
    [pod.hostPID === true, 'hostPID', 'is forbidden'],
    [pod.hostIPC === true, 'hostIPC', 'is forbidden'],
    [(pod.volumes ?? []).some(({ hostPath }) => hostPath), 'volumes', 'no hostPath'],
  ];
  return wrong.filter(([is]) => is).map(([, field, message]) => problem(resource, field, message));
}

function containerSecurity({ resource }: Workload, { name, securityContext = {} }: Container): Problem[] {
  const { capabilities = {} } = securityContext;
  const wrong: [boolean, string, string][] = [
    [securityContext.allowPrivilegeEscalation !== false, 'allowPrivilegeEscalation', 'has to be false'],
    [securityContext.readOnlyRootFilesystem !== true, 'readOnlyRootFilesystem', 'has to be true: write to an emptyDir'],
    [!capabilities.drop?.includes('ALL'), 'capabilities.drop', 'has to be [ALL]'],
    [(capabilities.add ?? []).length > 0, 'capabilities.add', 'adds a capability: remove it'],
    [securityContext.privileged === true, 'privileged', 'is forbidden'],
  ];
  return wrong
    .filter(([is]) => is)
    .map(([, field, message]) => problem(resource, `${name}.securityContext.${field}`, message));
}

function resourceProblems({ resource }: Workload, { name, resources = {} }: Container): Problem[] {
  const { requests = {}, limits = {} } = resources;
  const missing = [
    ['requests.cpu', requests.cpu],
    ['requests.memory', requests.memory],
    ['limits.cpu', limits.cpu],
    ['limits.memory', limits.memory],
  ].filter(([, value]) => value === undefined);
  if (missing.length > 0) {
    return missing.map(([field]) => problem(resource, `${name}.resources.${field}`, 'is missing: set it'));
  }
  if (requests.memory === limits.memory) return [];
  const message = `is ${limits.memory}, the request ${requests.memory}: make them equal, or the node may have no room for it`;
  return [problem(resource, `${name}.resources.limits.memory`, message)];
}

/** Everybody who may look at a pod sees its environment. */
function secretProblems({ resource }: Workload, { name, env = [], envFrom = [] }: Container): Problem[] {
  const inEnv = env.filter(({ valueFrom }) => valueFrom?.secretKeyRef).map(({ name: variable }) => variable);
  const whole = envFrom.filter(({ secretRef }) => secretRef).map(({ secretRef }) => `envFrom ${secretRef?.name}`);
  return [...inEnv, ...whole].map((variable) =>
    problem(resource, `${name}.${variable}`, 'is a secret in the environment: mount it and give its file as X_FILE'),
  );
}

/** 0440 and less: the group is the process's own (fsGroup). */
const FOR_OTHERS = 0o007;

function secretVolumeProblems({ resource, pod }: Workload): Problem[] {
  return (pod.volumes ?? []).flatMap(({ name, secret }) => {
    if (!secret) return [];
    const mode = secret.defaultMode ?? 0o644;
    if (mode & FOR_OTHERS)
      return [problem(resource, `volumes.${name}.defaultMode`, 'is readable by all: write 288 (0440)')];
    return pod.securityContext?.fsGroup
      ? []
      : [problem(resource, 'securityContext.fsGroup', 'is missing: without it the process cannot read its secrets')];
  });
}

function imageProblems({ resource }: Workload, { name, image }: Container): Problem[] {
  const pinned = /@sha256:[0-9a-f]{64}$/.test(image) || /:(?!latest$)[\w.-]+$/.test(image);
  return pinned ? [] : [problem(resource, `${name}.image`, `${image} is not pinned: give a version or a digest`)];
}

/** One release: images of ours that differ in their version were never tried together. */
export function releaseRule(resources: readonly Resource[]): Problem[] {
  const ours = workloadsOf(resources).flatMap((workload) =>
    allContainers(workload)
      .filter(({ image }) => image.includes('dippy-studio/'))
      .map(({ name, image }) => ({ workload, name, version: versionOf(image) })),
  );
  const [first] = ours;
  return ours
    .filter(({ version }) => version !== first?.version)
    .map(({ workload, name, version }) =>
      problem(
        workload.resource,
        `${name}.image`,
        `has version ${version}, others ${first?.version}: one release alone`,
      ),
    );
}

/** Digests differ from image to image: then all of them are to be digests. */
function versionOf(image: string): string {
  return image.includes('@') ? 'a digest' : (image.split('/').at(-1)?.split(':')[1] ?? 'none');
}
