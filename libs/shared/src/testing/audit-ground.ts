import type { NatsConnection } from 'nats';
import { Client } from 'pg';
import type { DataSource } from 'typeorm';
import { createDataSource } from '../database/data-source';
import { DEMO_POLICY, type Policy } from '../domain/policy';
import { FinishedJobs } from './finished-jobs';
import { openTestNats } from './nats';
import { createDatabase } from './postgres';

/** What tests of the auditor stand on: a database of its own, reached as the auditor, and rows of the other services. */
export interface AuditGround {
  url: string;
  natsUrl: string;
  source: DataSource;
  nats: NatsConnection;
  jobs: FinishedJobs;
  query<T>(text: string, values?: unknown[]): Promise<T[]>;
  /** Moves the database's clock on: the one clock that all SQL takes time from. */
  advance(seconds: number): Promise<void>;
  close(): Promise<void>;
}

/** The demo's policy without its pauses; no audits on top of the draw unless a test asks for them. */
export const TEST_POLICY: Policy = {
  ...DEMO_POLICY,
  version: 7,
  audit: { ...DEMO_POLICY.audit, meanDelayMs: 0, floorPerEpoch: 0 },
};

export async function openAuditGround(): Promise<AuditGround> {
  const database = await createDatabase();
  const nats = await openTestNats();
  const jobs = new FinishedJobs(database);
  const source = await createDataSource({ url: database.urls.auditor, name: 'auditor under test' }).initialize();
  let ahead = 0;
  return {
    url: database.urls.auditor,
    natsUrl: nats.url,
    source,
    nats: nats.connection,
    jobs,
    query: <T>(text: string, values?: unknown[]) => source.query<T[]>(text, values),
    advance: (seconds) => setClock(database.urls.owner, (ahead += seconds)),
    close: async () => {
      await source.destroy();
      await jobs.close();
      await nats.close();
      await database.drop();
    },
  };
}

async function setClock(ownerUrl: string, aheadS: number): Promise<void> {
  const client = new Client({ connectionString: ownerUrl });
  await client.connect();
  try {
    await client.query(
      `CREATE OR REPLACE FUNCTION studio.now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE
         AS 'SELECT statement_timestamp() + ${aheadS} * interval ''1 second'''`,
    );
  } finally {
    await client.end();
  }
}
