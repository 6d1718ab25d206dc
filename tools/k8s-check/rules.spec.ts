/** Each rule of our own, broken once in what an overlay renders to, in compose.yaml or in the Dockerfile. `k8s:check` itself shows that the overlays keep them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { taskKind } from '@studio/shared/domain/task-kinds';
import type { InferenceInput } from '@studio/shared/domain/job';
import { composeProblems } from './compose';
import { dockerfileProblems } from './dockerfile';
import { overlayNames, renderOverlays, ROOT } from './render';
import { allContainers, titleOf, workloadsOf, type Container, type PodSpec, type Resource } from './resource';
import { problemsOf } from './rules';
import { LONGEST_INFERENCE_S, WORKER_GRACE_S } from './scaling';

let rendered: Map<string, Resource[]>;
beforeAll(async () => void (rendered = await renderOverlays(overlayNames())));

function linesOf(overlay: string, change: (system: System) => void): string[] {
  const resources = structuredClone(rendered.get(overlay) ?? []);
  change(new System(resources));
  return problemsOf(resources, overlay).map(({ resource, field, message }) => `${resource}: ${field}: ${message}`);
}

type Some<T> = [T, ...T[]];

/** What is broken below, of whatever kind it is. */
interface Fields {
  template: { metadata: { labels: Record<string, string> }; spec: PodSpec };
  replicas?: number;
  ttlSecondsAfterFinished?: number;
  selector: object;
  ports: Some<{ targetPort: string }>;
  maxUnavailable: number;
  tls: Some<{ hosts: string[] }>;
  rules: Some<{ http: { paths: Some<{ path: string; pathType: string }> } }>;
  scaleTargetRef: { name: string };
  maxReplicas: number;
  advanced: { horizontalPodAutoscalerConfig: { behavior: { scaleDown: { policies: Some<{ value: number }> } } } };
  triggers: Some<{ metadata: { query: string; targetQueryValue: string } }>;
  groups: Some<{ rules: Some<{ expr: string }> }>;
  podSelector: { matchLabels?: object; matchExpressions?: Some<{ values: string[] }> };
  ingress: Some<{ ports?: Some<{ port: number }> }>;
  egress: Some<{ to: Some<{ ipBlock: { cidr: string; except: string[] } }> }>;
}

class System {
  constructor(readonly resources: Resource[]) {}

  get(title: string): Resource {
    const found = this.resources.find((resource) => titleOf(resource) === title);
    if (!found) throw new Error(`no ${title}`);
    return found;
  }

  /** Of ConfigMaps, whose names end with a hash. */
  settings(name: string): Record<string, string> {
    return this.resources.find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name.startsWith(name))!.data!;
  }

  spec(title: string): Fields {
    return this.get(title).spec as unknown as Fields;
  }

  template(title: string): Fields['template'] {
    return this.spec(title).template;
  }

  pod(title: string): PodSpec {
    return this.template(title).spec;
  }

  main(title: string): Container {
    return this.pod(title).containers[0]!;
  }

  env(title: string, name: string): { name: string; value?: string; valueFrom?: object } {
    return this.main(title).env!.find((each) => each.name === name)!;
  }

  remove(title: string): void {
    this.resources.splice(this.resources.indexOf(this.get(title)), 1);
  }
}

const API = 'Deployment/querier-api';
const WORKER = 'Deployment/querier-worker';

describe('the manifests', () => {
  it.each(overlayNames())('of overlay %s keep every rule', (overlay) => {
    expect(linesOf(overlay, () => undefined)).toEqual([]);
  });

  it.each<[string, (s: System) => void, string]>([
    [
      'another namespace',
      (s) => (s.get(API).metadata.namespace = 'default'),
      `${API}: metadata.namespace: has to be dippy-studio`,
    ],
    [
      'a namespace that is not restricted',
      (s) => (s.get('Namespace/dippy-studio').metadata.labels!['pod-security.kubernetes.io/enforce'] = 'baseline'),
      'enforce: has to be restricted',
    ],
    [
      'a Secret',
      (s) => s.resources.push({ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'x', namespace: 'dippy-studio' } }),
      'Secret/x: kind: a Secret in the manifests is a secret in git',
    ],
    [
      'a Job that stays',
      (s) => delete s.spec('Job/migrate').ttlSecondsAfterFinished,
      'Job/migrate: spec.ttlSecondsAfterFinished',
    ],
    [
      'the same name twice',
      (s) => s.resources.push(structuredClone(s.get(API))),
      `${API}: metadata.name: is there twice`,
    ],
  ])('are refused with %s', (_what, change, line) => {
    expect(linesOf('dev', change)).toContainEqual(expect.stringContaining(line));
  });
});

