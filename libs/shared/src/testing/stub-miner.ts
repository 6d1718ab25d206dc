/** A miner's HTTP side without an engine: a test says how it answers, and sees what it was asked. */
import fastify, { type FastifyInstance, type FastifyReply } from 'fastify';
import { MANIFEST_PART, type MinerJobRequest, type MinerManifest } from '../contract/miner-job';
import type { RoutableMiner } from '../contract/miners';
import { ENGINES, JOB_KINDS } from '../domain/task-kinds';

export type StubAnswer =
  | { status: number }
  | { status: 200; form: FormData }
  /** Keeps the request open for ever. */
  | 'hang';

export interface StubMiner {
  hotkey: string;
  routable: RoutableMiner;
  /** Every request to POST /v1/jobs, repeated ones included. */
  asked: MinerJobRequest[];
  cancelled: string[];
  /** Replaced by tests; answers each request. */
  answer: (request: MinerJobRequest) => Promise<StubAnswer> | StubAnswer;
  /** Resolves when the miner has been asked this many times. */
  askedTimes(count: number): Promise<MinerJobRequest>;
  close(): Promise<void>;
}

export async function startStubMiner(hotkey: string, slots = 4): Promise<StubMiner> {
  const server = fastify({ forceCloseConnections: true });
  const waiting: { count: number; resolve: (request: MinerJobRequest) => void }[] = [];
  const stub: StubMiner = {
    hotkey,
    routable: routable(hotkey, slots),
    asked: [],
    cancelled: [],
    answer: () => ({ status: 500 }),
    askedTimes: (count) =>
      new Promise((resolve) => {
        const already = stub.asked[count - 1];
        if (already) resolve(already);
        else waiting.push({ count, resolve });
      }),
    close: () => server.close(),
  };
  server.post<{ Body: MinerJobRequest }>('/v1/jobs', async ({ body }, reply) => {
    stub.asked.push(body);
    for (const { count, resolve } of waiting) if (count === stub.asked.length) resolve(body);
    return send(reply, await stub.answer(body));
  });
  server.delete<{ Params: { id: string } }>('/v1/jobs/:id', async ({ params }) => {
    stub.cancelled.push(params.id);
    return {};
  });
  server.get('/v1/health', () => ({ status: 'ok' }));
  stub.routable.endpoint = await listen(server);
  return stub;
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

async function listen(server: FastifyInstance): Promise<string> {
  return server.listen({ host: '127.0.0.1', port: 0 });
}

async function send(reply: FastifyReply, answer: StubAnswer): Promise<unknown> {
  if (answer === 'hang') return new Promise(() => undefined);
  if (!('form' in answer)) return reply.status(answer.status).send({});
  const { headers, body } = new Response(answer.form);
  const bytes = Buffer.from(await new Response(body).arrayBuffer());
  return reply.status(200).header('content-type', headers.get('content-type')).send(bytes);
}

function routable(hotkey: string, slots: number): RoutableMiner {
  const offers = JOB_KINDS.flatMap((kind) => ENGINES.slice(0, 1).map((engine) => ({ kind, engine, slots })));
  return { hotkey, operator: hotkey, endpoint: '', dialect: 'native', offers, trusted: false, quarantined: [] };
}
