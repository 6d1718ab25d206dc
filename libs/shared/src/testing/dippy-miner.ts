/**
 * A Dippy Studio miner as seen from outside (their public HTTP contract of late 2025): a proxy with Epistula in front of
 * a model server. Faithful by default; each quirk is one way in which real ones differ or fail. Used by the tests of the
 * dialect and of the miner kit's conformance suite.
 */
import { once } from 'node:events';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { RoutableMiner } from '../contract/miners';
import { hotkeyFromSeed, type Hotkey } from '../protocol/hotkey';
import { sha256Hex } from '../protocol/canonical';
import { dippyRefusal } from './dippy-miner-auth';
import { readEdit, readInference, type DippyJob, type FieldError } from './dippy-miner-fields';
import { DippyModel, type ModelQuirks, type SentCallback } from './dippy-miner-model';

export interface DippyQuirks extends ModelQuirks {
  /** The callback is answered before the request is. */
  callbackFirst?: boolean;
  /** The proxy gives up waiting for its model server, which goes on. */
  slowProxy202?: boolean;
  /** The model server is gone (502), too slow (504) or broken (500). */
  upstream?: 500 | 502 | 504;
  /** Inference is switched off. */
  disabled503?: boolean;
  /** The gate lets nobody in. */
  rejectAuth?: 401 | 403;
  /** Reply of `/capacity`. */
  capacityOf?: Record<string, unknown>;
}

export interface DippyAsked {
  route: string;
  headers: FastifyRequest['headers'];
  /** The body as it came. */
  raw: Buffer;
  body: Record<string, unknown>;
  /** With which status it was answered; 0 until then. */
  status: number;
}

export interface DippyMiner {
  hotkey: string;
  url: string;
  routable: RoutableMiner;
  /** Replaced by tests. */
  quirks: DippyQuirks;
  /** Everybody when empty. */
  allowedSenders: string[];
  /** Every request to /inference, /edit and /capacity. */
  asked: DippyAsked[];
  /** Replaced by tests; hears of each before it is answered. */
  onAsked: (asked: DippyAsked) => void;
  callbacks: SentCallback[];
  /** Resolves with the nth callback, once it has been answered, skipped, or had nowhere to go. */
  calledBack(count: number): Promise<SentCallback>;
  close(): Promise<void>;
}

export interface DippyMinerOptions {
  /** The seed of its hotkey is derived from it. */
  name?: string;
  slots?: number;
  /** Where a callback URL leads in this test. */
  reach?: (callbackUrl: string) => string;
}

const SERVICE = 'bittensor-miner-reverse-proxy';
const CAPACITY = { 'base-h100_pcie': true, 'img-h100_pcie': true };
/** Of their proxy's 202. */
const PROXY_TIMEOUT_SECONDS = 10;
const UPSTREAM = {
  500: 'Internal server error',
  502: 'Error connecting to backend service',
  504: 'Upstream timed out',
};
const REJECTED = { 401: 'Signature Mismatch', 403: 'Sender not allowed' };

export async function startDippyMiner({
  name = 'dippy',
  slots = 4,
  reach = (url) => url,
}: DippyMinerOptions = {}): Promise<DippyMiner> {
  const key = hotkeyFromSeed(sha256Hex(name));
  const server = fastify({ forceCloseConnections: true });
  const waiting: { count: number; resolve: (sent: SentCallback) => void }[] = [];
  const miner: DippyMiner = {
    hotkey: key.address,
    url: '',
    routable: routable(key, slots),
    quirks: {},
    allowedSenders: [],
    asked: [],
    onAsked: () => undefined,
    callbacks: [],
    calledBack: (count) =>
      new Promise((resolve) => {
        const already = miner.callbacks[count - 1];
        if (already) resolve(already);
        else waiting.push({ count, resolve });
      }),
    close: () => server.close(),
  };
  const model = new DippyModel(
    () => miner.quirks,
    reach,
    (sent) => {
      miner.callbacks.push(sent);
      for (const { count, resolve } of waiting) if (count === miner.callbacks.length) resolve(sent);
    },
  );
  addOpenRoutes(server, key.address);
  addSignedRoutes(server, miner, model);
  miner.url = await server.listen({ host: '127.0.0.1', port: 0 });
  miner.routable.endpoint = miner.url;
  return miner;
}