describe('a pod', () => {
  it.each<[string, (s: System) => void, string]>([
    ['root', (s) => (s.pod(API).securityContext!.runAsNonRoot = false), 'securityContext.runAsNonRoot'],
    ['no number for its user', (s) => delete s.pod(API).securityContext!.runAsUser, 'securityContext.runAsUser'],
    [
      'no seccomp',
      (s) => delete s.pod(API).securityContext!.seccompProfile,
      'seccompProfile.type: has to be RuntimeDefault',
    ],
    [
      'a token of the API server',
      (s) => (s.pod(API).automountServiceAccountToken = true),
      'automountServiceAccountToken',
    ],
    ['variables of Services', (s) => delete s.pod(API).enableServiceLinks, 'enableServiceLinks: has to be false'],
    ['the host’s network', (s) => (s.pod(API).hostNetwork = true), 'hostNetwork: is forbidden'],
    ['a path of the host', (s) => s.pod(API).volumes!.push({ name: 'x', hostPath: {} }), 'volumes: no hostPath'],
    [
      'escalation',
      (s) => (s.main(API).securityContext!.allowPrivilegeEscalation = true),
      'service.securityContext.allowPriv',
    ],
    [
      'a file system to write',
      (s) => delete s.main(API).securityContext!.readOnlyRootFilesystem,
      'readOnlyRootFilesystem',
    ],
    ['capabilities', (s) => (s.main(API).securityContext!.capabilities = {}), 'capabilities.drop: has to be [ALL]'],
    ['an added capability', (s) => (s.main(API).securityContext!.capabilities!.add = ['NET_RAW']), 'capabilities.add'],
    ['no limit', (s) => delete s.main(API).resources!.limits!.cpu, 'service.resources.limits.cpu: is missing'],
    [
      'memory that may not be there',
      (s) => (s.main(API).resources!.limits!.memory = '1Gi'),
      'is 1Gi, the request 512Mi',
    ],
    [
      'a secret in its environment',
      (s) => s.main(API).env!.push({ name: 'URL_SECRET', valueFrom: { secretKeyRef: {} } }),
      'service.URL_SECRET: is a secret in the environment',
    ],
    [
      'a secret that all can read',
      (s) => delete s.pod(API).volumes!.find(({ secret }) => secret)!.secret!.defaultMode,
      'volumes.secrets.defaultMode: is readable by all',
    ],
    [
      'a secret it cannot read',
      (s) => delete s.pod(API).securityContext!.fsGroup,
      'securityContext.fsGroup: is missing',
    ],
    ['the newest image', (s) => (s.main(API).image = 'dippy-studio/querier:latest'), 'is not pinned'],
    ['an image without version', (s) => (s.main(API).image = 'dippy-studio/querier'), 'is not pinned'],
    ['another release', (s) => (s.main(API).image = 'dippy-studio/querier:0.0.9'), 'one release alone'],
  ])('is refused with %s', (_what, change, line) => {
    expect(linesOf('dev', change)).toContainEqual(expect.stringContaining(line));
  });

  it('may be pinned by digest, if all are', () => {
    const digest = `@sha256:${'ab'.repeat(32)}`;
    const pin = (s: System): void =>
      s.resources
        .filter(({ spec }) => spec?.template)
        .flatMap((resource) => allContainers(workloadsOf([resource])[0]!))
        .filter(({ image }) => image?.includes('dippy-studio/'))
        .forEach((container) => (container.image = container.image.replace(/:.*/, digest)));
    expect(linesOf('dev', pin)).toEqual([]);
  });
});

