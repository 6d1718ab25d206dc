import fastify, { type FastifyInstance } from 'fastify';
import { Agent, request } from 'undici';
import { endConnectionsOnClose } from './closing-connections';

/** A server with one request under way on a connection that its client would keep. */
async function underWay(): Promise<{ server: FastifyInstance; answer: () => void; replied: Promise<number> }> {
  const server = fastify();
  endConnectionsOnClose(server);
  let answer = (): void => undefined;
  let begun = (): void => undefined;
  const arrived = new Promise<void>((resolve) => (begun = resolve));
  server.get('/', async () => {
    begun();
    await new Promise<void>((resolve) => (answer = resolve));
    return {};
  });
  const url = await server.listen({ host: '127.0.0.1', port: 0 });
  const dispatcher = new Agent({ keepAliveTimeout: 60_000 });
  const replied = request(url, { dispatcher }).then(async ({ statusCode, body }) => (await body.dump(), statusCode));
  await arrived;
  return { server, answer: () => answer(), replied };
}

// Whoever waited for the keep-alive of 60 s would not come within the test's time.
it('ends with the last reply, not with the keep-alive of its connection', async () => {
  const { server, answer, replied } = await underWay();
  const closed = server.close();
  // Its idle connections are gone by then.
  while (server.server.listening) await new Promise(setImmediate);
  answer();
  expect(await replied).toBe(200);
  await closed;
});
