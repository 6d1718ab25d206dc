import type { ServerName } from './running-server';

export type ServerErrorCode = 'missing' | 'port-taken' | 'start-failed' | 'unreachable' | 'in-use' | 'wrong-data';

/** A server cannot be had. The message is complete for a person: what is wrong, with which server, and the remedy. */
export class ServerError extends Error {
  constructor(
    readonly code: ServerErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'ServerError';
  }
}

/** Titles for messages and the variable or option that answers for each server. */
export const SERVERS: Record<ServerName, { title: string; variable?: string; debian: string; homebrew: string }> = {
  postgres: {
    title: 'PostgreSQL',
    variable: 'STUDIO_POSTGRES_URL',
    debian: 'postgresql',
    homebrew: 'postgresql@17',
  },
  nats: { title: 'NATS', variable: 'STUDIO_NATS_URL', debian: 'nats-server', homebrew: 'nats-server' },
  // Made with the account that goes with it: nobody else's has one.
  scores: { title: 'NATS for validators', debian: 'nats-server', homebrew: 'nats-server' },
  redis: { title: 'Redis', variable: 'STUDIO_REDIS_URL', debian: 'redis-server', homebrew: 'redis' },
};

export function missingServer(name: ServerName, tried: string[], platform: NodeJS.Platform): ServerError {
  const { title, variable, debian, homebrew } = SERVERS[name];
  const command = platform === 'darwin' ? `brew install ${homebrew}` : `sudo apt-get install -y ${debian}`;
  const attempts = tried.map((line) => `  - ${line}`).join('\n');
  const otherwise = variable ? `\nor set ${variable} to the URL of a server that is already running.` : '';
  return new ServerError(
    'missing',
    `${title} is missing: no server found.\n${attempts}\nInstall it with:  ${command}${otherwise}`,
  );
}

export function portTaken(name: ServerName, port: number): ServerError {
  return new ServerError(
    'port-taken',
    `port ${port} is taken by another process: stop it or choose another with --${name}-port`,
  );
}
