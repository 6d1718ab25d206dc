/** Who is scaled by what, and how long a pod is given to end. */
import { WORKER_DEMAND_SQL } from '@studio/querier/worker-demand.store';
import type { InferenceInput } from '@studio/shared/domain/job';
import { TASK_KINDS } from '@studio/shared/domain/task-kinds';
import { DEFAULT_GRACE_S, ofKind, problem, workloadsOf, type Problem, type Resource, type Workload } from './resource';

/** Of a worker's concurrency: the rest is room for what comes while a new pod starts. */
const TARGET_SHARE = 0.7;
/** Until every node has taken the pod out of its Services. */
const PRE_STOP_S = 5;
/** Leases handed back, doors and connections closed (12 s in services/querier/src/main.ts), and some to spare. */
const HAND_BACK_S = 15;

/** The longest that an inference may take, over all engines and the largest request: what a worker that ends still waits for. */
export const LONGEST_INFERENCE_S = Math.max(
  ...TASK_KINDS.filter(({ kind }) => kind === 'lora-inference').map((task) => {
    const { numImages, side } = task.limits;
    const largest = { numImages: numImages[1], width: side[1], height: side[1] };
    return task.timeoutMs(largest as InferenceInput) / 1_000;
  }),
);

export const WORKER_GRACE_S = PRE_STOP_S + LONGEST_INFERENCE_S + HAND_BACK_S;

interface ScaledSpec {
  scaleTargetRef: { name: string; kind?: string };
  minReplicas?: number;
  maxReplicas?: number;
  minReplicaCount?: number;
  maxReplicaCount?: number;
  behavior?: Behavior;
  metrics?: { type: string; external?: { metric: { name: string }; target: { averageValue?: string } } }[];
  advanced?: { horizontalPodAutoscalerConfig?: { behavior?: Behavior } };
  triggers?: { type: string; metadata: Record<string, string>; authenticationRef?: { name: string } }[];
}

interface Behavior {
  scaleDown?: { policies?: { type: string; value: number; periodSeconds: number }[] };
}

export function scalingRules(resources: readonly Resource[]): Problem[] {
  const scalers = [...ofKind(resources, 'HorizontalPodAutoscaler'), ...ofKind(resources, 'ScaledObject')];
  const workloads = workloadsOf(resources);
  return [
    ...scalers.flatMap((scaler) => [...targetProblems(scaler, scalers, workloads), ...paceProblems(scaler)]),
    ...scalers.flatMap((scaler) => demandProblems(scaler, resources, concurrencyOf(workloads))),
    ...workloads.flatMap(graceProblems),
  ];
}

const specOf = (scaler: Resource): ScaledSpec => scaler.spec as unknown as ScaledSpec;

function targetProblems(scaler: Resource, scalers: readonly Resource[], workloads: readonly Workload[]): Problem[] {
  const { name, kind = 'Deployment' } = specOf(scaler).scaleTargetRef;
  const target = workloads.find(({ resource }) => resource.kind === kind && resource.metadata.name === name);
  if (!target) return [problem(scaler, 'spec.scaleTargetRef', `there is no ${kind}/${name}: correct the name`)];
  const rivals = scalers.filter((other) => specOf(other).scaleTargetRef.name === name);
  return [
    ...(rivals.length > 1
      ? [problem(scaler, 'spec.scaleTargetRef', `${name} has ${rivals.length} autoscalers: keep one`)]
      : []),
    ...(target.resource.spec?.replicas === undefined
      ? []
      : [
          problem(
            target.resource,
            'spec.replicas',
            'is set beside an autoscaler, which every apply would set back: remove it',
          ),
        ]),
  ];
}

function paceProblems(scaler: Resource): Problem[] {
  const spec = specOf(scaler);
  const [min, max] = [spec.minReplicas ?? spec.minReplicaCount, spec.maxReplicas ?? spec.maxReplicaCount];
  const behavior = spec.behavior ?? spec.advanced?.horizontalPodAutoscalerConfig?.behavior;
  const [policy, ...others] = behavior?.scaleDown?.policies ?? [];
  const gentle = policy?.type === 'Pods' && policy.value === 1 && policy.periodSeconds === 60 && others.length === 0;
  return [
    ...(min === 2 && max === 20 ? [] : [problem(scaler, 'spec', `goes from ${min} to ${max} pods: 2 to 20`)]),
    ...(gentle
      ? []
      : [problem(scaler, 'spec.behavior.scaleDown', 'has to take away one pod in 60 s: each hands back its jobs')]),
  ];
}

