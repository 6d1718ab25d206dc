import { readFileSync } from 'node:fs';
import { connect, credsAuthenticator, type NatsConnection } from 'nats';
import { testScoresServer, testServerUrls, type TestScoresServer } from './env';

/** The servers run; a test's process may be late. */
const CONNECT_TIMEOUT_MS = 60_000;

export interface TestNats {
  url: string;
  connection: NatsConnection;
  /** Deletes every stream of this worker's server: the next file, or the next test, begins with none. */
  clear(): Promise<void>;
  /** `clear` and disconnect. */
  close(): Promise<void>;
}

/** A connection to the NATS server of this Jest worker, without any stream. Call once per file. */
export async function openTestNats(): Promise<TestNats> {
  const url = testServerUrls().nats;
  const connection = await connect({ servers: url, name: 'test', timeout: CONNECT_TIMEOUT_MS });
  return cleared(url, connection);
}

async function deleteStreams(connection: NatsConnection): Promise<void> {
  const manager = await connection.jetstreamManager();
  const names: string[] = [];
  for await (const stream of manager.streams.list()) names.push(stream.config.name);
  for (const name of names) await manager.streams.delete(name);
}

/** The account SCORES of this Jest worker's other server, for registries under test and for looking into the stream. */
export interface TestScores extends TestNats {
  files: TestScoresServer['files'];
  /** Variables for RegistryEnv. */
  env: Record<string, string>;
}

/** A connection as the registry has it, without any stream. Call once per file. */
export async function openTestScores(): Promise<TestScores> {
  const { url, files } = testScoresServer();
  const connection = await connect({
    servers: url,
    name: 'test',
    timeout: CONNECT_TIMEOUT_MS,
    authenticator: credsAuthenticator(readFileSync(files.registryCreds)),
  });
  const env = {
    SCORES_NATS_URL: url,
    SCORES_NATS_CREDS: files.registryCreds,
    SCORES_NATS_SIGNING_KEY: files.signingKey,
  };
  return { ...(await cleared(url, connection)), files, env };
}

async function cleared(url: string, connection: NatsConnection): Promise<TestNats> {
  const clear = (): Promise<void> => deleteStreams(connection);
  await clear();
  const close = async (): Promise<void> => {
    await clear();
    await connection.close();
  };
  return { url, connection, clear, close };
}
