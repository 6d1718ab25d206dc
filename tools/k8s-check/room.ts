/** What overlays/dev asks of a cluster, which is often one node on a laptop. */
import { ofKind, problem, workloadsOf, type Container, type Problem, type Resource, type Workload } from './resource';

/** Of a node with four: kind's own pods ask for 0.95, and an upgrade and the autoscaler bring more of ours. */
const MOST_CPUS = 2;

export function roomRule(resources: readonly Resource[], overlay: string): Problem[] {
  if (overlay !== 'dev') return [];
  const asked = workloadsOf(resources).map((workload) => ({
    workload,
    cpus: podsOf(workload, resources) * cpusOf(workload),
  }));
  const sum = asked.reduce((all, { cpus }) => all + cpus, 0);
  const [most] = asked.sort((a, b) => b.cpus - a.cpus);
  if (!most || sum <= MOST_CPUS) return [];
  const message = `asks for most of ${sum.toFixed(2)} CPUs: more than ${MOST_CPUS} do not fit on one node of four: ask for less`;
  return [problem(most.workload.resource, 'resources.requests.cpu', message)];
}

/** An autoscaler's fewest, where there is one. */
function podsOf({ name, resource }: Workload, resources: readonly Resource[]): number {
  const scalers = ofKind(resources, 'HorizontalPodAutoscaler').map(
    ({ spec }) => spec as unknown as { scaleTargetRef: { name: string }; minReplicas?: number },
  );
  const scaled = scalers.find(({ scaleTargetRef }) => scaleTargetRef.name === name);
  return scaled?.minReplicas ?? (resource.spec?.replicas as number | undefined) ?? 1;
}

/** As the scheduler counts a pod: its containers together, or the init container that asks for more. */
function cpusOf({ pod }: Workload): number {
  const together = pod.containers.reduce((all, container) => all + cpusOfContainer(container), 0);
  return Math.max(together, ...(pod.initContainers ?? []).map(cpusOfContainer));
}

function cpusOfContainer({ resources }: Container): number {
  const cpu = resources?.requests?.cpu ?? '0';
  return cpu.endsWith('m') ? Number(cpu.slice(0, -1)) / 1_000 : Number(cpu);
}
