/** Fields, as far as we use them, of kinds that KEDA and the Prometheus operator define. `?` behind a name: may be left out. */

export type FieldType = 'string' | 'number' | 'boolean' | 'any' | [FieldType] | { [field: string]: FieldType };

const head: Record<string, FieldType> = {
  apiVersion: 'string',
  kind: 'string',
  metadata: { name: 'string', 'namespace?': 'string', 'labels?': 'any', 'annotations?': 'any' },
};

export const CUSTOM_KINDS: Record<string, FieldType> = {
  'keda.sh/v1alpha1 ScaledObject': {
    ...head,
    spec: {
      scaleTargetRef: { name: 'string', 'kind?': 'string', 'apiVersion?': 'string' },
      'pollingInterval?': 'number',
      'cooldownPeriod?': 'number',
      'minReplicaCount?': 'number',
      'maxReplicaCount?': 'number',
      'advanced?': { 'horizontalPodAutoscalerConfig?': { 'name?': 'string', 'behavior?': 'any' } },
      triggers: [
        {
          type: 'string',
          'metricType?': 'string',
          // KEDA takes strings alone here.
          metadata: { query: 'string', targetQueryValue: 'string', 'activationTargetQueryValue?': 'string' },
          'authenticationRef?': { name: 'string' },
        },
      ],
    },
  },
  'keda.sh/v1alpha1 TriggerAuthentication': {
    ...head,
    spec: { secretTargetRef: [{ parameter: 'string', name: 'string', key: 'string' }] },
  },
  'monitoring.coreos.com/v1 ServiceMonitor': {
    ...head,
    spec: {
      selector: 'any',
      'namespaceSelector?': 'any',
      endpoints: [{ port: 'string', 'path?': 'string', 'interval?': 'string', 'scrapeTimeout?': 'string' }],
    },
  },
  'monitoring.coreos.com/v1 PrometheusRule': {
    ...head,
    spec: {
      groups: [
        {
          name: 'string',
          rules: [{ alert: 'string', expr: 'string', 'for?': 'string', 'labels?': 'any', 'annotations?': 'any' }],
        },
      ],
    },
  },
};
