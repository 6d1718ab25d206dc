/** The namespace, and what lives in it. */
import { ofKind, problem, type Problem, type Resource } from './resource';

const LABELS = ['enforce', 'audit', 'warn'].map((mode) => `pod-security.kubernetes.io/${mode}`);
const CLUSTER_WIDE = ['Namespace'];

export function namespaceRules(resources: readonly Resource[]): Problem[] {
  const namespaces = ofKind(resources, 'Namespace');
  const names = namespaces.map(({ metadata }) => metadata.name);
  return [
    ...namespaces.flatMap((namespace) =>
      LABELS.filter((label) => namespace.metadata.labels?.[label] !== 'restricted').map((label) =>
        problem(namespace, `metadata.labels.${label}`, 'has to be restricted'),
      ),
    ),
    ...resources
      .filter(({ kind, metadata }) => !CLUSTER_WIDE.includes(kind) && !names.includes(metadata.namespace ?? ''))
      .map((resource) =>
        problem(resource, 'metadata.namespace', `has to be ${names.join(', ') || 'a namespace that is made'}`),
      ),
    ...ofKind(resources, 'Secret').map((secret) =>
      problem(secret, 'kind', 'a Secret in the manifests is a secret in git: leave it to npm run k8s:secrets'),
    ),
    ...ofKind(resources, 'Job')
      .filter(({ spec }) => spec?.ttlSecondsAfterFinished === undefined)
      .map((job) =>
        problem(job, 'spec.ttlSecondsAfterFinished', 'is missing: a Job that stays cannot be applied again'),
      ),
  ];
}
