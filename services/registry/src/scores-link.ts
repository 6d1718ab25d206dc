import { connect, credsAuthenticator, type NatsConnection } from 'nats';
import type { Logger } from '@studio/shared/platform/logger';
import { natsOptions, reportStatus } from '@studio/shared/platform/nats';

/** A sweep or a validator waits for it. */
const CONNECT_TIMEOUT_MS = 2_000;

export interface ScoresLinkOptions {
  url: string;
  /** Content of the credentials file. */
  creds: Uint8Array;
  log: Pick<Logger, 'info' | 'warn'>;
}

/**
 * The connection to the account SCORES, made when it is first needed and again when it was closed for good. Unlike the
 * services' own NATS nothing but the fast door depends on it: without it everybody reads HTTP, and the registry is ready.
 */
export class ScoresLink {
  private connecting: Promise<NatsConnection> | undefined;
  private connection: NatsConnection | undefined;

  constructor(private readonly options: ScoresLinkOptions) {}

  /** @throws what NATS says when it cannot be reached, or refuses the credentials. */
  async get(): Promise<NatsConnection> {
    if (this.connection && !this.connection.isClosed()) return this.connection;
    this.connecting ??= this.connect().finally(() => (this.connecting = undefined));
    return this.connecting;
  }

  async close(): Promise<void> {
    await this.connecting?.catch(() => undefined);
    await this.connection?.close();
  }

  private async connect(): Promise<NatsConnection> {
    const { url, creds, log } = this.options;
    this.connection = await connect({
      ...natsOptions(url, 'registry'),
      waitOnFirstConnect: false,
      timeout: CONNECT_TIMEOUT_MS,
      authenticator: credsAuthenticator(creds),
    });
    void reportStatus(this.connection, log);
    return this.connection;
  }
}
