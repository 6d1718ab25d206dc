import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { HOUSE_CLIENT_ID } from '@studio/shared/contract/submit-job';
import { createDataSource } from '@studio/shared/database/data-source';
import { FileArtifactStore } from '@studio/shared/platform/artifacts-fs';
import { createDatabase, type TestDatabase } from '@studio/shared/testing/postgres';
import fc from 'fast-check';
import type { DataSource } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { ArtifactRows } from '../artifact.store';
import { JobStore } from '../job.store';
import { GarbageStore } from './garbage.store';
import { JobArchiveStore, type ArchivedJob } from './job-archive.store';
import { Retention } from './retention';

jest.setTimeout(90_000);

const DAY_MS = 24 * 3_600_000;
const KEEP_DAYS = 10;
const CLIENT = randomUUID();
const TABLES = [
  'attempts',
  'webhooks',
  'jobs',
  'archived_jobs',
  'job_archives',
  'artifacts',
  'upload_slots',
  'verdicts',
  'audits',
];
const hashOf = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

let database: TestDatabase;
let owner: DataSource;
let db: DataSource;
let root: string;
let files: FileArtifactStore;
let rows: ArtifactRows;
/** Days that the world is ahead of the clock. */
let ahead = 0;
let epoch = 1;

const nowMs = (): number => Date.now() + ahead * DAY_MS;

beforeAll(async () => {
  database = await createDatabase();
  owner = await createDataSource({ url: database.urls.owner, name: 'owner', poolSize: 1 }).initialize();
  db = await createDataSource({ url: database.urls.querier, name: 'querier', poolSize: 3 }).initialize();
  await owner.query(`INSERT INTO studio.policies (version, body) VALUES (1, '{"finalityEpochs": 2}')`);
});
afterAll(async () => {
  await Promise.all([owner.destroy(), db.destroy()]);
  await database.drop();
});
beforeEach(begin);
afterEach(() => rm(root, { recursive: true }));

async function begin(): Promise<void> {
  root = await mkdtemp(join(tmpdir(), 'retention-'));
  files = new FileArtifactStore(root);
  rows = new ArtifactRows(db, nowMs);
  epoch = 1;
  ahead = 0;
  await owner.query(`TRUNCATE ${[...TABLES, 'draws', 'epochs'].map((table) => `studio.${table}`).join(', ')} CASCADE`);
  await owner.query(`INSERT INTO studio.epochs (epoch, policy_version, commitment) VALUES (1, 1, 'c')`);
  await advance(0, 0);
}

/** Days pass, and so many epochs close. */
async function advance(days: number, epochs: number): Promise<void> {
  ahead += days;
  await owner.query(`CREATE OR REPLACE FUNCTION studio.now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE
    AS 'SELECT statement_timestamp() + interval ''${ahead} days'''`);
  for (let n = 0; n < epochs; n++) {
    await owner.query(`UPDATE studio.epochs SET state = 'closed', closed_at = studio.now() WHERE epoch = $1`, [epoch]);
    epoch += 1;
    await owner.query(`INSERT INTO studio.epochs (epoch, policy_version, commitment) VALUES ($1, 1, 'c')`, [epoch]);
  }
}

async function store(bytes: Buffer): Promise<string> {
  const { sha256 } = await files.put(bytes, { contentType: 'image/png', maxBytes: 1_000 });
  await rows.add({ sha256, bytes: bytes.byteLength, contentType: 'image/png', facts: {} });
  return sha256;
}

interface Made {
  id: string;
  kind: 'lora-training' | 'lora-inference';
}

/** Undefined when the file that it names is gone: the submit is refused. */
async function submit(kind: Made['kind'], sha256: string, key: string | null = null): Promise<Made | undefined> {
  if (!(await rows.use(sha256))) return undefined;
  const id = uuidv7({ msecs: nowMs() });
  const input = kind === 'lora-training' ? { image: { sha256 } } : { lora: { sha256 } };
  await db.query(
    `INSERT INTO studio.jobs (id, client_id, idempotency_key, request_hash, kind, engine, input, timeout_ms, deadline_at)
     VALUES ($1, $2, $3, '\\x00', $4, 'ref-sep-v1', $5, 1234, studio.now() + interval '1 hour')`,
    [id, key === null ? CLIENT : HOUSE_CLIENT_ID, key, kind, JSON.stringify(input)],
  );
  return { id, kind };
}

