/** A server below HTTP: it accepts connections and does with them what no HTTP server would. */
import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { TEST_CERTIFICATE, TEST_KEY } from './hostile-certificate';

/** `nth`: this connection's number, from 1. */
export type Behaviour = (socket: Socket, nth: number) => void;

export interface HostileServer {
  port: number;
  /** Connections accepted so far. */
  connections(): number;
  close(): Promise<void>;
}

/** `tls`: speaks TLS with a certificate that nobody trusts, and behaves so inside it. */
export async function startHostileServer(
  behaviour: Behaviour,
  { tls = false, port = 0 }: { tls?: boolean; port?: number } = {},
): Promise<HostileServer> {
  const open = new Set<Socket>();
  let count = 0;
  const accept = (socket: Socket): void => {
    // Clients flee from here.
    socket.on('error', () => undefined);
    behaviour(socket, (count += 1));
  };
  // Half open: a client that has ended its side is still spoken to.
  const server: Server = tls
    ? createTlsServer({ cert: TEST_CERTIFICATE, key: TEST_KEY, allowHalfOpen: true }, accept)
    : createServer({ allowHalfOpen: true }, accept);
  // A client that refuses our certificate.
  server.on('tlsClientError', () => undefined);
  // Below TLS as well: a handshake that was given up is no secure connection yet.
  server.on('connection', (socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const close = async (): Promise<void> => {
    for (const socket of open) socket.destroy();
    server.close();
    await once(server, 'close');
  };
  return { port: (server.address() as AddressInfo).port, connections: () => count, close };
}

/** Once, when a request has come. */
export const reply =
  (...pieces: (string | Buffer)[]): Behaviour =>
  (socket) =>
    socket.once('data', () => pieces.forEach((piece) => socket.write(piece)));

/** As `reply`, then the end of our side. */
export const replyAndEnd =
  (...pieces: (string | Buffer)[]): Behaviour =>
  (socket) =>
    socket.once('data', () => (pieces.forEach((piece) => socket.write(piece)), socket.end()));

/** As fast as the client takes it, for ever. */
export const replyThenPour =
  (head: string, chunk: string | Buffer): Behaviour =>
  (socket) =>
    socket.once('data', () => {
      socket.write(head);
      const pour = (): void => {
        if (socket.destroyed) return;
        if (socket.write(chunk)) setImmediate(pour);
        else socket.once('drain', pour);
      };
      pour();
    });

/** A little again and again: every timer but a total one begins anew each time. */
export const replyThenDrip =
  (head: string, drop: string, everyMs = 5): Behaviour =>
  (socket) =>
    socket.once('data', () => {
      socket.write(head);
      const drip = setInterval(() => socket.write(drop), everyMs);
      socket.on('close', () => clearInterval(drip));
    });

/** Ends without the goodbye of TCP. */
export const replyAndReset =
  (text: string): Behaviour =>
  (socket) =>
    // Written out first: a reset overtakes what waits.
    socket.once('data', () => (text ? socket.write(text, () => socket.resetAndDestroy()) : socket.resetAndDestroy()));
