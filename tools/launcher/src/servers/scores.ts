import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { credsAuthenticator } from 'nats';
import { startOnPort } from './free-port';
import { natsBinary, natsConfig, serverVersion, STOP_STEPS } from './nats';
import type { ProgressLog, RunningServer } from './running-server';
import { openScoresAccount } from './scores-account';
import { runServer } from './server-process';
import { endOrphan } from './server-record';

export interface ScoresOptions {
  /** Holds the account's files, the stream, the configuration, the log and the record of the process. */
  dir: string;
  /** A free one when absent. */
  port?: number;
  /** Where a fetched server is kept. */
  cacheDir: string;
  log: ProgressLog;
}

/**
 * The NATS that validators listen to, on 127.0.0.1: apart from the services' own, which has no credentials. In operator
 * mode: whoever connects brings a token that the account in `dir` has signed.
 * @throws ServerError
 */
export async function startScores({ dir, port: given, cacheDir, log }: ScoresOptions): Promise<RunningServer> {
  mkdirSync(dir, { recursive: true });
  await endOrphan('scores', dir, STOP_STEPS, log);
  const [binary, files] = await Promise.all([natsBinary('scores', cacheDir, log), openScoresAccount(dir)]);
  const authenticator = credsAuthenticator(readFileSync(files.registryCreds));
  return startOnPort('scores', given, (port) => {
    const url = `nats://127.0.0.1:${port}`;
    const config = join(dir, 'nats.conf');
    writeFileSync(config, natsConfig(binary, dir, port) + readFileSync(files.serverConfig, 'utf8'), { mode: 0o600 });
    return runServer({
      name: 'scores',
      binary,
      args: ['-c', config],
      dir,
      url,
      port,
      probe: async () => void (await serverVersion(url, authenticator)),
      stopSteps: STOP_STEPS,
    });
  });
}
