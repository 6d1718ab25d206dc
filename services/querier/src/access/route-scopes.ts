/** What a key has to be allowed, route by route. A route that nobody put here asks for everything. */
import { SCOPES, type Scope } from '@studio/shared/contract/client-keys';

/** By method and by the path as Fastify has it. `public` needs no key: it is open, or its path or body carries a secret of its own. */
export const ROUTE_SCOPES: Readonly<Record<string, Scope | 'public'>> = {
  'POST /v1/jobs': 'jobs:write',
  'GET /v1/jobs': 'jobs:read',
  'GET /v1/jobs/:id': 'jobs:read',
  'GET /v1/jobs/:id/result': 'jobs:read',
  'GET /v1/jobs/:id/receipt': 'jobs:read',
  'POST /v1/jobs/:id/cancel': 'jobs:write',
  'GET /v1/webhooks': 'jobs:read',
  'POST /v1/webhooks/:id/replay': 'jobs:write',
  'POST /v1/artifacts': 'files:write',
  // Its link is signed.
  'GET /v1/artifacts/:sha256': 'public',

  'POST /queue/:owner/:alias': 'jobs:write',
  'POST /queue/:owner/:alias/*': 'jobs:write',
  'GET /queue/:owner/:alias/requests/:id/status': 'jobs:read',
  'GET /queue/:owner/:alias/requests/:id/status/stream': 'jobs:read',
  'GET /queue/:owner/:alias/requests/:id': 'jobs:read',
  'GET /queue/:owner/:alias/requests/:id/response': 'jobs:read',
  'PUT /queue/:owner/:alias/requests/:id/cancel': 'jobs:write',
  'POST /run/:owner/:alias': 'jobs:write',
  'POST /run/:owner/:alias/stream': 'jobs:write',
  // Only ever refuses: what it is for has become another path before.
  'POST /fal/proxy': 'public',
  'POST /rest/storage/upload/initiate': 'files:write',
  'POST /rest/storage/upload/initiate-multipart': 'files:write',
  // Random names, one to write and one to read, which only whoever asked for a place was told.
  'PUT /rest/storage/files/upload/:place': 'public',
  'PUT /rest/storage/files/upload/:place/:part': 'public',
  'POST /rest/storage/files/upload/:place/complete': 'public',
  'GET /rest/storage/files/:name': 'public',

  // What signatures are checked with.
  'GET /.well-known/jwks.json': 'public',
  'GET /rest/.well-known/jwks.json': 'public',

  // Miners': each attempt has its secret.
  'POST /miners/callback/:jobId/:attempt': 'public',
  'POST /miners/callback/:jobId/:attempt/progress': 'public',

  // A browser's question before it sends a key.
  'OPTIONS *': 'public',

  'GET /health/live': 'public',
  'GET /health/ready': 'public',
  'GET /metrics': 'public',
};

/** The documentation, with its pictures and scripts. */
const DOCUMENTATION = /^\/docs(\/|-|$)/;

/** Where something may be that needs a key: there a stranger is not told what exists. */
const GUARDED = /^\/(?:v1|queue|run|rest)\//;

/**
 * @param route the path as declared; undefined where no route is.
 * @returns the scopes that a key has to have; undefined where none is needed.
 */
export function scopesOf(method: string, route: string | undefined, url: string): readonly Scope[] | undefined {
  if (route === undefined) return GUARDED.test(url) ? [] : undefined;
  if (DOCUMENTATION.test(route)) return undefined;
  // Fastify answers HEAD wherever it answers GET.
  const declared = ROUTE_SCOPES[`${method === 'HEAD' ? 'GET' : method} ${route}`] ?? SCOPES;
  if (declared === 'public') return undefined;
  return typeof declared === 'string' ? [declared] : declared;
}
