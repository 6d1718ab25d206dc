/**
 * A native miner's HTTP side without an engine: a test says how it answers, and sees what it was asked. It lets in only
 * who signs for it, with a nonce that it has not seen.
 */
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { randomUUID } from 'node:crypto';
import { CALLBACK_SECRET_HEADER, MANIFEST_PART, type MinerJobRequest, type MinerManifest } from '../contract/miner-job';
import type { RoutableMiner } from '../contract/miners';
import { ENGINES, JOB_KINDS } from '../domain/task-kinds';
import { sha256Hex } from '../protocol/canonical';
import { hotkeyFromSeed, type Hotkey } from '../protocol/hotkey';
import { HEADERS, signReply, signRequest, verifyRequest } from '../protocol/signatures';

export type StubAnswer =
  | { status: number }
  /** Signed for who asked, unless the test forges it: by another key, for another question, or not at all. */
  | { status: 200; form: FormData; forge?: Forgery }
  /** Keeps the request open for ever. */
  | 'hang';

/** What the signature of a 200 is made with instead of the right thing. */
export type Forgery = 'unsigned' | { signer?: Hotkey; nonce?: string; body?: Uint8Array };

export interface StubMiner {
  /** SS58; `key` is the pair. */
  hotkey: string;
  key: Hotkey;
  routable: RoutableMiner;
  /** Every request to POST /v1/jobs, repeated ones included. */
  asked: MinerJobRequest[];
  cancelled: string[];
  /** Why requests were not let in (401). */
  refused: string[];
  /** Replaced by tests; answers each request. */
  answer: (request: MinerJobRequest) => Promise<StubAnswer> | StubAnswer;
  /** Resolves when the miner has been asked this many times. */
  askedTimes(count: number): Promise<MinerJobRequest>;
  close(): Promise<void>;
}

/** What a job that was asked carries with it, also when a test copies it: whose it is and who asked. */
const ASKED = Symbol('asked');
type AskedJob = MinerJobRequest & { [ASKED]: { key: Hotkey; orchestrator: string } };

/** A multipart body with everything it is sent with. */
export interface SignedCallback {
  headers: Record<string, string>;
  body: Buffer;
}

/** @param name the seed of its hotkey is derived from it. */
export async function startStubMiner(name: string, slots = 4): Promise<StubMiner> {
  const server = fastify({ forceCloseConnections: true });
  const key = hotkeyFromSeed(sha256Hex(name));
  const waiting: { count: number; resolve: (request: MinerJobRequest) => void }[] = [];
  const stub: StubMiner = {
    hotkey: key.address,
    key,
    routable: routable(key.address, slots),
    asked: [],
    cancelled: [],
    refused: [],
    answer: () => ({ status: 500 }),
    askedTimes: (count) =>
      new Promise((resolve) => {
        const already = stub.asked[count - 1];
        if (already) resolve(already);
        else waiting.push({ count, resolve });
      }),
    close: () => server.close(),
  };
  addRoutes(server, stub, (asked) => {
    stub.asked.push(asked);
    for (const { count, resolve } of waiting) if (count === stub.asked.length) resolve(asked);
  });
  stub.routable.endpoint = await listen(server);
  return stub;
}

function addRoutes(server: FastifyInstance, stub: StubMiner, hear: (asked: AskedJob) => void): void {
  const nonces = new Set<string>();
  // As bytes: the signature is over exactly what was sent.
  server.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_, body, done) => done(null, body));
  server.addHook('preHandler', async (request, reply) => {
    const why = request.method === 'GET' ? undefined : refusal(request, stub.hotkey, nonces);
    if (why === undefined) return;
    stub.refused.push(why);
    await reply.status(401).send({ error: { message: why } });
  });
  server.post<{ Body: Buffer }>('/v1/jobs', async (request, reply) => {
    const job = JSON.parse(request.body.toString('utf8')) as MinerJobRequest;
    const asked = { ...job, [ASKED]: { key: stub.key, orchestrator: header(request, HEADERS.hotkey) } };
    hear(asked);
    return send(request, reply, stub.key, await stub.answer(asked));
  });
  server.delete<{ Params: { id: string } }>('/v1/jobs/:id', async ({ params }) => {
    stub.cancelled.push(params.id);
    return {};
  });
  server.get('/v1/health', () => ({ status: 'ok' }));
}

