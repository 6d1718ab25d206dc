import { randomUUID } from 'node:crypto';
import { v7 as uuidv7 } from 'uuid';
import type { DrawExportHeader, DrawExportRow } from '@studio/shared/contract/draws';
import { DEFAULT_POLICY } from '@studio/shared/domain/policy';
import { JOB_KINDS } from '@studio/shared/domain/task-kinds';
import { loadEnv } from '@studio/shared/platform/env';
import { createLogger } from '@studio/shared/platform/logger';
import { opensCommitment } from '@studio/shared/protocol/draws';
import { FinishedJobs } from '@studio/shared/testing/finished-jobs';
import { ADMIN_KEY, RegistryGround, until } from '@studio/shared/testing/registry-ground';
import { boot, type RunningRegistry } from './boot';
import { IN_INDEX_ORDER, PAGE } from './draw-export.store';
import { RegistryEnv } from './env';

/** Databases are made and dropped here, beside other test files. */
jest.setTimeout(60_000);

/** More than two pages. */
const PLAIN = 2_300;

let ground: RegistryGround;
let jobs: FinishedJobs;
let registry: RunningRegistry;

beforeAll(async () => {
  ground = await RegistryGround.open(fetch);
  jobs = new FinishedJobs(ground.database);
  await ground.auditor.commit(1, 2, 3, 4);
  registry = await boot(
    loadEnv(RegistryEnv, ground.env()),
    createLogger({ name: 'registry', level: 'silent', format: 'line' }),
  );
  await until(async () => (await get('/v1/epochs/current')).ok);
});

afterAll(async () => {
  await registry.close();
  await jobs.close();
  await ground.close();
});

const get = (path: string): Promise<Response> => fetch(`${registry.url}${path}`);

async function query<T>(sql: string, values: unknown[] = []): Promise<T[]> {
  return (await ground.owner.query(sql, values)).rows as T[];
}

async function linesOf(path: string): Promise<{ header: DrawExportHeader; rows: DrawExportRow[] }> {
  const reply = await get(path);
  expect([reply.status, reply.headers.get('content-type')]).toEqual([200, 'application/x-ndjson']);
  const lines = (await reply.text()).split('\n');
  expect(lines.pop()).toBe('');
  const [header, ...rows] = lines.map((line) => JSON.parse(line) as unknown);
  return { header: header as DrawExportHeader, rows: rows as DrawExportRow[] };
}

interface PlanNode {
  'Node Type': string;
  'Relation Name'?: string;
  Plans?: PlanNode[];
}

const nodesOf = (node: PlanNode): PlanNode[] => [node, ...(node.Plans ?? []).flatMap(nodesOf)];

interface SomeDraw {
  jobId?: string;
  hotkey?: string;
  awarded?: boolean;
  drawable?: boolean;
  drawn?: boolean;
}

/** @returns the job's id. */
async function draw({
  jobId = uuidv7(),
  hotkey = 'miner-a',
  awarded = true,
  drawable = true,
  drawn = true,
}: SomeDraw = {}) {
  const record = { hotkey, kind: 'lora-training', jobsSeen: 7, audits: 3, passes: 2, cusum: 3.8617 };
  await query(
    `INSERT INTO studio.draws (job_id, attempt_no, hotkey, operator, kind, engine, epoch, policy_version, latency_us, points,
                               award_id, q, u, record, drawn, finished_at)
     VALUES ($1, 2, $2, 'op', 'lora-training', 'ref-sep-v1',
             (SELECT epoch FROM studio.epochs WHERE state = 'open'), ${DEFAULT_POLICY.version}, 1234567, 650000,
             $3, $4, $5, $6, $7, '2026-02-03T04:05:06.000007Z')`,
    [
      jobId,
      hotkey,
      awarded ? randomUUID() : null,
      drawable ? 0.1 : null,
      drawable ? '18446744073709551615' : null,
      drawable ? record : null,
      drawn && drawable,
    ],
  );
  return jobId;
}

interface SomeAudit {
  why?: string;
  outcome?: string;
  round?: number;
  decided?: boolean;
}

/** @returns the audit's id. */
async function audit(jobId: string, { why = 'draw', outcome = 'valid', round = 1, decided = true }: SomeAudit = {}) {
  const id = uuidv7();
  await query(
    `INSERT INTO studio.audits (id, job_id, round, hotkey, operator, kind, engine, epoch, why, state, due_at)
     SELECT $1, job_id, $3, hotkey, operator, kind, engine, epoch, $4, $5, studio.now() FROM studio.draws WHERE job_id = $2`,
    [id, jobId, round, why, decided ? 'decided' : 'waiting'],
  );
  if (decided) await decide(id, outcome);
  return id;
}

