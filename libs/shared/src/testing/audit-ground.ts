import type { NatsConnection } from 'nats';
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
  return {
    url: database.urls.auditor,
    natsUrl: nats.url,
    source,
    nats: nats.connection,
    jobs,
    query: <T>(text: string, values?: unknown[]) => source.query<T[]>(text, values),
    close: async () => {
      await source.destroy();
      await jobs.close();
      await nats.close();
      await database.drop();
    },
  };
}