function refusal(request: FastifyRequest, recipient: string, nonces: Set<string>): string | undefined {
  const { method, url: path, headers } = request;
  const body = Buffer.isBuffer(request.body) ? request.body : '';
  const verdict = verifyRequest({ method, path, body, nowMs: Date.now(), recipient, headers });
  if (!verdict.ok) return verdict.message;
  if (nonces.has(verdict.nonce)) return 'the nonce was used before';
  nonces.add(verdict.nonce);
  return undefined;
}

/** A whole result: the manifest, then the files by part name. */
export function resultForm(
  { job_id, attempt }: Pick<MinerJobRequest, 'job_id' | 'attempt'>,
  files: Record<string, Uint8Array>,
  manifest: Partial<MinerManifest> = {},
): FormData {
  const form = new FormData();
  const whole = { job_id, attempt, status: 'completed', files: Object.keys(files), ...manifest };
  form.append(MANIFEST_PART, new Blob([JSON.stringify(whole)], { type: 'application/json' }));
  for (const [name, bytes] of Object.entries(files)) form.append(name, new Blob([bytes]), name);
  return form;
}

/**
 * The callback of a job that a stub was asked, signed by it for who asked. To be POSTed to the path of its callback URL
 * with fetch, which leaves these headers as they are.
 */
export async function signedCallback(job: MinerJobRequest, form: FormData, signer?: Hotkey): Promise<SignedCallback> {
  const { key, orchestrator } = (job as AskedJob)[ASKED];
  const { type, body } = await encoded(form);
  const { pathname: path } = new URL(job.callback.url);
  const request = { method: 'POST', path, body, nowMs: Date.now(), nonce: randomUUID(), recipient: orchestrator };
  const signature = signRequest(request, signer ?? key);
  return { headers: { 'content-type': type, [CALLBACK_SECRET_HEADER]: job.callback.secret, ...signature }, body };
}

async function listen(server: FastifyInstance): Promise<string> {
  return server.listen({ host: '127.0.0.1', port: 0 });
}

async function send(request: FastifyRequest, reply: FastifyReply, key: Hotkey, answer: StubAnswer): Promise<unknown> {
  if (answer === 'hang') return new Promise(() => undefined);
  if (!('form' in answer)) return reply.status(answer.status).send({});
  const { type, body } = await encoded(answer.form);
  const { forge } = answer;
  void reply.status(200).header('content-type', type);
  if (forge === 'unsigned') return reply.send(body);
  const [nonce, recipient] = [header(request, HEADERS.nonce), header(request, HEADERS.hotkey)];
  const signed = { status: 200, body, nonce, recipient, ...forge };
  return reply.headers(signReply(signed, forge?.signer ?? key)).send(body);
}

async function encoded(form: FormData): Promise<{ type: string; body: Buffer }> {
  const response = new Response(form);
  return { type: response.headers.get('content-type') ?? '', body: Buffer.from(await response.arrayBuffer()) };
}

function header({ headers }: FastifyRequest, name: string): string {
  return String(headers[name] ?? '');
}

function routable(hotkey: string, slots: number): RoutableMiner {
  const offers = JOB_KINDS.flatMap((kind) => ENGINES.slice(0, 1).map((engine) => ({ kind, engine, slots })));
  return {
    hotkey,
    operator: hotkey,
    endpoint: '',
    dialect: 'native',
    offers,
    trusted: false,
    quarantined: [],
    uid: null,
  };
}
