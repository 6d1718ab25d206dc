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
  const say = (field: string, message: string): Problem => problem(resource, `${container.name}.${field}`, message);
  try {
    const program = programOf(container);
    if (!program) return [];
    const variables = variablesOf(container, settings);
    const unread = Object.keys(variables).filter((name) => !isRead(name, program.reads));
    return [
      ...unread.map((name) => say(`env.${name}`, 'is not read by the program: remove it or correct its name')),
      ...fileProblems(container, variables, new Set((pod.volumes ?? []).map(({ name }) => name))).map((name) =>
        say(`env.${name}`, `${variables[name]} lies in no volume: mount the Secret there`),
      ),
      ...startProblems(() => program.load(variables, contentFor(variables))).map((line) => say('env', line)),
    ];
  } catch (error) {
    return [say('command', (error as Error).message)];
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

/** Variables that name a file below a folder where nothing is mounted. */
function fileProblems({ volumeMounts = [] }: Container, variables: Variables, volumes: ReadonlySet<string>): string[] {
  const folders = volumeMounts.filter(({ name }) => volumes.has(name)).map(({ mountPath }) => `${mountPath}/`);
  return Object.entries(variables)
    .filter(([, value]) => value.startsWith('/run/'))
    .filter(([, value]) => !folders.some((folder) => value.startsWith(folder)))
    .map(([name]) => name);
}