async function finish({ id, kind }: Made, result: string, filed = true): Promise<void> {
  await db.query(
    `INSERT INTO studio.attempts (job_id, attempt_no, hotkey, operator, kind, engine, state, lease_no, callback_hash, finished_at)
     VALUES ($1, 1, 'h', 'o', $2, 'ref-sep-v1', 'accepted', 1, '\\x01', studio.now())`,
    [id, kind],
  );
  const body = kind === 'lora-training' ? { lora: { sha256: result } } : { images: [{ sha256: result }] };
  await db.query(
    `UPDATE studio.jobs SET state = 'succeeded', finished_at = studio.now(), result = $2, accepted_attempt = 1 WHERE id = $1`,
    [id, JSON.stringify(body)],
  );
  if (filed) {
    await owner.query(
      `INSERT INTO studio.draws (job_id, attempt_no, hotkey, operator, kind, engine, epoch, policy_version, latency_us, points,
                                 drawn, finished_at)
       VALUES ($1, 1, 'h', 'o', $2, 'ref-sep-v1', $3, 1, 1, 1, false, studio.now())`,
      [id, kind, epoch],
    );
  }
}

async function audit({ id, kind }: Made, outcome?: 'valid' | 'invalid'): Promise<string> {
  const auditId = randomUUID();
  await owner.query(
    `INSERT INTO studio.audits (id, job_id, hotkey, operator, kind, engine, epoch, why, state, due_at)
     VALUES ($1, $2, 'h', 'o', $3, 'ref-sep-v1', 1, 'draw', $4, studio.now())`,
    [auditId, id, kind, outcome ? 'decided' : 'waiting'],
  );
  if (outcome) {
    await owner.query(
      `INSERT INTO studio.verdicts (audit_id, job_id, attempt_no, hotkey, kind, epoch, decided_in, outcome, reason, evidence)
       VALUES ($1, $2, 1, 'h', $3, 1, 1, $4, 'r', '{}')`,
      [auditId, id, kind, outcome],
    );
  }
  return auditId;
}

const retention = (artifacts = files, batch = 3): Retention =>
  new Retention(new JobArchiveStore(db), new GarbageStore(db), artifacts, {
    keepMs: KEEP_DAYS * DAY_MS,
    slotSeconds: 3_600,
    nowMs,
    batch,
    prefixDigits: 0,
  });

/** Until nothing waits; the last run looks at the files. */
async function sweep(): Promise<void> {
  const one = retention();
  while (await one.run());
}

const isThere = async (id: string): Promise<boolean> =>
  (await db.query<unknown[]>('SELECT 1 FROM studio.jobs WHERE id = $1', [id])).length > 0;

async function archived(id: string): Promise<ArchivedJob | undefined> {
  const [found] = await db.query<{ sha256: string }[]>(
    `SELECT f.sha256 FROM studio.archived_jobs j JOIN studio.job_archives f ON f.id = j.archive WHERE j.id = $1`,
    [id],
  );
  if (!found) return undefined;
  const text = gunzipSync((await files.read(found.sha256))!).toString();
  const lines = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as ArchivedJob);
  return lines.find(({ job }) => job.id === id);
}

async function finishedJob(kind: Made['kind'] = 'lora-inference', filed = true): Promise<Made> {
  const job = (await submit(kind, await store(randomBytes(20))))!;
  await finish(job, await store(randomBytes(20)), filed);
  return job;
}