async function decide(auditId: string, outcome: string): Promise<void> {
  await query(
    `INSERT INTO studio.verdicts (audit_id, job_id, attempt_no, hotkey, kind, epoch, decided_in, outcome, reason, evidence)
     SELECT id, job_id, 2, hotkey, kind, epoch, epoch, $2, 'because', '{}' FROM studio.audits WHERE id = $1`,
    [auditId, outcome],
  );
}

/** A replay by a peer, as the querier and the auditor leave it behind. @returns its job. */
async function replay(auditId: string, ordinal: number, named: boolean): Promise<string> {
  const requestKey = randomUUID();
  const jobId = await jobs.finish({ hotkey: 'peer', requestKey });
  await query(
    `INSERT INTO studio.audit_replays (audit_id, ordinal, judge, request_key, routing, job_id)
     VALUES ($1, $2, 'peer', $3, '{}', $4)`,
    [auditId, ordinal, requestKey, named ? jobId : null],
  );
  return draw({ jobId, hotkey: 'peer', drawable: false });
}

async function close(epoch: number): Promise<void> {
  const reply = await fetch(`${registry.adminUrl}/admin/v1/epochs/close`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ADMIN_KEY}` },
  });
  expect(await reply.json()).toEqual({ closing: epoch, open: epoch + 1 });
}

async function settle(epoch: number): Promise<void> {
  await ground.auditor.settle(epoch);
  await until(async () => (await get(`/v1/snapshots/${epoch}`)).ok);
}

describe('the draws of an epoch', () => {
  const plain: string[] = [];
  const known: Record<string, string> = {};

  it('are refused until it is closed, and of an epoch that there is not', async () => {
    const refusal = async (epoch: number | string) => {
      const reply = await get(`/v1/epochs/${epoch}/draws`);
      return { status: reply.status, ...((await reply.json()) as { error: { code: string; message: string } }).error };
    };
    for (let n = 0; n < PLAIN; n += 500) {
      const added = await query<{ job_id: string }>(
        `INSERT INTO studio.draws (job_id, attempt_no, hotkey, operator, kind, engine, epoch, policy_version, latency_us,
                                   points, award_id, drawn, finished_at)
         SELECT gen_random_uuid(), 1, 'miner-b', 'op', 'lora-inference', 'ref-sep-v1', 1, ${DEFAULT_POLICY.version}, 1, 1,
                gen_random_uuid(), false, studio.now() FROM generate_series(1, $1) RETURNING job_id`,
        [Math.min(500, PLAIN - n)],
      );
      plain.push(...added.map((row) => row.job_id));
    }
    known.audited = await draw();
    const target = await audit(known.audited);
    known.floor = await draw({ drawn: false });
    await audit(known.floor, { why: 'floor', outcome: 'inconclusive' });
    await audit(known.floor, { why: 'appeal', round: 2 });
    known.canary = await draw({ drawn: false });
    await audit(known.canary, { why: 'canary' });
    known.replay = await replay(target, 1, true);
    known.lostReply = await replay(target, 2, false);
    await audit(known.lostReply, { why: 'replica', outcome: 'invalid' });
    known.reference = await draw({ hotkey: 'reference', awarded: false, drawable: false });
    known.late = await draw({ drawn: false });
    const late = await audit(known.late, { why: 'copy', decided: false });
    await query(
      `INSERT INTO studio.quarantines (id, hotkey, kind, from_epoch, until_epoch, reason)
       SELECT gen_random_uuid(), 'miner-a', kind, 1, 21, 'CUSUM' FROM unnest($1::text[]) kind`,
      [JOB_KINDS],
    );

    expect(await refusal(1)).toMatchObject({
      status: 409,
      code: 'NOT_FINISHED',
      message: expect.stringContaining('is open'),
    });
    await close(1);
    expect(await refusal(1)).toMatchObject({ status: 409, message: expect.stringContaining('epoch 1 is closing') });
    expect(await refusal(9)).toMatchObject({
      status: 404,
      code: 'NOT_FOUND',
      message: expect.stringContaining('no epoch 9'),
    });
    expect(await refusal('last')).toMatchObject({ status: 422, code: 'INVALID_INPUT' });
    await settle(1);
    await decide(late, 'invalid');
    await audit(known.audited, { why: 'appeal', round: 2, outcome: 'invalid' });
  });

  it('begin with what they were drawn by, and how many there are', async () => {
    const { header, rows } = await linesOf('/v1/epochs/1/draws');
    const snapshot = (await (await get('/v1/snapshots/1')).json()) as { draw: object };
    expect(header).toMatchObject({ epoch: 1, policy: DEFAULT_POLICY, rows: PLAIN + 6, ...snapshot.draw });
    expect(opensCommitment(header.secret, header.commitment)).toBe(true);
    expect(rows).toHaveLength(header.rows);
  });

  it('are all there once, in the order of job ids, those of references left out', async () => {
    const { rows } = await linesOf('/v1/epochs/1/draws');
    const { reference, ...exported } = known;
    const ids = [...plain, ...Object.values(exported)].sort();
    expect(rows.map((row) => row.job_id)).toEqual(ids);
    expect(ids).not.toContain(reference);
  });

  it('go on after any job, with the same header', async () => {
    const { header, rows } = await linesOf('/v1/epochs/1/draws');
    for (const at of [0, 999, 1_000, PLAIN, rows.length - 1]) {
      const rest = await linesOf(`/v1/epochs/1/draws?after=${rows[at]!.job_id}`);
      expect(rest.header).toEqual(header);
      expect(rest.rows).toEqual(rows.slice(at + 1));
    }
    const reply = await get('/v1/epochs/1/draws?after=yesterday');
    expect([reply.status, await reply.json()]).toMatchObject([422, { error: { fields: [{ path: 'after' }] } }]);
  });

  it('are read page by page along the index, also where no statistics are', async () => {
    const reader = await ground.owner.connect();
    await reader.query(`BEGIN; SELECT ${IN_INDEX_ORDER}`);
    const values = [1, '80000000-0000-0000-0000-000000000000', new Date().toISOString(), 100];
    const { rows } = await reader.query<Record<string, [{ Plan: PlanNode }]>>(
      `EXPLAIN (ANALYZE, FORMAT JSON) ${PAGE}`,
      values,
    );
    await reader.query('COMMIT');
    reader.release();
    const scans = nodesOf(rows[0]!['QUERY PLAN']![0].Plan).filter((node) => node['Relation Name'] !== undefined);
    expect(scans.map((node) => node['Node Type'])).not.toContain('Seq Scan');
    expect(scans.find((node) => node['Relation Name'] === 'draws')).toMatchObject({
      'Node Type': 'Index Scan',
      'Index Name': 'draws_of_epoch',
      'Actual Rows': 100,
    });
  });

  it('say everything that they were decided from, to the last digit', async () => {
    const { rows } = await linesOf('/v1/epochs/1/draws');
    expect(rows.find((row) => row.job_id === known.audited)).toEqual({
      job_id: known.audited,
      hotkey: 'miner-a',
      kind: 'lora-training',
      engine: 'ref-sep-v1',
      attempt: 2,
      points: '650000',
      latency_us: 1_234_567,
      policy_version: DEFAULT_POLICY.version,
      q: 0.1,
      u: '18446744073709551615',
      record: { jobs_seen: 7, audits: 3, passes: 2, cusum: 3.8617 },
      drawn: true,
      audited: 'draw',
      outcome: 'valid',
      replay_of: null,
      finished_at: '2026-02-03T04:05:06.000007Z',
      taken_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/) as string,
    });
  });

  it('say why each was audited and what came of it, until the secret was revealed and not later', async () => {
    const { rows } = await linesOf('/v1/epochs/1/draws');
    const told = Object.entries(known).map(([name, id]) => {
      const row = rows.find((one) => one.job_id === id);
      return [name, row && [row.audited, row.outcome]];
    });
    expect(Object.fromEntries(told)).toEqual({
      audited: ['draw', 'valid'],
      floor: ['floor', 'inconclusive'],
      canary: ['canary', 'valid'],
      replay: [null, null],
      lostReply: ['replica', 'invalid'],
      reference: undefined,
      late: [null, null],
    });
  });

  it('name the job that a replay replayed, also where the reply that named its own was lost', async () => {
    const { rows } = await linesOf('/v1/epochs/1/draws');
    const of = (id: string | undefined) => rows.find((row) => row.job_id === id);
    expect([of(known.replay)?.replay_of, of(known.lostReply)?.replay_of]).toEqual([known.audited, known.audited]);
    expect(of(known.replay)).toMatchObject({ q: null, u: null, record: null, drawn: false });
  });

  it('name when records were rewritten while the epoch was open, both kinds once', async () => {
    const { header } = await linesOf('/v1/epochs/1/draws');
    expect(header.rewrites.map(({ hotkey, why }) => [hotkey, why])).toEqual([['miner-a', 'quarantine']]);
    // The correction comes in epoch 2, whose export names it.
    await query(
      `INSERT INTO studio.corrections (job_id, audit_id, hotkey, kind, cause, cause_id, reason)
       SELECT job_id, id, 'peer', kind, 'appeal', id, 'right' FROM studio.audits WHERE why = 'replica'`,
    );
    await close(2);
    await settle(2);
    const [first, second] = [await linesOf('/v1/epochs/1/draws'), await linesOf('/v1/epochs/2/draws')];
    expect(first.header).toEqual(header);
    expect(second.header.rewrites).toContainEqual({
      hotkey: 'peer',
      at: expect.any(String) as string,
      why: 'correction',
    });
    expect(second).toMatchObject({ header: { rows: 0 }, rows: [] });
  });
});