function addOpenRoutes(server: FastifyInstance, hotkey: string): void {
  server.removeAllContentTypeParsers();
  server.addContentTypeParser('*', { parseAs: 'buffer' }, (_, body, done) => done(null, body));
  server.setNotFoundHandler((_, reply) => reply.code(404).send({ detail: 'Not Found' }));
  server.get('/', () => ({ status: 'healthy', service: SERVICE }));
  server.get('/status', () => ({ status: 'running', service: SERVICE, version: '0.2.0', epistula_ready: true }));
  server.get<{ Params: { id: string } }>('/check/:id', ({ params: { id } }, reply) =>
    id === hotkey ? { status: 'ok', identifier: id } : reply.code(404).send({ detail: 'Identifier not recognized' }),
  );
}

/** Everything behind the gate, remembered as it was asked and answered. */
function addSignedRoutes(server: FastifyInstance, miner: DippyMiner, model: DippyModel): void {
  const asked = (request: FastifyRequest): DippyAsked => {
    const raw = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
    const entry = { route: request.url, headers: request.headers, raw, body: parse(raw), status: 0 };
    miner.asked.push(entry);
    miner.onAsked(entry);
    return entry;
  };
  const answer = async (
    request: FastifyRequest,
    reply: FastifyReply,
    work: (entry: DippyAsked, replied: Promise<unknown>) => Promise<Answer> | Answer,
  ): Promise<FastifyReply> => {
    const entry = asked(request);
    const replied = once(reply.raw, 'close');
    const { status, body } = refused(entry, miner) ?? (await work(entry, replied));
    entry.status = status;
    return reply.code(status).send(body);
  };
  server.get('/capacity', (request, reply) =>
    answer(request, reply, () => ({ status: 200, body: miner.quirks.capacityOf ?? CAPACITY })),
  );
  server.post('/inference', (request, reply) =>
    answer(request, reply, (entry, replied) =>
      take(entry, miner, model, readInference(entry.body), 'Inference', replied),
    ),
  );
  server.post('/edit', (request, reply) =>
    answer(request, reply, (entry, replied) => take(entry, miner, model, readEdit(entry.body), 'Edit', replied)),
  );
}

interface Answer {
  status: number;
  body: unknown;
}

function refused({ headers, raw }: DippyAsked, miner: DippyMiner): Answer | undefined {
  const { rejectAuth } = miner.quirks;
  if (rejectAuth) return { status: rejectAuth, body: { detail: REJECTED[rejectAuth] } };
  const refusal = dippyRefusal(headers, raw, miner, Date.now());
  return refusal && { status: refusal.status, body: { detail: refusal.detail } };
}

async function take(
  { body }: DippyAsked,
  miner: DippyMiner,
  model: DippyModel,
  job: DippyJob | FieldError[],
  what: 'Inference' | 'Edit',
  replied: Promise<unknown>,
): Promise<Answer> {
  const { upstream, disabled503, slowProxy202, callbackFirst } = miner.quirks;
  if (upstream) return { status: upstream, body: { detail: UPSTREAM[upstream] } };
  if (Array.isArray(job)) return { status: 422, body: { detail: job } };
  if (disabled503) return { status: 503, body: { detail: `${what} is currently disabled` } };
  const unfinished = job.job_id === null ? undefined : model.unfinished(job.job_id);
  if (unfinished) return { status: 409, body: { detail: `Job ${job.job_id} is already ${unfinished}` } };
  const { jobId, called } = model.take(
    job,
    callbackFirst ? Promise.resolve() : replied,
    what === 'Edit' ? 'edit-' : '',
  );
  if (callbackFirst) await called;
  if (!slowProxy202) return { status: 200, body: accepted(jobId, what) };
  const detail = 'Upstream processing asynchronously; proxy returned before completion';
  const job_id = typeof body.job_id === 'string' ? body.job_id : null;
  return { status: 202, body: { status: 'queued', job_id, detail, proxy_timeout_seconds: PROXY_TIMEOUT_SECONDS } };
}

function accepted(jobId: string, what: 'Inference' | 'Edit'): Record<string, unknown> {
  const path = what.toLowerCase();
  return {
    accepted: true,
    job_id: jobId,
    status: 'queued',
    message: `${what} job queued`,
    status_url: `/${path}/status/${jobId}`,
    result_url: `/${path}/result/${jobId}`,
  };
}

function parse(raw: Buffer): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(raw.toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function routable({ address }: Hotkey, slots: number): RoutableMiner {
  const offers: RoutableMiner['offers'] = [{ kind: 'lora-inference', engine: 'flux', slots }];
  return {
    hotkey: address,
    operator: address,
    endpoint: '',
    dialect: 'dippy',
    offers,
    trusted: false,
    quarantined: [],
    uid: null,
  };
}
