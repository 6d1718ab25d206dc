/**
 * The drill of docs/operations-data.md: a system that has worked is dumped, restored into a Postgres that never saw it, with an
 * empty NATS and an empty Redis, and has to say the same as before. `npm run drill:restore` prints what it did.
 */
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { startPostgres } from '@studio/launcher/servers/postgres';
import type { RunningServer } from '@studio/launcher/servers/running-server';
import { removeData } from '@studio/launcher/servers/unprivileged-user';
import { boot as bootQuerier, type RunningQuerier } from '@studio/querier/boot';
import { ClientKeyStore } from '@studio/querier/client-key.store';
import { QuerierEnv } from '@studio/querier/env';
import { boot as bootRegistry, type RunningRegistry } from '@studio/registry/boot';
import { RegistryEnv } from '@studio/registry/env';
import type { Snapshot } from '@studio/shared/contract/scores';
import { SCORES_STREAM } from '@studio/shared/contract/subjects';
import { createDataSource } from '@studio/shared/database/data-source';
import { migrate } from '@studio/shared/database/migrate';
import { FileArtifactStore } from '@studio/shared/platform/artifacts-fs';
import { loadEnv } from '@studio/shared/platform/env';
import { createLogger } from '@studio/shared/platform/logger';
import { until } from '@studio/shared/testing/registry-ground';
import { verifyScoresCommand } from '@studio/validator/verify-scores/command';
import { Pool } from 'pg';
import { AuditedEpochs, CHEAT } from './audited-epochs';

jest.setTimeout(180_000);

const run = promisify(execFile);
const PASSWORDS = { studio_querier: 'drill', studio_auditor: 'drill', studio_registry: 'drill' };
const log = createLogger({ name: 'drill', level: 'silent', format: 'json' });

/** Where Debian puts them; the embedded server comes without. */
const PLACES = [
  ...(process.env.PATH ?? '').split(delimiter),
  '/usr/lib/postgresql/17/bin',
  '/usr/lib/postgresql/15/bin',
];
const tool = (name: string): string | undefined =>
  PLACES.map((place) => join(place, name)).find((path) => existsSync(path));
const hasTools = tool('pg_dump') !== undefined && tool('pg_restore') !== undefined;

const since = Date.now();
const say = (text: string): void =>
  void process.stdout.write(`${((Date.now() - since) / 1_000).toFixed(1).padStart(6)} s  ${text}\n`);

interface Said {
  /** Of the open epoch, which Redis keeps between requests. */
  scores: string;
  events: string;
  snapshot: Snapshot;
  exported: string;
  ledger: unknown;
  jobs: unknown;
}

const text = async (url: string): Promise<string> => (await fetch(url)).text();

async function sayings(registryUrl: string, db: Pool): Promise<Said> {
  const exported = await fetch(`${registryUrl}/v1/exports/epoch/1`);
  const bytes = Buffer.from(await exported.arrayBuffer());
  const rows = async (sql: string): Promise<unknown> => (await db.query<Record<string, unknown>>(sql)).rows;
  return {
    scores: await text(`${registryUrl}/v1/scores`),
    events: await text(`${registryUrl}/v1/scores/events?after=0&limit=1000`),
    snapshot: (await (await fetch(`${registryUrl}/v1/snapshots/1`)).json()) as Snapshot,
    exported: createHash('sha256').update(bytes).digest('hex'),
    ledger: await rows('SELECT seq, type, hotkey, job_id, points FROM studio.ledger ORDER BY seq'),
    jobs: await rows('SELECT id, state, result, accepted_attempt FROM studio.jobs ORDER BY id'),
  };
}

