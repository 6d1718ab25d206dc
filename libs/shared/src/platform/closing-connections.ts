import type { FastifyInstance } from 'fastify';

/**
 * A server that closes ends the connections that are idle at that moment; one whose reply is on its way then would stay open for
 * the client's next request, and hold the end up until the keep-alive's, 72 s later. Those replies say that it is the last.
 */
export function endConnectionsOnClose(server: FastifyInstance): void {
  let isClosing = false;
  server.addHook('preClose', (done) => {
    isClosing = true;
    done();
  });
  server.addHook('onSend', (_request, reply, _payload, done) => {
    if (isClosing) void reply.header('connection', 'close');
    done();
  });
}