describe('wiring', () => {
  it.each<[string, (s: System) => void, string]>([
    [
      'a Deployment that does not select its pods',
      (s) => (s.template(API).metadata.labels = {}),
      `${API}: spec.selector`,
    ],
    [
      'a Service that selects nobody',
      (s) => (s.spec('Service/auditor').selector = { a: 'b' }),
      'Service/auditor: spec.selector',
    ],
    [
      'a Service on a port that is none',
      (s) => (s.spec('Service/registry-admin').ports[0].targetPort = 'amin'),
      'Service/registry-admin: spec.ports: amin is no port of registry',
    ],
    [
      'a probe on a port that is none',
      (s) => (s.main(API).readinessProbe!.httpGet!.port = 9),
      'asks port 9, which service has not',
    ],
    ['a missing probe', (s) => delete s.main(API).livenessProbe, 'service.livenessProbe: is missing'],
    ['a volume that is not there', (s) => s.pod(API).volumes!.pop(), 'there is no volume'],
    ['pods on one node', (s) => s.pod(API).topologySpreadConstraints!.pop(), 'over kubernetes.io/hostname: add it'],
    [
      'pods in one zone',
      (s) => s.pod(API).topologySpreadConstraints!.shift(),
      'over topology.kubernetes.io/zone: add it',
    ],
    ['a budget for others', (s) => (s.spec('PodDisruptionBudget/auditor').selector = {}), 'workloads, not one'],
    [
      'a budget of two',
      (s) => (s.spec('PodDisruptionBudget/auditor').maxUnavailable = 2),
      'spec.maxUnavailable: has to be 1',
    ],
    ['no budget', (s) => s.remove('PodDisruptionBudget/registry'), 'no PodDisruptionBudget covers'],
    [
      'no ConfigMap',
      (s) => (s.main(API).envFrom![0]!.configMapRef!.name = 'x'),
      `${API}: spec.template: there is no ConfigMap/x`,
    ],
    [
      'more than a laptop has',
      (s) => (s.main(API).resources!.requests!.cpu = '1'),
      `${API}: resources.requests.cpu: asks for most of 2.15 CPUs`,
    ],
    ['no claim', (s) => s.remove('PersistentVolumeClaim/artifacts'), 'there is no PersistentVolumeClaim/artifacts'],
    [
      'no account',
      (s) => s.remove('ServiceAccount/migrate'),
      'Job/migrate: spec.template: there is no ServiceAccount/migrate',
    ],
  ])('is refused with %s', (_what, change, line) => {
    expect(linesOf('dev', change)).toContainEqual(expect.stringContaining(line));
  });

  it.each<[string, (s: System) => void, string]>([
    ['without a certificate', (s) => s.spec('Ingress/dippy-studio').tls[0].hosts.pop(), 'has no certificate'],
    [
      'that keeps callbacks out',
      (s) => s.spec('Ingress/dippy-studio').rules[0].http.paths.splice(5, 1),
      'nobody outside reaches /miners of querier-api: add the path',
    ],
    [
      'with a dot where the controller takes none',
      (s) => s.spec('Ingress/dippy-studio').rules[0].http.paths.forEach((each) => (each.pathType = 'Prefix')),
      'ingress-nginx refuses /.well-known as Prefix',
    ],
    ['that leads nowhere', (s) => s.remove('Service/registry'), 'there is no Service registry with a port http'],
  ])('refuses an ingress %s', (_what, change, line) => {
    expect(linesOf('production', change)).toContainEqual(expect.stringContaining(line));
  });
});

