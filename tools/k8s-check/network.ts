/** What all NetworkPolicies allow together, held against the list of edges.ts. */
import { NOT_GLOBAL_V4, NOT_GLOBAL_V6 } from '@studio/shared/platform/egress-addresses';
import {
  matches,
  ofKind,
  problem,
  workloadsOf,
  type Labels,
  type Problem,
  type Resource,
  type Selector,
  type Workload,
} from './resource';

interface Peer {
  podSelector?: Selector;
  namespaceSelector?: { matchLabels?: Labels };
  ipBlock?: { cidr: string; except?: string[] };
}

interface PolicySpec {
  podSelector: Selector;
  policyTypes?: string[];
  ingress?: { from?: Peer[]; ports?: Port[] }[];
  egress?: { to?: Peer[]; ports?: Port[] }[];
}

interface Port {
  protocol?: string;
  port?: number | string;
  endPort?: number;
}

const NAME = 'app.kubernetes.io/name';
const DNS_NAMESPACE = 'kube-system';
/** Whole address spaces, without the networks that the program itself refuses. */
const PUBLIC: Record<string, readonly string[]> = { '0.0.0.0/0': NOT_GLOBAL_V4, '2000::/3': NOT_GLOBAL_V6 };

export function networkRules(resources: readonly Resource[], expected: readonly string[]): Problem[] {
  const policies = ofKind(resources, 'NetworkPolicy');
  const workloads = workloadsOf(resources);
  const [out, into] = [allowed(policies, workloads, 'Egress'), allowed(policies, workloads, 'Ingress')];
  const ours = new Set(workloads.map(({ labels }) => labels[NAME]));
  return [
    ...defaultDeny(resources, policies),
    ...policies.flatMap((policy) => [...blockProblems(policy), ...deadSelectors(policy, workloads)]),
    ...compare(out, into, expected, ours),
  ];
}

function defaultDeny(resources: readonly Resource[], policies: readonly Resource[]): Problem[] {
  const found = policies
    .map(specOf)
    .some(
      ({ podSelector, policyTypes = [], ingress = [], egress = [] }) =>
        Object.keys(podSelector).length === 0 && policyTypes.length === 2 && ingress.length + egress.length === 0,
    );
  const [namespace = resources[0]] = ofKind(resources, 'Namespace');
  if (found || !namespace) return [];
  return [
    problem(namespace, 'NetworkPolicy', 'nothing denies what is not allowed: add a policy for all pods without rules'),
  ];
}

const specOf = (policy: Resource): PolicySpec => policy.spec as unknown as PolicySpec;

/** Edges of one direction, each with the policy that opens it. */
function allowed(
  policies: readonly Resource[],
  workloads: readonly Workload[],
  direction: 'Egress' | 'Ingress',
): Map<string, Resource> {
  const found = new Map<string, Resource>();
  for (const policy of policies) {
    const { podSelector, ingress = [], egress = [] } = specOf(policy);
    const chosen = namesOf(workloads.filter(({ labels }) => matches(podSelector, labels)));
    const rules =
      direction === 'Egress'
        ? egress.map(({ to = [{}], ports = [{}] }) => ({ peers: to, ports }))
        : ingress.map(({ from = [{}], ports = [{}] }) => ({ peers: from, ports }));
    for (const { peers, ports } of rules) {
      const others = peers.flatMap((peer) => peerNames(peer, workloads));
      for (const one of chosen)
        for (const other of others)
          for (const port of ports) {
            const [from, to] = direction === 'Egress' ? [one, other] : [other, one];
            found.set(`${from} → ${to}:${portName(port)}`, policy);
          }
    }
  }
  return found;
}

const namesOf = (workloads: readonly Workload[]): string[] => [
  ...new Set(workloads.map(({ labels }) => labels[NAME] ?? 'a pod without a name')),
];

function peerNames({ podSelector, namespaceSelector, ipBlock }: Peer, workloads: readonly Workload[]): string[] {
  if (ipBlock) return ['internet'];
  if (namespaceSelector) return [`namespace:${namespaceSelector.matchLabels?.['kubernetes.io/metadata.name'] ?? '*'}`];
  if (podSelector) return namesOf(workloads.filter(({ labels }) => matches(podSelector, labels)));
  return ['everybody'];
}

const portName = ({ port = 'any', endPort }: Port): string => (endPort ? `${port}-${endPort}` : String(port));

function compare(
  out: ReadonlyMap<string, Resource>,
  into: ReadonlyMap<string, Resource>,
  expected: readonly string[],
  ours: ReadonlySet<string | undefined>,
): Problem[] {
  const wanted = new Set(expected);
  const isOurs = (name: string | undefined): boolean => ours.has(name);
  const known = [...new Set([...out.keys(), ...into.keys(), ...wanted])].filter((edge) => !isDns(edge));
  return known.flatMap((edge) => {
    const [from, to = ''] = edge.split(' → ');
    const [sent, taken] = [out.get(edge), into.get(edge)];
    const policy = sent ?? taken;
    if (!wanted.has(edge) && policy) {
      return [problem(policy, 'spec', `allows ${edge}, which is no edge of the architecture: remove it`)];
    }
    const missing = [
      ...(isOurs(from) && !sent ? ['leave'] : []),
      ...(isOurs(to.replace(/:[^:]*$/, '')) && !taken ? ['arrive'] : []),
    ];
    return missing.map((what) => ({
      resource: 'NetworkPolicy',
      field: edge,
      message: `may not ${what}: add the policy (edges.ts has this edge)`,
    }));
  });
}

const isDns = (edge: string): boolean => edge.endsWith(`→ namespace:${DNS_NAMESPACE}:53`);

/** A wide block has to leave out everything that the program refuses. */
function blockProblems(policy: Resource): Problem[] {
  const { egress = [], ingress = [] } = specOf(policy);
  const blocks = [...egress.flatMap(({ to = [] }) => to), ...ingress.flatMap(({ from = [] }) => from)].flatMap(
    ({ ipBlock }) => ipBlock ?? [],
  );
  return blocks.flatMap(({ cidr, except = [] }) => {
    const refused = PUBLIC[cidr];
    if (!refused) return [problem(policy, 'ipBlock.cidr', `${cidr}: write 0.0.0.0/0 or 2000::/3 with its exceptions`)];
    const open = refused.filter((network) => !except.includes(network));
    return open.map((network) => problem(policy, `ipBlock ${cidr}`, `reaches ${network}: add it to except`));
  });
}

/** A policy for pods that nobody runs is a mistyped one. */
function deadSelectors(policy: Resource, workloads: readonly Workload[]): Problem[] {
  const { podSelector } = specOf(policy);
  if (workloads.some(({ labels }) => matches(podSelector, labels))) return [];
  return [problem(policy, 'spec.podSelector', 'matches no pod: correct it')];
}