function concurrencyOf(workloads: readonly Workload[]): number | undefined {
  const env = workloads.find(({ name }) => name === 'querier-worker')?.pod.containers.flatMap((each) => each.env ?? []);
  const value = env?.find(({ name }) => name === 'WORKER_CONCURRENCY')?.value;
  return value === undefined ? undefined : Number(value);
}

/** The same question and the same target, whoever asks. */
function demandProblems(scaler: Resource, resources: readonly Resource[], concurrency: number | undefined): Problem[] {
  const { triggers = [], metrics = [] } = specOf(scaler);
  const wanted = TARGET_SHARE * (concurrency ?? NaN);
  const aim = `has to be ${wanted.toFixed(1)}: ${TARGET_SHARE} × WORKER_CONCURRENCY`;
  const external = metrics.flatMap((metric) => metric.external ?? []);
  return [
    ...external
      .filter(({ target }) => quantity(target.averageValue) !== wanted)
      .map(() => problem(scaler, 'spec.metrics.external.target.averageValue', aim)),
    ...triggers.flatMap(({ metadata, authenticationRef }) => [
      ...(plain(metadata.query) === plain(WORKER_DEMAND_SQL)
        ? []
        : [problem(scaler, 'spec.triggers.metadata.query', 'is not WORKER_DEMAND_SQL of the querier: copy it')]),
      ...(Number(metadata.targetQueryValue) === wanted
        ? []
        : [problem(scaler, 'spec.triggers.metadata.targetQueryValue', aim)]),
      ...(resources.some(
        (each) => each.kind === 'TriggerAuthentication' && each.metadata.name === authenticationRef?.name,
      )
        ? []
        : [
            problem(
              scaler,
              'spec.triggers.authenticationRef',
              `there is no TriggerAuthentication/${authenticationRef?.name}`,
            ),
          ]),
    ]),
  ];
}

const plain = (sql = ''): string => sql.replace(/\s+/g, ' ').trim();
const quantity = (text = ''): number => (text.endsWith('m') ? Number(text.slice(0, -1)) / 1_000 : Number(text));

/** What each service takes to end at most, from its main.ts; the worker beside its own WORKER_GRACE_MS. */
const CLOSE_S: Record<string, number> = { 'querier-api': 8 + 12, 'querier-worker': 12, auditor: 10, registry: 10 };

function graceProblems({ resource, name, pod }: Workload): Problem[] {
  const close = CLOSE_S[name];
  if (close === undefined) return [];
  const grace = pod.terminationGracePeriodSeconds ?? DEFAULT_GRACE_S;
  const [container] = pod.containers;
  const preStop = container?.lifecycle?.preStop?.exec?.command.join(' ');
  const problems =
    preStop === `sleep ${PRE_STOP_S}` ? [] : [problem(resource, 'lifecycle.preStop', `has to be sleep ${PRE_STOP_S}`)];
  if (name !== 'querier-worker') {
    const least = PRE_STOP_S + close;
    if (grace >= least) return problems;
    return [...problems, problem(resource, 'terminationGracePeriodSeconds', `is ${grace}, it takes up to ${least}`)];
  }
  const own = Number(container?.env?.find((each) => each.name === 'WORKER_GRACE_MS')?.value) / 1_000;
  const formula = `${PRE_STOP_S} + ${LONGEST_INFERENCE_S} (longest inference) + ${HAND_BACK_S} = ${WORKER_GRACE_S}`;
  return [
    ...problems,
    ...(grace === WORKER_GRACE_S
      ? []
      : [problem(resource, 'terminationGracePeriodSeconds', `is ${grace}: ${formula}`)]),
    ...(own === LONGEST_INFERENCE_S
      ? []
      : [problem(resource, 'WORKER_GRACE_MS', `has to be ${LONGEST_INFERENCE_S * 1_000}, the longest inference`)]),
  ];
}