describe('scaling and ending', () => {
  it('gives a worker 5 s, the longest inference and 15 s', () => {
    const four = { numImages: 4 } as InferenceInput;
    const longest = Math.max(
      ...(['ref-sep-v1', 'flux'] as const).map((engine) => taskKind('lora-inference', engine).timeoutMs(four)),
    );
    expect(LONGEST_INFERENCE_S * 1_000).toBe(longest);
    expect(WORKER_GRACE_S).toBe(5 + 60 + 15);
  });

  it.each<[string, string, (s: System) => void, string]>([
    [
      'another grace',
      'dev',
      (s) => (s.pod(WORKER).terminationGracePeriodSeconds = 79),
      'is 79: 5 + 60 (longest inference) + 15 = 80',
    ],
    [
      'another WORKER_GRACE_MS',
      'dev',
      (s) => (s.env(WORKER, 'WORKER_GRACE_MS').value = '8000'),
      'WORKER_GRACE_MS: has to be 60000',
    ],
    [
      'an api that is cut off',
      'dev',
      (s) => (s.pod(API).terminationGracePeriodSeconds = 20),
      'is 20, it takes up to 25',
    ],
    ['no preStop', 'dev', (s) => delete s.main(API).lifecycle, 'lifecycle.preStop: has to be sleep 5'],
    [
      'a target that is not there',
      'dev',
      (s) => (s.spec('HorizontalPodAutoscaler/querier-worker').scaleTargetRef.name = 'x'),
      'there is no Deployment/x',
    ],
    [
      'replicas beside an autoscaler',
      'dev',
      (s) => (s.spec(WORKER).replicas = 2),
      'spec.replicas: is set beside an autoscaler',
    ],
    [
      'more pods',
      'dev',
      (s) => (s.spec('HorizontalPodAutoscaler/querier-worker').maxReplicas = 30),
      'goes from 2 to 30 pods',
    ],
    [
      'a hasty way down',
      'keda',
      (s) =>
        (s.spec(
          'ScaledObject/querier-worker',
        ).advanced.horizontalPodAutoscalerConfig.behavior.scaleDown.policies[0].value = 2),
      'has to take away one pod in 60 s',
    ],
    [
      'an alert that cannot say whom it means',
      'monitoring',
      (s) => (s.spec('PrometheusRule/dippy-studio').groups[0].rules[0].expr = 'absent(up{job="auditor"} == 1)'),
      'PrometheusRule/dippy-studio: StudioDown: names $labels.job, which its expr does not make',
    ],
    [
      'two autoscalers',
      'keda',
      (s) =>
        s.resources.push(
          ...structuredClone(rendered.get('dev')!.filter(({ kind }) => kind === 'HorizontalPodAutoscaler')),
        ),
      'querier-worker has 2 autoscalers',
    ],
    [
      'another question',
      'keda',
      (s) => (s.spec('ScaledObject/querier-worker').triggers[0].metadata.query = 'SELECT 1'),
      'is not WORKER_DEMAND_SQL of the querier',
    ],
    [
      'another aim',
      'keda',
      (s) => (s.spec('ScaledObject/querier-worker').triggers[0].metadata.targetQueryValue = '64'),
      'targetQueryValue: has to be 44.8',
    ],
    [
      'no login',
      'keda',
      (s) => s.remove('TriggerAuthentication/querier-worker'),
      'there is no TriggerAuthentication/querier-worker',
    ],
    [
      'another concurrency',
      'prometheus-adapter',
      (s) => (s.env(WORKER, 'WORKER_CONCURRENCY').value = '32'),
      'has to be 22.4',
    ],
  ])('is refused with %s', (_what, overlay, change, line) => {
    expect(linesOf(overlay, change)).toContainEqual(expect.stringContaining(line));
  });
});

describe('the network', () => {
  it.each<[string, string, (s: System) => void, string]>([
    ['nothing denied', 'dev', (s) => s.remove('NetworkPolicy/default-deny'), 'nothing denies what is not allowed'],
    [
      'an edge too many',
      'dev',
      (s) => s.spec('NetworkPolicy/to-redis').podSelector.matchExpressions![0].values.push('auditor'),
      'allows auditor → redis:6379',
    ],
    [
      'a port too many',
      'dev',
      (s) => s.spec('NetworkPolicy/redis').ingress[0].ports!.push({ port: 22 }),
      'allows querier-api → redis:22',
    ],
    ['everybody let in', 'dev', (s) => (s.spec('NetworkPolicy/nats').ingress = [{}]), 'allows everybody → nats:any'],
    [
      'an edge that does not leave',
      'dev',
      (s) => s.remove('NetworkPolicy/to-nats'),
      'auditor → nats:4222: may not leave',
    ],
    [
      'an edge that does not arrive',
      'dev',
      (s) => s.remove('NetworkPolicy/postgres'),
      'migrate → postgres:5432: may not arrive',
    ],
    [
      'a private network open',
      'dev',
      (s) => s.spec('NetworkPolicy/strangers').egress[0].to[0].ipBlock.except.splice(0, 1),
      'reaches 10.0.0.0/8',
    ],
    [
      'another block',
      'production',
      (s) => (s.spec('NetworkPolicy/to-artifacts').egress[0].to[0].ipBlock.cidr = '8.0.0.0/8'),
      'ipBlock.cidr: 8.0.0.0/8',
    ],
    [
      'a policy for nobody',
      'dev',
      (s) => (s.spec('NetworkPolicy/validator').podSelector = { matchLabels: { a: 'b' } }),
      'matches no pod',
    ],
  ])('is refused with %s', (_what, overlay, change, line) => {
    expect(linesOf(overlay, change)).toContainEqual(expect.stringContaining(line));
  });
});