/** The invariants of ARCHITECTURE.md that rows alone can show. */
const BROKEN = `
  SELECT 'a success without its accepted attempt' AS broken FROM studio.jobs j
   WHERE j.state = 'succeeded' AND 1 <> (SELECT count(*) FROM studio.attempts a WHERE a.job_id = j.id AND a.state = 'accepted')
  UNION ALL SELECT 'a gap in the log' WHERE (SELECT last_seq FROM studio.score_counter) <> (SELECT count(*) FROM studio.score_events)
  UNION ALL SELECT 'an award without its draw' FROM studio.ledger l
   WHERE l.type = 'award' AND NOT EXISTS (SELECT 1 FROM studio.draws d WHERE d.job_id = l.job_id)
  UNION ALL SELECT 'a reversal without its award' FROM studio.ledger r
   WHERE r.type = 'reversal' AND NOT EXISTS (SELECT 1 FROM studio.ledger a WHERE a.job_id = r.job_id AND a.type = 'award')`;

(hasTools ? describe : describe.skip)('a backup', () => {
  let epochs: AuditedEpochs;
  let dir: string;
  let cluster: RunningServer | undefined;
  let restored: { registry: RunningRegistry; querier: RunningQuerier; db: Pool } | undefined;
  const urlSecret = randomBytes(32).toString('hex');

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'drill-'));
    epochs = await AuditedEpochs.open();
    await epochs.finish('ada', 30);
    await epochs.finish('ben', 30);
    await epochs.finish('cheat', 10, CHEAT);
    await epochs.settled();
    await epochs.close(1);
    await epochs.finish('ada', 10);
    await epochs.settled();
  });
  afterAll(async () => {
    await restored?.querier.close();
    await restored?.registry.close();
    await restored?.db.end();
    await cluster?.stop();
    await epochs.end();
    removeData(join(dir, 'postgres'));
    rmSync(dir, { recursive: true, force: true });
  });

  const serverUrl = (user: string, password?: string): string => {
    const url = new URL(cluster!.url);
    url.pathname = '/restored';
    url.username = user;
    if (password) url.password = password;
    return url.href;
  };

  /** Roles are no part of a dump: they come first, the restored rights last. */
  async function restoreInto(dump: string): Promise<string> {
    cluster = await startPostgres({ dataDir: join(dir, 'postgres'), durability: 'none', log: () => undefined });
    const server = new Pool({ connectionString: cluster.url, max: 1 });
    server.on('error', () => undefined);
    await server.query('CREATE DATABASE restored');
    for (const [role, password] of Object.entries(PASSWORDS)) {
      await server.query(`CREATE ROLE ${role} LOGIN PASSWORD '${password}'`);
    }
    await server.end();
    const owner = new URL(cluster.url);
    owner.pathname = '/restored';
    await run(tool('pg_restore')!, ['--exit-on-error', '--no-owner', '--jobs=2', `--dbname=${owner.href}`, dump]);
    await migrate(owner.href);
    return owner.href;
  }

  async function someFile(client: { clientId: string }): Promise<{ jobId: string; bytes: Buffer }> {
    const bytes = randomBytes(9_000);
    const { sha256 } = await new FileArtifactStore(epochs.dir).put(bytes, {
      contentType: 'image/png',
      maxBytes: 9_000,
    });
    const { owner } = epochs.ground;
    await owner.query(`INSERT INTO studio.artifacts (sha256, bytes, content_type) VALUES ($1, 9000, 'image/png')`, [
      sha256,
    ]);
    const [job] = (
      await owner.query<{ id: string; client_id: string }>('SELECT id, client_id FROM studio.jobs LIMIT 1')
    ).rows;
    await owner.query(`UPDATE studio.client_keys SET client_id = $1 WHERE client_id = $2`, [
      job!.client_id,
      client.clientId,
    ]);
    // A finished job never changes; the drill alone gives one of them a file that is really there.
    await owner.query('ALTER TABLE studio.jobs DISABLE TRIGGER jobs_terminal_is_final');
    await owner.query(
      `UPDATE studio.jobs SET result = jsonb_set(result, '{images,0,sha256}', to_jsonb($2::text)) WHERE id = $1`,
      [job!.id, sha256],
    );
    await owner.query('ALTER TABLE studio.jobs ENABLE TRIGGER jobs_terminal_is_final');
    return { jobId: job!.id, bytes };
  }

  async function bootOn(owner: string, artifactsDir: string): Promise<void> {
    const { ground } = epochs;
    const registryEnv = ground.env({ POLICY: 'demo', POSTGRES_URL: serverUrl('studio_registry', 'drill') });
    const registry = await bootRegistry(loadEnv(RegistryEnv, registryEnv), log);
    const querier = await bootQuerier(
      loadEnv(QuerierEnv, {
        ROLE: 'api',
        POSTGRES_URL: serverUrl('studio_querier', 'drill'),
        NATS_URL: ground.nats.url,
        REDIS_URL: ground.redis.url,
        ORCHESTRATOR_SEED: randomBytes(32).toString('hex'),
        PUBLIC_URL: 'http://studio.test',
        URL_SECRET: urlSecret,
        ARTIFACTS_DIR: artifactsDir,
      }),
      log,
    );
    const db = new Pool({ connectionString: owner, max: 1 });
    // The cluster may go before the pool's last connection does.
    db.on('error', () => undefined);
    restored = { registry, querier, db };
  }

  it('restored on empty servers says what the system said, and works on', async () => {
    const { ground } = epochs;
    const source = await createDataSource({ url: ground.database.urls.querier, name: 'key', poolSize: 1 }).initialize();
    const client = await new ClientKeyStore(source).create('drill');
    await source.destroy();
    const { jobId, bytes } = await someFile(client);
    const before = await sayings(epochs.registry.url, ground.owner);
    const lastSeq = Number(
      (await ground.owner.query<{ seq: string }>('SELECT last_seq AS seq FROM studio.score_counter')).rows[0]?.seq,
    );
    say(`the system: ${(before.jobs as unknown[]).length} jobs, a log of ${lastSeq} events, epoch 1 closed`);

    const dump = join(dir, 'studio.dump');
    await run(tool('pg_dump')!, ['--format=custom', `--file=${dump}`, ground.database.urls.owner]);
    const artifacts = join(dir, 'artifacts');
    // After the dump: every file that a row of it names is there by then.
    cpSync(epochs.dir, artifacts, { recursive: true });
    say('dumped with pg_dump, then the artifacts copied');

    const owner = await restoreInto(dump);
    say('restored with pg_restore into a new cluster, rights set by the migration');
    await ground.scores.clear();
    await ground.redis.clear();
    await bootOn(owner, artifacts);
    const { registry, querier, db } = restored!;
    const manager = await ground.scores.connection.jetstreamManager();
    await until(async () => {
      const stream = await manager.streams.info(SCORES_STREAM).catch(() => undefined);
      return stream !== undefined && stream.state.last_seq >= lastSeq;
    });
    say(`the registry published the ${lastSeq} events again into an empty stream`);

    expect(await sayings(registry.url, db)).toEqual(before);
    say('log, snapshot, signed export, ledger and jobs are the same');
    expect((await db.query(BROKEN)).rows).toEqual([]);
    say('no invariant is broken');

    const status = await verifyScoresCommand(
      [
        '--data-dir',
        join(dir, 'nothing'),
        `${registry.url}/v1/exports/epoch/1`,
        '--registry-key',
        ground.identity.address,
      ],
      { print: () => undefined, tell: () => undefined },
    );
    expect(status).toBe(0);
    say('the export recomputes to the same scores and weights');

    const answer = await fetch(`${querier.url}/v1/jobs/${jobId}/result`, {
      headers: { authorization: `Key ${client.key}` },
    });
    const { images } = (await answer.json()) as { images: { url: string }[] };
    const link = images[0]!.url.replace('http://studio.test', querier.url);
    expect(Buffer.from(await (await fetch(link)).arrayBuffer())).toEqual(bytes);
    say("a client's key opens its job, and the link in it its file");
  });
});
