/** Alerts whose text names a label have to have it: Prometheus writes nothing in its place. */
import { ofKind, problem, type Problem, type Resource } from './resource';

interface Alert {
  alert: string;
  expr: string;
  annotations?: Record<string, string>;
}

export function alertRules(resources: readonly Resource[]): Problem[] {
  return ofKind(resources, 'PrometheusRule').flatMap((resource) => {
    const groups = (resource.spec?.groups ?? []) as { rules: Alert[] }[];
    return groups
      .flatMap(({ rules }) => rules)
      .flatMap((alert) =>
        labelsNamed(alert)
          .filter((label) => !makes(alert.expr, label))
          .map((label) => problem(resource, alert.alert, `names $labels.${label}, which its expr does not make`)),
      );
  });
}

const labelsNamed = ({ annotations = {} }: Alert): string[] => [
  ...new Set(
    Object.values(annotations).flatMap((text) => [...text.matchAll(/\$labels\.(\w+)/g)].map(([, name = '']) => name)),
  ),
];

/** By its grouping, or by label_replace; a selector alone does not say what is left after absent() or a sum. */
const makes = (expr: string, label: string): boolean =>
  new RegExp(`\\bby \\([^)]*\\b${label}\\b`).test(expr) || expr.includes(`"${label}"`);