describe('old jobs', () => {
  it('go to a file as the rows they were, and are gone for their client', async () => {
    const job = await finishedJob();
    const before = await db.query(`SELECT * FROM studio.jobs WHERE id = $1`, [job.id]);
    await advance(KEEP_DAYS + 1, 3);
    await sweep();
    expect(await isThere(job.id)).toBe(false);
    const line = await archived(job.id);
    expect(line?.attempts).toHaveLength(1);
    const again = await db.query('SELECT r.* FROM jsonb_populate_record(NULL::studio.jobs, $1) AS r', [line?.job]);
    expect(again).toEqual(before);
    const jobs = new JobStore(db, () => undefined);
    await expect(jobs.find(CLIENT, job.id)).rejects.toMatchObject({ code: 'JOB_ARCHIVED', status: 410 });
    expect(await jobs.find(randomUUID(), job.id)).toBeUndefined();
    const facts = await db.query('SELECT timeout_ms FROM studio.job_facts WHERE id = $1', [job.id]);
    expect(facts).toEqual([{ timeout_ms: 1234 }]);
  });

  it('stay while they are younger, not finished, not filed, or their award can be reversed', async () => {
    const running = (await submit('lora-inference', await store(randomBytes(20))))!;
    const unfiled = await finishedJob('lora-inference', false);
    const reversible = await finishedJob();
    await advance(KEEP_DAYS + 1, 2);
    const young = await finishedJob();
    await sweep();
    for (const job of [running, unfiled, reversible, young]) expect(await isThere(job.id)).toBe(true);
    await advance(0, 1);
    await sweep();
    expect(await isThere(reversible.id)).toBe(false);
    for (const job of [running, unfiled, young]) expect(await isThere(job.id)).toBe(true);
  });

  it('stay while their audit may be repeated, and so do its replays', async () => {
    const [open, invalid, valid, training] = [
      await finishedJob(),
      await finishedJob(),
      await finishedJob(),
      await finishedJob('lora-training'),
    ];
    await audit(open);
    await audit(valid, 'valid');
    const auditId = await audit(invalid, 'invalid');
    const key = randomUUID();
    const replay = (await submit('lora-inference', await store(randomBytes(20)), key))!;
    await finish(replay, await store(randomBytes(20)));
    await owner.query(
      `INSERT INTO studio.audit_replays (audit_id, ordinal, judge, request_key, routing) VALUES ($1, 1, 'trusted', $2, '{}')`,
      [auditId, key],
    );
    await owner.query(
      `INSERT INTO studio.adapters (job_id, hotkey, engine, image_hash, lora_sha256) VALUES ($1, 'h', 'ref-sep-v1', 'i', 'l')`,
      [training.id],
    );
    await advance(KEEP_DAYS + 1, 3);
    await sweep();
    for (const job of [open, invalid, replay, training]) expect(await isThere(job.id)).toBe(true);
    expect(await isThere(valid.id)).toBe(false);
    await owner.query(
      `INSERT INTO studio.corrections (job_id, audit_id, hotkey, kind, cause, cause_id, reason)
       VALUES ($1, $2, 'h', 'lora-inference', 'amnesty', $2, 'r')`,
      [invalid.id, auditId],
    );
    await owner.query('UPDATE studio.adapters SET checked_at = studio.now()');
    await sweep();
    for (const job of [invalid, replay, training]) expect(await isThere(job.id)).toBe(false);
    await owner.query('TRUNCATE studio.corrections, studio.adapters');
  });

  it('stay while their webhook is tried, and take it with them afterwards', async () => {
    const job = await finishedJob();
    await db.query(
      `INSERT INTO studio.webhooks (job_id, client_id, url, form, state, next_at)
       VALUES ($1, $2, 'https://client.example/', 'v1', 'pending', studio.now())`,
      [job.id, CLIENT],
    );
    await advance(KEEP_DAYS + 2, 4);
    await sweep();
    expect(await isThere(job.id)).toBe(true);
    await db.query(`UPDATE studio.webhooks SET state = 'dead', next_at = NULL, ended_at = studio.now()`);
    await sweep();
    expect(await isThere(job.id)).toBe(false);
    expect(await db.query('SELECT 1 FROM studio.webhooks')).toEqual([]);
  });

  it('are all still there when the process ends before they are deleted, and go to the same file then', async () => {
    const job = await finishedJob();
    await advance(KEEP_DAYS + 1, 3);
    const written: string[] = [];
    const dying = Object.create(files) as FileArtifactStore;
    dying.put = async (...put: Parameters<FileArtifactStore['put']>) => {
      written.push((await files.put(...put)).sha256);
      throw new Error('killed');
    };
    await expect(retention(dying).run()).rejects.toThrow('killed');
    expect(await isThere(job.id)).toBe(true);
    await sweep();
    expect((await archived(job.id))?.job.id).toBe(job.id);
    const named = await db.query('SELECT sha256 FROM studio.job_archives');
    expect(named).toEqual([{ sha256: written[0] }]);
  });

  it('are left to one replica at a time', async () => {
    await finishedJob();
    await advance(KEEP_DAYS + 1, 3);
    const other = await createDataSource({ url: database.urls.querier, name: 'other', poolSize: 2 }).initialize();
    const from = { keepMs: KEEP_DAYS * DAY_MS, after: '00000000-0000-0000-0000-000000000000', limit: 1 };
    const take = () => new JobArchiveStore(other).archive(from, () => Promise.reject(new Error('written')));
    await new GarbageStore(db).alone(async () => expect(await take()).toBeUndefined());
    await expect(take()).rejects.toThrow('written');
    await other.destroy();
  });
});

