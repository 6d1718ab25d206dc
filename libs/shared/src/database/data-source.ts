import { setTimeout as sleep } from 'node:timers/promises';
import { DataSource } from 'typeorm';
import { TRANSACTION_BOUND_MS } from './grants';
import { Initial1763800000001 } from './migrations/0001-initial';
import { Audits1795600000002 } from './migrations/0002-audits';
import { Exports1795700000003 } from './migrations/0003-exports';
import { UploadSlots1795800000004 } from './migrations/0004-upload-slots';
import { Webhooks1795900000005 } from './migrations/0005-webhooks';
import { ClientKeys1795900000006 } from './migrations/0006-client-keys';
import { Retention1796500000008 } from './migrations/0008-retention';
import { Waiting1796400000009 } from './migrations/0009-waiting';

/** The one migration history, oldest first. */
export const MIGRATIONS = [
  Initial1763800000001,
  Audits1795600000002,
  Exports1795700000003,
  UploadSlots1795800000004,
  Webhooks1795900000005,
  ClientKeys1795900000006,
  Waiting1796400000009,
  Retention1796500000008,
];

export interface DataSourceOptions {
  url: string;
  /** Shown in pg_stat_activity. */
  name: string;
  /** Connections of the pool; 4–6 a process are enough (performance.md). */
  poolSize?: number;
  onError?: (error: Error) => void;
}

/**
 * A pool for one service. `onError` hears of connections lost while idle: without a handler a restart of the
 * database would end the process. Statements and idle transactions are bounded, which lets readers of "what finished
 * since" know when nothing older can appear any more.
 */
export function createDataSource({
  url,
  name,
  poolSize = 6,
  onError = () => undefined,
}: DataSourceOptions): DataSource {
  return new DataSource({
    type: 'postgres',
    url,
    applicationName: name,
    poolSize,
    connectTimeoutMS: 3_000,
    poolErrorHandler: onError,
    migrations: MIGRATIONS,
    migrationsTableName: 'migrations',
    schema: 'studio',
    installExtensions: false,
    extra: {
      statement_timeout: TRANSACTION_BOUND_MS,
      idle_in_transaction_session_timeout: TRANSACTION_BOUND_MS,
      keepAlive: true,
    },
  });
}

/** Between two tries to reach a database that is not there yet. */
const CONNECT_PAUSE_MS = 500;

/**
 * Connects, however long the database takes: a service that starts before it must not end for that.
 * @throws AbortError when `signal` aborts first.
 */
export async function connectDataSource(options: DataSourceOptions, signal?: AbortSignal): Promise<DataSource> {
  for (;;) {
    const source = createDataSource(options);
    try {
      return await source.initialize();
    } catch (error) {
      options.onError?.(error as Error);
      await sleep(CONNECT_PAUSE_MS, undefined, { signal });
    }
  }
}
