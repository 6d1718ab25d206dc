import fastify, { type FastifyReply } from 'fastify';

/** One neuron in a test's words. */
export interface TestNeuron {
  hotkey: string;
  uid: number;
  coldkey: string;
  stake: number;
}

export interface MockPylon {
  url: string;
  /** The next answers. A number is an error status. */
  answer: { block: number; neurons: readonly TestNeuron[] } | number;
  /** Every request: `method path authorization`. */
  asked: string[];
  /** Statuses of the next PUTs of weights, in order; 200 once there are none left. */
  refusals: number[];
  /** Every vector that was taken, hotkey → weight. */
  weights: Record<string, number>[];
  close(): Promise<void>;
}

export interface MockPylonOptions {
  netuid: number;
  /** Of open access. */
  token?: string;
  /** Who may put weights, and with which token. */
  identity?: { name: string; token: string };
  /** As before service-v1: the neurons' path ended otherwise. */
  early?: boolean;
}

/**
 * A MOCK of bittensor-pylon, in place of a sidecar with a chain behind it, which cannot exist in a test, in the form that its
 * v1 API and its models publish: `GET /api/v1/subnet/{netuid}/block/latest/neurons` of open access, and of an identity
 * `GET …/block/latest/neurons` and `PUT …/weights`, which it acknowledges as scheduled.
 */
export async function startMockPylon(options: MockPylonOptions): Promise<MockPylon> {
  const server = fastify({ forceCloseConnections: true });
  const close = (): Promise<void> => server.close();
  const mock: MockPylon = { url: '', answer: 503, asked: [], refusals: [], weights: [], close };
  const { netuid, token, identity } = options;
  const ofIdentity = identity && `/api/v1/identity/${identity.name}/subnet/${netuid}`;
  const neurons = options.early ? 'neurons/latest' : 'block/latest/neurons';
  server.get('*', async ({ method, url, headers }, reply) => {
    mock.asked.push(`${method} ${url} ${headers.authorization ?? '-'}`);
    if (ofIdentity && url.startsWith('/api/v1/identity/')) {
      const refused = refusedIdentity(url, headers.authorization, ofIdentity, identity.token);
      if (refused) return refuse(reply, ...refused);
      const status = statusOf(mock, url === `${ofIdentity}/${neurons}`);
      return reply.status(status).send(typeof mock.answer === 'object' && status === 200 ? body(mock.answer) : {});
    }
    const status = statusOf(mock, url === `/api/v1/subnet/${netuid}/${neurons}`, headers.authorization, token);
    return reply.status(status).send(typeof mock.answer === 'object' && status === 200 ? body(mock.answer) : {});
  });
  server.put<{ Body: { weights?: Record<string, number> } }>('*', async ({ method, url, headers, body }, reply) => {
    mock.asked.push(`${method} ${url} ${headers.authorization ?? '-'}`);
    const refused = refusedIdentity(url, headers.authorization, ofIdentity ?? '/none', identity?.token);
    if (refused) return refuse(reply, ...refused);
    const status = mock.refusals.shift();
    if (status !== undefined) return refuse(reply, status, 'as the test wants it');
    return take(mock, body, reply);
  });
  mock.url = await server.listen({ host: '127.0.0.1', port: 0 });
  return mock;
}

/** As its guard: 401 without a token, 404 for an unknown identity, 403 for a wrong token. */
function refusedIdentity(
  url: string,
  authorization: string | undefined,
  base: string,
  token: string | undefined,
): [status: number, detail: string] | undefined {
  if (authorization === undefined) return [401, 'Authorization header is required'];
  if (!url.startsWith(`${base}/`)) return [404, 'Identity not found'];
  return authorization === `Bearer ${token}` ? undefined : [403, 'Invalid authorization token'];
}

/** As its body's validation: not empty, and numbers. */
function take(mock: MockPylon, { weights }: { weights?: Record<string, number> }, reply: FastifyReply): FastifyReply {
  const values = Object.values(weights ?? {});
  if (!weights || values.length === 0) return refuse(reply, 400, 'No weights provided');
  if (!values.every((value) => typeof value === 'number')) return refuse(reply, 400, 'Invalid weight');
  mock.weights.push(weights);
  return reply.send({ detail: 'weights update scheduled', count: values.length });
}

const refuse = (reply: FastifyReply, status: number, detail: string): FastifyReply =>
  reply.status(status).send({ status_code: status, detail });

function statusOf({ answer }: MockPylon, isKnown: boolean, authorization?: string, token?: string): number {
  if (token !== undefined && authorization !== `Bearer ${token}`) return 401;
  if (typeof answer === 'number') return answer;
  return isKnown ? 200 : 404;
}

function body({ block, neurons }: { block: number; neurons: readonly TestNeuron[] }): object {
  return {
    block: { number: block, hash: `0x${'ab'.repeat(32)}` },
    neurons: Object.fromEntries(neurons.map((neuron) => [neuron.hotkey, described(neuron)])),
  };
}

/** With the fields that a reader has to pass over. */
function described({ hotkey, uid, coldkey, stake }: TestNeuron): object {
  return {
    uid,
    coldkey,
    hotkey,
    active: true,
    axon_info: { ip: '192.0.2.1', port: 8091, protocol: 4 },
    stake,
    rank: 0,
    emission: 0,
    incentive: 0,
    consensus: 0,
    trust: 0,
    validator_trust: 0,
    dividends: 0,
    last_update: 1,
    validator_permit: false,
    pruning_score: 0,
    stakes: { alpha: stake, tao: 0, total: stake },
  };
}