describe('files', () => {
  it('of archived jobs go, those that a newer job names stay', async () => {
    const photograph = await store(randomBytes(20));
    const training = (await submit('lora-training', photograph))!;
    const lora = await store(randomBytes(20));
    await finish(training, lora);
    const picture = await store(randomBytes(20));
    await finish((await submit('lora-inference', lora))!, picture);
    await advance(KEEP_DAYS + 2, 3);
    const render = (await submit('lora-inference', lora))!;
    await sweep();
    expect(await files.has(picture)).toBe(false);
    expect(await files.has(lora)).toBe(true);
    // The rules against copies ask which photograph a LoRA in use was trained on.
    expect([await isThere(training.id), await files.has(photograph)]).toEqual([true, true]);
    await finish(render, await store(randomBytes(20)));
    await advance(KEEP_DAYS + 2, 3);
    await sweep();
    expect([await files.has(lora), await files.has(photograph)]).toEqual([false, false]);
  });

  it('that were put but never named go after a day', async () => {
    const bytes = randomBytes(20);
    const { sha256 } = await files.put(bytes, { contentType: 'x', maxBytes: 100 });
    await sweep();
    expect(await files.has(sha256)).toBe(true);
    await advance(2, 0);
    await sweep();
    expect(await files.has(sha256)).toBe(false);
  });

  it('of uploads stay while their places live', async () => {
    const part = (await files.put(randomBytes(20), { contentType: 'x', maxBytes: 100 })).sha256;
    await db.query(`INSERT INTO studio.upload_slots (writing, reading, client_id) VALUES ('\\x01', '\\x02', $1)`, [
      CLIENT,
    ]);
    await db.query(`INSERT INTO studio.upload_parts (writing, part, sha256, bytes) VALUES ('\\x01', 1, $1, 20)`, [
      part,
    ]);
    ahead += 2; // for the files alone: the place is young
    await sweep();
    expect(await files.has(part)).toBe(true);
    await advance(0, 0);
    await sweep();
    expect(await db.query('SELECT 1 FROM studio.upload_slots')).toEqual([]);
    expect(await files.has(part)).toBe(false);
  });
});

/** What may happen, in any order. Numbers choose among what there is. */
const event = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('submit' as const), on: fc.nat(), fresh: fc.boolean() }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('finish' as const), on: fc.nat(), fresh: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('audit' as const), on: fc.nat(), fresh: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('wait' as const), on: fc.nat(14), fresh: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('sweep' as const), on: fc.nat(), fresh: fc.boolean() }) },
);

describe('whatever happens in whatever order', () => {
  const pool = Array.from({ length: 6 }, (_, n) => Buffer.from(`file ${n}`));

  async function play(events: { do: string; on: number; fresh: boolean }[]): Promise<void> {
    const [open, ended, all]: Made[][] = [[], [], []];
    const held = new Set<string>();
    for (const { do: what, on, fresh } of events) {
      const bytes = fresh ? randomBytes(12) : pool[on % pool.length]!;
      if (what === 'submit') {
        // A LoRA is named by its hash alone, a photograph is sent anew.
        const kind = on % 2 ? 'lora-training' : 'lora-inference';
        const made = await submit(kind, kind === 'lora-training' || fresh ? await store(bytes) : hashOf(bytes));
        if (made) [open, all].forEach((list) => list!.push(made));
      } else if (what === 'finish' && open!.length > 0) {
        const [job] = open!.splice(on % open!.length, 1);
        await finish(job!, await store(bytes));
        ended!.push(job!);
      } else if (what === 'audit' && ended!.length > 0) {
        const job = ended![on % ended!.length]!;
        if (held.has(job.id) || !(await isThere(job.id))) continue;
        held.add(job.id);
        await audit(job, fresh ? 'invalid' : undefined);
      } else if (what === 'wait') await advance(on, 1);
      else if (what === 'sweep') {
        await sweep();
        await nothingIsMissing(all!, held);
      }
    }
  }

  /** By its own reading of the rows: nothing of the statements under test. */
  async function nothingIsMissing(all: Made[], held: ReadonlySet<string>): Promise<void> {
    const jobs = await db.query<{ id: string; input: object; result: object | null }[]>(
      'SELECT id, input, result FROM studio.jobs',
    );
    for (const { input, result } of jobs) {
      const named = JSON.stringify([input, result]).match(/[0-9a-f]{64}/g) ?? [];
      for (const sha256 of named) {
        if (!(await files.has(sha256))) throw new Error(`a file of a living job is gone`);
        if (!(await rows.find(sha256))) throw new Error(`the row of a living job's file is gone`);
      }
    }
    const there = new Set(jobs.map(({ id }) => id));
    for (const id of held) if (!there.has(id)) throw new Error('a job with an open case is gone');
    for (const { id } of all) {
      if (!there.has(id) && (await archived(id))?.job.id !== id) throw new Error('a job is in no table and no archive');
    }
  }

  it('no living job, upload or open case misses anything, and no job is lost', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(event, { minLength: 10, maxLength: 40 }), async (events) => {
        await rm(root, { recursive: true, force: true });
        await begin();
        await play([...events, { do: 'wait', on: 13, fresh: true }, { do: 'sweep', on: 0, fresh: true }]);
      }),
      { numRuns: 12 },
    );
  });
});
