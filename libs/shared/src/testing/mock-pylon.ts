import fastify from 'fastify';

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
  close(): Promise<void>;
}

/**
 * A MOCK of bittensor-pylon's open access, in place of a sidecar with a chain behind it, which cannot exist in a test:
 * `GET /api/v1/subnet/{netuid}/neurons/latest`, in the form that its models publish.
 */
export async function startMockPylon({ netuid, token }: { netuid: number; token?: string }): Promise<MockPylon> {
  const server = fastify({ forceCloseConnections: true });
  const mock: MockPylon = { url: '', answer: 503, asked: [], close: () => server.close() };
  server.get('*', async ({ method, url, headers }, reply) => {
    mock.asked.push(`${method} ${url} ${headers.authorization ?? '-'}`);
    const status = statusOf(mock, url === `/api/v1/subnet/${netuid}/neurons/latest`, headers.authorization, token);
    return reply.status(status).send(typeof mock.answer === 'object' && status === 200 ? body(mock.answer) : {});
  });
  mock.url = await server.listen({ host: '127.0.0.1', port: 0 });
  return mock;
}

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
