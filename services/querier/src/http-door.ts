/** The HTTP server under Nest: which bodies are read, how large they may be, and who may send one at all. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { ClientAccess } from './access/client-access';
import { scopesOf } from './access/route-scopes';
import { MAX_IMAGE_UPLOAD, MAX_LORA_UPLOAD } from './uploads';

declare module 'fastify' {
  interface FastifyRequest {
    /** Owner of the API key; empty on routes without one. */
    clientId: string;
  }
}

/** A photograph inside JSON: 15 MiB of base64 (contract/submit-job.ts) and the fields around it. */
export const JSON_LIMIT = 16 * 1024 * 1024;

/** Pieces of 10 MiB are what fal's client sends. */
const MAX_PART = 16 * 1024 * 1024;
const UPLOAD_PLACE = '/rest/storage/files/upload/';

function unknownType({ headers }: FastifyRequest): Error {
  const message = `content-type ${headers['content-type'] ?? '(none)'} is not read here: send application/json, or a file with its type`;
  return Object.assign(new Error(message), { statusCode: 415 });
}

export function prepareServer(server: FastifyInstance, access?: Pick<ClientAccess, 'admit'>): void {
  server.decorateRequest('clientId', '');
  const parseJson = server.getDefaultJsonParser('error', 'error');
  server.removeContentTypeParser('application/json');
  server.addContentTypeParser('application/json', { parseAs: 'string', bodyLimit: JSON_LIMIT }, (request, body, done) =>
    // Some clients declare JSON on a POST without a body.
    body.length === 0 ? done(null, undefined) : parseJson(request, body as string, done),
  );
  const raw = (_request: FastifyRequest, body: Buffer, done: (error: null, body: Buffer) => void): void =>
    done(null, body);
  const photographs = [/^image\//, /^application\/(?:x-)?zip/];
  for (const type of photographs)
    server.addContentTypeParser(type, { parseAs: 'buffer', bodyLimit: MAX_IMAGE_UPLOAD }, raw);
  server.addContentTypeParser('application/octet-stream', { parseAs: 'buffer', bodyLimit: MAX_LORA_UPLOAD }, raw);
  // Read by the handler, after it has compared the secret: a result, and what a Dippy miner sends where it has no image.
  const forms = ['multipart/form-data', 'application/x-www-form-urlencoded'];
  server.addContentTypeParser(forms, (_request, payload, done) => done(null, payload));
  server.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: MAX_PART }, (request, body, done) =>
    // fal's client declares no type for the pieces of a file, and any for a whole one.
    request.url.startsWith(UPLOAD_PLACE) ? done(null, body) : done(unknownType(request)),
  );
  server.addHook('onSend', async (_request, reply) => void reply.header('x-content-type-options', 'nosniff'));
  // After the answer to a browser's preflight, which carries no key; before the body, which a stranger may not even send.
  if (access) server.addHook('preParsing', (request) => admit(request, access));
}

/** Before the body is read: a stranger's 64 MiB are not even received. */
async function admit(request: FastifyRequest, access: Pick<ClientAccess, 'admit'>): Promise<void> {
  const scopes = scopesOf(request.method, request.routeOptions.url, request.url);
  if (scopes) request.clientId = await access.admit(request.headers.authorization, scopes);
}
