/** Every variable that a program needs is set, right as far as it can be told from here, and none that it does not read. */
import {
  allContainers,
  problem,
  workloadsOf,
  type Container,
  type Problem,
  type Resource,
  type Workload,
} from './resource';
import { programOf, type Variables } from './programs';

export function environmentRules(resources: readonly Resource[]): Problem[] {
  const settings = new Map(
    resources.filter(({ kind }) => kind === 'ConfigMap').map(({ metadata, data }) => [metadata.name, data ?? {}]),
  );
  return workloadsOf(resources).flatMap((workload) =>
    allContainers(workload).flatMap((container) => containerProblems(workload, container, settings)),
  );
}

function containerProblems(
  { resource, pod }: Workload,
  container: Container,
  settings: ReadonlyMap<string, Variables>,
): Problem[] {
  const volumes = new Set((pod.volumes ?? []).map(({ name }) => name));
  return variableProblems(container, variablesOf(container, settings), volumes).map(([field, message]) =>
    problem(resource, `${container.name}.${field}`, message),
  );
}

/** Field and what is wrong with it; nothing where the program is not ours. Pods and compose.yaml are held to the same. */
export function variableProblems(
  container: Container,
  variables: Variables,
  volumes: ReadonlySet<string>,
): [field: string, message: string][] {
  try {
    const program = programOf(container);
    if (!program) return [];
    const unread = Object.keys(variables).filter((name) => !isRead(name, program.reads));
    return [
      ...unread.map((name): [string, string] => [
        `env.${name}`,
        'is not read by the program: remove it or correct its name',
      ]),
      ...fileProblems(container, variables, volumes).map((name): [string, string] => [
        `env.${name}`,
        `${variables[name]} lies in no volume: mount the Secret there`,
      ]),
      ...startProblems(() => program.load(variables, contentFor(variables))).map((line): [string, string] => [
        'env',
        line,
      ]),
    ];
  } catch (error) {
    return [['command', (error as Error).message]];
  }
}

/** X_FILE stands for X. */
const isRead = (name: string, reads: ReadonlySet<string>): boolean =>
  reads.has(name) || (name.endsWith('_FILE') && reads.has(name.slice(0, -'_FILE'.length)));

function variablesOf({ env = [], envFrom = [] }: Container, settings: ReadonlyMap<string, Variables>): Variables {
  const whole = envFrom.flatMap(({ configMapRef }) => Object.entries(settings.get(configMapRef?.name ?? '') ?? {}));
  const single = env.map(({ name, value, valueFrom }): [string, string] => [
    name,
    value ?? (valueFrom?.fieldRef ? 'pod-0' : ''),
  ]);
  const variables = Object.fromEntries([...whole, ...single]);
  const expand = (value: string): string =>
    value.replace(/\$\((\w+)\)/g, (text, name: string) => variables[name] ?? text);
  return Object.fromEntries(Object.entries(variables).map(([name, value]) => [name, expand(value)]));
}

/** What a file that only the cluster has could hold, by the variable's name. */
function contentFor(variables: Variables): (path: string) => string {
  return (path) => {
    const name = Object.keys(variables).find((each) => variables[each] === path) ?? '';
    if (/POSTGRES_URL/.test(name)) return 'postgres://role:password@postgres/studio';
    if (/REDIS_URL/.test(name)) return 'redis://:password@redis';
    if (/SEED|SECRET_FILE|ADMIN_KEY/.test(name)) return 'ab'.repeat(32);
    return 'some text';
  };
}

function startProblems(load: () => void): string[] {
  try {
    load();
    return [];
  } catch (error) {
    const { problems, message } = error as { problems?: string[]; message: string };
    return problems ?? [message];
  }
}

/** Where pods and compose.yaml's containers have their secrets. */
const SECRETS = /^\/(run|secrets)\//;

/** Variables that name a secret below a folder where nothing is mounted. */
function fileProblems({ volumeMounts = [] }: Container, variables: Variables, volumes: ReadonlySet<string>): string[] {
  const folders = volumeMounts.filter(({ name }) => volumes.has(name)).map(({ mountPath }) => `${mountPath}/`);
  return Object.entries(variables)
    .filter(([, value]) => SECRETS.test(value))
    .filter(([, value]) => !folders.some((folder) => value.startsWith(folder)))
    .map(([name]) => name);
}
