import { connect, type NatsConnection } from 'nats';
import { testServerUrls } from './env';

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
  const connection = await connect({ servers: url, name: 'test' });
  const clear = (): Promise<void> => deleteStreams(connection);
  await clear();
  const close = async (): Promise<void> => {
    await clear();
    await connection.close();
  };
  return { url, connection, clear, close };
}

async function deleteStreams(connection: NatsConnection): Promise<void> {
  const manager = await connection.jetstreamManager();
  const names: string[] = [];
  for await (const stream of manager.streams.list()) names.push(stream.config.name);
  for (const name of names) await manager.streams.delete(name);
}
