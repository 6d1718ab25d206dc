/** A real registry and a real auditor, and jobs that miners finished: epochs with awards, verdicts, reversals, restorations. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { boot as bootAuditor, type RunningAuditor } from '@studio/auditor/boot';
import { AuditorEnv } from '@studio/auditor/env';
import { boot as bootRegistry, type RunningRegistry } from '@studio/registry/boot';
import { RegistryEnv } from '@studio/registry/env';
import { loadEnv } from '@studio/shared/platform/env';
import { createLogger } from '@studio/shared/platform/logger';
import { FinishedJobs, imageResult } from '@studio/shared/testing/finished-jobs';
import { ADMIN_KEY, RegistryGround, until } from '@studio/shared/testing/registry-ground';
import { StandInQuerier } from '@studio/shared/testing/stand-ins';

export const HONEST = imageResult('a'.repeat(64));
export const CHEAT = imageResult('b'.repeat(64));

const AUDITOR_KEY = randomBytes(32).toString('hex');
const MINERS = { reference: true, peer: false, ada: false, ben: false, cheat: false };

export class AuditedEpochs {
  private constructor(
    readonly ground: RegistryGround,
    readonly jobs: FinishedJobs,
    private readonly querier: StandInQuerier,
    readonly registry: RunningRegistry,
    private readonly auditor: RunningAuditor,
    /** For files of the test. */
    readonly dir: string,
  ) {}

  static async open(): Promise<AuditedEpochs> {
    const dir = await mkdtemp(join(tmpdir(), 'audited-epochs-'));
    const ground = await RegistryGround.open(fetch);
    const jobs = new FinishedJobs(ground.database);
    const querier = new StandInQuerier(ground.nats.connection, jobs, ({ routing }) => ({
      hotkey: routing.onlyHotkey ?? 'peer',
      result: HONEST,
    }));
    const log = createLogger({ name: 'test', level: 'silent', format: 'json' });
    const auditorEnv = {
      POSTGRES_URL: ground.database.urls.auditor,
      NATS_URL: ground.nats.url,
      HTTP_PORT: '0',
      ADMIN_KEY: AUDITOR_KEY,
      ARTIFACTS_DIR: dir,
      SWEEP_MS: '50',
    };
    const registry = await bootRegistry(loadEnv(RegistryEnv, ground.env({ POLICY: 'demo' })), log);
    const auditor = await bootAuditor(loadEnv(AuditorEnv, auditorEnv), log);
    const epochs = new AuditedEpochs(ground, jobs, querier, registry, auditor, dir);
    await until(async () => (await epochs.get('/v1/epochs/current')).ok);
    for (const [hotkey, trusted] of Object.entries(MINERS)) await jobs.miner(hotkey, { trusted });
    return epochs;
  }

  get(path: string): Promise<Response> {
    return fetch(`${this.registry.url}${path}`);
  }

  ofAuditor(path: string, body?: object): Promise<Response> {
    return fetch(`${this.auditor.url}/admin/v1/${path}`, {
      method: body ? 'POST' : 'GET',
      headers: { authorization: `Bearer ${AUDITOR_KEY}`, 'content-type': 'application/json' },
      ...(body && { body: JSON.stringify(body) }),
    });
  }

  /** Until every job is in the books, every audit decided and every entry in the ledger. */
  async settled(): Promise<void> {
    await until(async () => {
      const figures = (await (await this.ofAuditor('readiness')).json()) as Record<string, number>;
      return ['untaken_jobs', 'audits_open', 'outbox_open'].every((name) => figures[name] === 0);
    });
  }

  /** Pictures, each a little slower than the one before. */
  async finish(hotkey: string, count: number, result = HONEST): Promise<void> {
    for (let n = 0; n < count; n += 1) await this.jobs.finish({ hotkey, result, netUs: 1_000_000 + 123_457 * n });
  }

  /** Resolves once the epoch's export is signed. */
  async close(epoch: number): Promise<void> {
    const reply = await fetch(`${this.registry.adminUrl}/admin/v1/epochs/close`, {
      method: 'POST',
      headers: { authorization: `Bearer ${ADMIN_KEY}` },
    });
    const answer = await reply.text();
    if (answer !== JSON.stringify({ closing: epoch, open: epoch + 1 })) throw new Error(answer);
    await until(async () => (await this.get(`/v1/exports/epoch/${epoch}/head`)).ok);
  }

  /** The database's clock runs so far ahead from now on. */
  async advance(seconds: number): Promise<void> {
    await this.ground.owner.query(
      `CREATE OR REPLACE FUNCTION studio.now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE
         AS 'SELECT statement_timestamp() + ${seconds} * interval ''1 second'''`,
    );
  }

  async end(): Promise<void> {
    await Promise.all([this.auditor.close(), this.registry.close()]);
    this.querier.close();
    await this.jobs.close();
    await this.ground.close();
    await rm(this.dir, { recursive: true });
  }
}