describe('the environment', () => {
  it.each<[string, string, (s: System) => void, string]>([
    [
      'a variable nobody reads',
      'dev',
      (s) => s.main(API).env!.push({ name: 'URL_TTL', value: '60' }),
      'service.env.URL_TTL: is not read',
    ],
    [
      'one that is missing',
      'dev',
      (s) => delete s.settings('registry-settings').NATS_URL,
      'NATS_URL is not set: expected a URL',
    ],
    [
      'one that is wrong',
      'dev',
      (s) => (s.settings('querier-settings').PUBLIC_URL = 'querier-api'),
      'PUBLIC_URL is "querier-api"',
    ],
    [
      'one that another needs',
      'dev',
      (s) => s.main('Deployment/registry').env!.splice(0, 99),
      'SCORES_NATS_CREDS is not set',
    ],
    [
      'a protection off in production',
      'dev',
      (s) => (s.settings('querier-settings').NODE_ENV = 'production'),
      'ALLOW_PRIVATE_EGRESS is "true"',
    ],
    [
      'everybody a miner in production',
      'production',
      (s) => (s.settings('registry-settings').METAGRAPH = 'none'),
      'METAGRAPH is "none"',
    ],
    [
      'a secret that is not mounted',
      'dev',
      (s) => (s.env(API, 'URL_SECRET_FILE').value = '/run/x'),
      '/run/x lies in no volume',
    ],
    [
      'a miner without its key',
      'dev',
      (s) => (s.env('StatefulSet/miner', 'MINER_PORT').value = 'http'),
      'MINER_PORT (is "http")',
    ],
    [
      'a program that nobody knows',
      'dev',
      (s) => (s.main(API).command = ['node', 'x.js']),
      'starts "node x.js", of which programs.ts',
    ],
  ])('is refused with %s', (_what, overlay, change, line) => {
    expect(linesOf(overlay, change)).toContainEqual(expect.stringContaining(line));
  });
});

describe('the Dockerfile', () => {
  const stage = (name: string, script: string): string => `FROM runtime AS ${name}\nCMD ["node", ${script}]\n`;

  it('starts in each target what the manifests take it to start', () => {
    expect(dockerfileProblems()).toEqual([]);
    const wrong = stage('querier', '"services/auditor/dist/main.js"');
    expect(dockerfileProblems(wrong)).toContain(
      'Dockerfile: target querier: has to end with CMD node services/querier/dist/main.js',
    );
  });

  it('copies the package.json of every workspace, without which npm ci refuses the lock file', () => {
    const line = 'Dockerfile: npm ci needs every workspace: COPY clients/miner/package.json clients/miner/';
    expect(dockerfileProblems('FROM node:24 AS base\n')).toContain(line);
  });

  it('has a name for each stage and a number for its user', () => {
    const lines = dockerfileProblems('FROM node:24\nUSER node\n');
    expect(lines).toContain('Dockerfile: FROM node:24: give every stage a name');
    expect(lines).toContainEqual(expect.stringContaining('USER: has to be a number'));
  });
});

describe('compose.yaml', () => {
  const text = readFileSync(join(ROOT, 'compose.yaml'), 'utf8');

  it('keeps every rule', () => {
    expect(composeProblems(text)).toEqual([]);
  });

  it.each<[string, string, string, string]>([
    ['a variable nobody reads', 'POLICY: demo', 'POLICIES: demo', 'registry: env.POLICIES: is not read'],
    ['one that is missing', 'URL_SECRET_FILE:', '#', 'querier-api: env: URL_SECRET is not set'],
    ['one that is wrong', "HTTP_PORT: '8080'", 'HTTP_PORT: http', 'querier-api: env: HTTP_PORT is "http"'],
    [
      'a host that is none',
      '//registry:8080',
      '//ledger:8080',
      'miner-0: env.REGISTRY_URL: there is no service ledger',
    ],
    ['a secret that nobody makes', 'querier-secrets/url-secret', 'x/url', 'URL_SECRET_FILE: no secret /secrets/dev/x'],
    ['secrets that are not mounted', 'target: /secrets', 'target: /keys', 'lies in no volume'],
    ['a program that is not there', '/cluster-demo.js', '/demo.js', 'demo: command: starts'],
    ['another target', 'target: auditor', 'target: registry', 'auditor: build.target: is registry'],
    ['an image that nobody builds', 'build: { context: ., target: auditor }', '', 'no service builds it'],
    ['an image from elsewhere', 'pull_policy: never', '', 'keys: pull_policy: has to be never'],
    ['two releases', 'studio/auditor:0.1.0', 'studio/auditor:0.0.9', '0.0.9: one release alone'],
  ])('is refused with %s', (_what, right, wrong, line) => {
    expect(text).toContain(right);
    expect(composeProblems(text.replace(right, wrong))).toContainEqual(expect.stringContaining(line));
  });
});
