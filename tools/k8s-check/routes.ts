/** What strangers may ask of a service has to be behind the ingress: read from the controllers' own decorators. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ofKind, problem, type Problem, type Resource } from './resource';
import { ROOT } from './render';

const SOURCES: Record<string, string> = { 'querier-api': 'services/querier/src', registry: 'services/registry/src' };

/** First parts of a service's routes, operators' left out. */
export function firstParts(source: string): string[] {
  const [, ...classes] = source.split(/(?=^@Controller\()/m);
  const parts = classes.flatMap((each) => {
    const [, prefix = ''] = /^@Controller\('?([^')]*)'?\)/.exec(each) ?? [];
    return routesIn(each).map((route) => `${prefix}/${route}`.replace(/^\/+/, '').split('/')[0] ?? '');
  });
  return [...new Set(parts)].filter((part) => part !== 'admin');
}

/** `@Get()`, `@Get('a')`, `@Get(['a', 'b'])`. */
function routesIn(source: string): string[] {
  const lists = [...source.matchAll(/@(?:Get|Post|Put|Delete|All)\(([^)]*)\)/g)].map(([, list = '']) => list);
  return lists.flatMap((list) =>
    [...list.matchAll(/'([^']*)'/g)].map(([, route = '']) => route).concat(list ? [] : ['']),
  );
}

const controllers = (folder: string): string[] =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.controller.ts'))
    .map((file) => join(ROOT, folder, file));

interface Path {
  path: string;
  pathType: string;
  backend: { service: { name: string } };
}

export const routeProblems = (resources: readonly Resource[]): Problem[] => [
  ...pathTypeProblems(resources),
  ...missingRoutes(resources),
];

const pathsOf = (ingress: Resource): Path[] =>
  ((ingress.spec?.rules ?? []) as { http: { paths: Path[] } }[]).flatMap(({ http }) => http.paths);

/** All that ingress-nginx (1.12 and newer, strict-validate-path-type) admits in a path of type Prefix or Exact. */
const STRICT_PATH = /^\/[\w/-]*$/;

function pathTypeProblems(resources: readonly Resource[]): Problem[] {
  return ofKind(resources, 'Ingress').flatMap((ingress) =>
    pathsOf(ingress)
      .filter(({ path, pathType }) => pathType !== 'ImplementationSpecific' && !STRICT_PATH.test(path))
      .map(({ path, pathType }) =>
        problem(
          ingress,
          'spec.rules',
          `ingress-nginx refuses ${path} as ${pathType}, which may hold letters, digits, / _ - alone: ` +
            'use pathType ImplementationSpecific',
        ),
      ),
  );
}

function missingRoutes(resources: readonly Resource[]): Problem[] {
  return ofKind(resources, 'Ingress').flatMap((ingress) => {
    const open = new Set(pathsOf(ingress).map(({ path, backend }) => `${backend.service.name} ${path.split('/')[1]}`));
    return Object.entries(SOURCES).flatMap(([service, folder]) =>
      controllers(folder)
        .flatMap((file) => firstParts(readFileSync(file, 'utf8')))
        .filter((part) => !open.has(`${service} ${part}`))
        .map((part) => problem(ingress, 'spec.rules', `nobody outside reaches /${part} of ${service}: add the path`)),
    );
  });
}
