import 'reflect-metadata';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { createLogger } from '@studio/shared/platform/logger';
import { createMetrics } from '@studio/shared/platform/metrics';
import type { Api, Parts } from '../assembly';
import { QuerierEnv } from '../env';
import { createApp } from '../querier.module';
import { ROUTE_SCOPES, scopesOf } from './route-scopes';

/** Every route of the api, as Fastify knows it: the controllers', the platform's, the documentation's. */
async function registeredRoutes(): Promise<string[]> {
  const routes: string[] = [];
  const adapter = new FastifyAdapter();
  adapter.getInstance().addHook('onRoute', ({ method, url }) => {
    for (const verb of [method].flat()) routes.push(`${verb} ${url}`);
  });
  const log = createLogger({ name: 'test', level: 'silent', format: 'line' });
  // Routes are registered, none is called.
  const parts = { log, metrics: createMetrics('test'), health: {} } as unknown as Parts;
  const app = await createApp(
    Object.assign(new QuerierEnv(), { PUBLIC_URL: 'http://studio.test' }),
    parts,
    anything(),
    adapter,
  );
  await app.init();
  await app.close();
  return routes.filter((route) => !route.startsWith('HEAD '));
}

function anything(): Api {
  return new Proxy({}, { get: () => ({}) }) as Api;
}

const isDocumentation = (route: string): boolean => /^GET \/docs/.test(route);

it('says of every route of the api what a key has to be allowed, and of no other', async () => {
  const routes = (await registeredRoutes()).filter((route) => !isDocumentation(route));
  expect([...new Set(routes)].sort()).toEqual(Object.keys(ROUTE_SCOPES).sort());
});

it('is public where the path or the body carries a secret, and where there is nothing to tell', () => {
  const open = Object.entries(ROUTE_SCOPES).flatMap(([route, scope]) => (scope === 'public' ? [route] : []));
  expect(open).toEqual([
    'GET /v1/artifacts/:sha256',
    'POST /fal/proxy',
    'PUT /rest/storage/files/upload/:place',
    'PUT /rest/storage/files/upload/:place/:part',
    'POST /rest/storage/files/upload/:place/complete',
    'GET /rest/storage/files/:name',
    'GET /.well-known/jwks.json',
    'GET /rest/.well-known/jwks.json',
    'POST /miners/callback/:jobId/:attempt',
    'POST /miners/callback/:jobId/:attempt/progress',
    'OPTIONS *',
    'GET /health/live',
    'GET /health/ready',
    'GET /metrics',
  ]);
});

it('asks for everything on a route that nobody declared', () => {
  expect(scopesOf('GET', '/v1/new', '/v1/new')).toEqual(['jobs:read', 'jobs:write', 'files:write']);
  expect(scopesOf('POST', '/docsxyz', '/docsxyz')).toHaveLength(3);
});

it('asks for a key wherever a stranger could learn what exists', () => {
  expect(scopesOf('GET', undefined, '/v1/nothing')).toEqual([]);
  expect(scopesOf('GET', undefined, '/favicon.ico')).toBeUndefined();
});

it('treats HEAD as GET', () => {
  expect(scopesOf('HEAD', '/v1/jobs/:id', '/v1/jobs/1')).toEqual(['jobs:read']);
  expect(scopesOf('HEAD', '/v1/artifacts/:sha256', '/v1/artifacts/1')).toBeUndefined();
});
