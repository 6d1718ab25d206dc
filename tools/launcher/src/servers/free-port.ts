import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServerName } from './running-server';
import { portTaken, ServerError } from './server-error';

const HOST = '127.0.0.1';

/** How long a server that was just killed may still hold its port. */
const RELEASE_MS = 3_000;

/** Another process may take a free port between our look and the server's bind: then look again. */
const ATTEMPTS = 5;

/** A port of the loopback interface that nobody listens on at this moment. */
export function freePort(): Promise<number> {
  return listenOnce(0);
}

/**
 * Starts a server on the port the user gave, or else on a free one.
 * @throws ServerError `port-taken` when the given port is taken; the user's choice is never silently changed.
 */
export async function startOnPort<T>(
  name: ServerName,
  given: number | undefined,
  start: (port: number) => Promise<T>,
): Promise<T> {
  if (given !== undefined) {
    await requireFree(name, given);
    return start(given);
  }
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await start(await freePort());
    } catch (error) {
      const raced = error instanceof ServerError && error.code === 'port-taken';
      if (!raced || attempt === ATTEMPTS) throw error;
    }
  }
}

async function requireFree(name: ServerName, port: number): Promise<void> {
  for (let waited = 0; ; waited += 100) {
    try {
      await listenOnce(port);
      return;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'EADDRINUSE') {
        throw new ServerError(
          'port-taken',
          `port ${port} cannot be used (${code}): choose another with --${name}-port`,
        );
      }
      if (waited >= RELEASE_MS) throw portTaken(name, port);
      await sleep(100);
    }
  }
}

function listenOnce(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(port, HOST, () => {
      const address = server.address();
      const bound = typeof address === 'object' && address ? address.port : port;
      server.close(() => resolve(bound));
    });
  });
}
