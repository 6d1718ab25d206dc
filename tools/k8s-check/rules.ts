import { alertRules } from './alerts';
import { EDGES } from './edges';
import { environmentRules } from './environment';
import { namespaceRules } from './namespace';
import { networkRules } from './network';
import { podRules, releaseRule } from './pods';
import type { Problem, Resource } from './resource';
import { roomRule } from './room';
import { routeProblems } from './routes';
import { scalingRules } from './scaling';
import { wiringRules } from './wiring';

/** All rules of our own over what one overlay renders to. */
export function problemsOf(resources: readonly Resource[], overlay: string): Problem[] {
  return [
    ...namespaceRules(resources),
    ...podRules(resources),
    ...releaseRule(resources),
    ...wiringRules(resources),
    ...routeProblems(resources),
    ...scalingRules(resources),
    ...alertRules(resources),
    ...roomRule(resources, overlay),
    ...networkRules(resources, EDGES[overlay] ?? []),
    ...environmentRules(resources),
  ];
}
