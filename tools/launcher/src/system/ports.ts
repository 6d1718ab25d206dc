import { createServer } from 'node:net';
import { freePort } from '../servers/free-port';
import type { Installation } from './installation';

/**
 * The port for `name`: the one asked for (refused with the remedy when it is taken), else the one of the last run if
 * it is still free, else any free one.
 */
export async function choosePort(
  installation: Installation,
  name: string,
  option: string,
  asked?: number,
): Promise<number> {
  if (asked !== undefined) {
    if (!(await isFree(asked))) {
      throw new Error(
        `port ${asked}, wanted for the ${name}, is taken by another process: stop it, or choose another with --${option}`,
      );
    }
    return (installation.ports[name] = asked);
  }
  const last = installation.ports[name];
  if (last !== undefined && (await isFree(last))) return last;
  return (installation.ports[name] = await freePort());
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
      .once('error', () => resolve(false))
      .listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
  });
}
