import type { MinerAcceptance } from '@studio/shared/contract/miner-job';
import type { MinerOffer } from '@studio/shared/contract/miners';
import type { FieldProblem } from '@studio/shared/domain/errors';
import type { Hotkey } from '@studio/shared/protocol/hotkey';
import { signReply } from '@studio/shared/protocol/signatures';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { CallerCheck } from './caller-check';
import type { ReplyMode } from './env';
import type { JobBook } from './job-book';
import type { JobDesk, RunningAttempt } from './job-desk';
import { attemptKey, readJobRequest } from './job-request';
import type { MinerMetrics } from './metrics';
import type { ResultForm } from './result-form';
import { type StatusParts, capacity, health } from './server-status';

export interface ServerParts extends StatusParts {
  hotkey: Hotkey;
  offers: readonly MinerOffer[];
  reply: ReplyMode;
  desk: JobDesk;
  book: JobBook;
  callers: CallerCheck;
  metrics: MinerMetrics;
  /** Whether `/metrics` is served beside the jobs; otherwise it has a port of its own. */
  publicMetrics: boolean;
}

/** The orchestrator's limit for JSON (security.md). */
const MAX_BODY_BYTES = 256 * 1024;
/** Longer than the 4 s after which the usual client forgets an idle connection: it never sends into a closed one. */
const KEEP_ALIVE_MS = 72_000;
const CALLER = Symbol('caller');

type Signed = { nonce: string; hotkey: string };
type WithCaller = FastifyRequest & { [CALLER]?: Signed };

/** The native miner contract over HTTP. It decides nothing itself: the desk does. */
export function createServer(parts: ServerParts): FastifyInstance {
  const server = Fastify({
    bodyLimit: MAX_BODY_BYTES,
    keepAliveTimeout: KEEP_ALIVE_MS,
    forceCloseConnections: 'idle',
  });
  // As bytes: the signature is over exactly what was sent.
  server.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_, body, done) => done(null, body));
  server.setErrorHandler((error: Error & { statusCode?: number }, _, reply) => {
    if (error.statusCode === 413) parts.metrics.refused('too-large');
    return refuse(reply, error.statusCode ?? 500, error.message);
  });
  signReplies(server, parts);
  endConnections(server, parts);
  server.get('/v1/health', async () => health(parts));
  server.get('/v1/capacity', async () => capacity(parts.offers));
  if (parts.publicMetrics) serveMetrics(server, parts.metrics);
  void server.register(async (jobs) => {
    jobs.addHook('preHandler', async (request, reply) => checkCaller(parts, request, reply));
    jobs.post('/v1/jobs', (request, reply) => postJob(parts, request, reply));
    jobs.delete<{ Params: { id: string } }>('/v1/jobs/:id', async ({ params }, reply) => {
      const cancelled = parts.desk.cancel(params.id);
      return cancelled > 0 ? { cancelled } : refuse(reply, 404, 'no attempt at this job is running here');
    });
  });
  return server;
}

/** Metrics and nothing else: for a port that only the operator reaches. */
export function createMetricsServer(metrics: MinerMetrics): FastifyInstance {
  const server = Fastify({ forceCloseConnections: true });
  serveMetrics(server, metrics);
  return server;
}

function serveMetrics(server: FastifyInstance, { registry }: MinerMetrics): void {
  server.get('/metrics', async (_, reply) =>
    reply.header('content-type', registry.contentType).send(await registry.metrics()),
  );
}

async function postJob(parts: ServerParts, http: WithCaller, reply: FastifyReply) {
  const { desk, book, offers, reply: mode, metrics } = parts;
  const request = readJobRequest(parseJson(http.body), offers);
  if (Array.isArray(request)) {
    metrics.refused('invalid');
    return refuse(reply, 422, 'the job is not one this miner can do', request);
  }
  const byCallback = mode === 'callback' || (mode === 'auto' && request.kind === 'lora-training');
  const taken = desk.take(request, byCallback, Date.now(), http[CALLER]?.hotkey);
  if (taken.state === 'busy') {
    metrics.refused('busy');
    return refuse(reply, 429, `all ${request.kind} slots are taken: ask later`);
  }
  if (taken.state === 'running') return answer(taken.attempt, reply);
  const stored = await book.result(attemptKey(request));
  return stored ? sendResult(reply, stored) : refuse(reply, 500, 'the stored result is gone');
}

async function answer(attempt: RunningAttempt, reply: FastifyReply): Promise<FastifyReply> {
  if (attempt.byCallback) {
    await attempt.recorded;
    const { job_id, attempt: number } = attempt.request;
    return reply.code(202).send({ accepted: true, job_id, attempt: number } satisfies MinerAcceptance);
  }
  const outcome = await attempt.outcome;
  if ('result' in outcome) return sendResult(reply, outcome.result);
  const status = { cancelled: 409, timeout: 504, closing: 503 }[outcome.ended];
  return refuse(reply, status, `the attempt ended: ${outcome.ended}`);
}

function sendResult(reply: FastifyReply, { contentType, body }: ResultForm): FastifyReply {
  return reply.code(200).header('content-type', contentType).send(body);
}

function refuse(reply: FastifyReply, status: number, message: string, fields: FieldProblem[] = []): FastifyReply {
  return reply.code(status).send({ error: { message, fields } });
}

async function checkCaller(parts: ServerParts, request: WithCaller, reply: FastifyReply): Promise<void> {
  const { method, url: path, headers } = request;
  const body = Buffer.isBuffer(request.body) ? request.body : new Uint8Array(0);
  const verdict = await parts.callers.verify({ method, path, headers, body, nowMs: Date.now() });
  if (!verdict.ok) {
    parts.metrics.refused(verdict.reason);
    await refuse(reply, 401, verdict.message);
  } else if (verdict.signed) request[CALLER] = verdict.signed;
}

/** A signed question gets a signed answer: the miner's half of the receipt. */
function signReplies(server: FastifyInstance, { hotkey }: ServerParts): void {
  server.addHook('onSend', async (request: WithCaller, reply, payload) => {
    const caller = request[CALLER];
    if (!caller || !(typeof payload === 'string' || payload instanceof Uint8Array)) return;
    const answered = { status: reply.statusCode, body: payload, nonce: caller.nonce, recipient: caller.hotkey };
    void reply.headers(signReply(answered, hotkey));
  });
}

/**
 * What is idle when the server closes is ended with it; a connection whose reply is on its way then would stay for the next
 * request, and hold the end up for KEEP_ALIVE_MS. From the moment on at which the desk closes, each reply is its connection's last.
 */
function endConnections(server: FastifyInstance, { desk }: ServerParts): void {
  server.addHook('onSend', async (_, reply) => {
    if (desk.isClosing) void reply.header('connection', 'close');
  });
}

function parseJson(body: unknown): unknown {
  try {
    return Buffer.isBuffer(body) ? JSON.parse(body.toString('utf8')) : undefined;
  } catch {
    return undefined;
  }
}
