/**
 * What the rest of the launcher knows of a server, however it was come by. Made by postgres.ts, nats.ts, scores.ts and redis.ts;
 * used by the supervisor (restarts on `exited`) and by Jest's global setup.
 */
export type ServerName = 'postgres' | 'nats' | 'scores' | 'redis';

/** Where the server came from: a URL the user gave, a binary of the system, our npm package, or Debian's archive. */
export type ServerSource = 'environment' | 'path' | 'package' | 'debian';

export interface ServerExit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface RunningServer {
  name: ServerName;
  url: string;
  version: string;
  port: number;
  /** Undefined for a server that somebody else runs (source `environment`). */
  pid?: number;
  source: ServerSource;
  /** Settles when the process ends, whoever ended it. Never settles for a server that somebody else runs. */
  exited: Promise<ServerExit>;
  /** Ends the process and resolves once it is gone; repeated calls are harmless. Leaves a foreign server alone. */
  stop(): Promise<void>;
}

/** Receives one line of progress, meant for a person. */
export type ProgressLog = (line: string) => void;

/** A server given by URL: checked by its caller, never started, restarted or stopped by us. */
export function foreignServer(name: ServerName, url: string, version: string): RunningServer {
  return {
    name,
    url,
    version,
    port: Number(new URL(url).port),
    source: 'environment',
    exited: new Promise(() => undefined),
    stop: async () => undefined,
  };
}
