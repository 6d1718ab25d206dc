import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import type { AuditsReply } from './admin.controller';
import { loadEnv } from '@studio/shared/platform/env';
import { createLogger } from '@studio/shared/platform/logger';
import { TEST_POLICY, openAuditGround, type AuditGround } from '@studio/shared/testing/audit-ground';
import { imageResult } from '@studio/shared/testing/finished-jobs';
import { StandInQuerier, StandInRegistry } from '@studio/shared/testing/stand-ins';
import { boot, type RunningAuditor } from './boot';
import { AuditorEnv } from './env';

/** Databases are made and dropped here, beside other test files. */
jest.setTimeout(60_000);

const HONEST = imageResult('a'.repeat(64));
const CHEAT = imageResult('b'.repeat(64));
const KEY = randomBytes(32).toString('hex');

/** Two whole auditors beside each other, as in production; the querier and the registry are stand-ins. */
describe('two running auditors', () => {
  let ground: AuditGround;
  let querier: StandInQuerier;
  let registry: StandInRegistry;
  let auditors: RunningAuditor[];
  const get = (path: string, key = KEY): Promise<Response> =>
    fetch(`${auditors[0]?.url}${path}`, { headers: { authorization: `Bearer ${key}` } });
  const until = async (what: () => Promise<boolean>): Promise<void> => {
    while (!(await what())) await new Promise((resolve) => setTimeout(resolve, 50));
  };
  const exists = async (sql: string): Promise<boolean> => (await ground.query(sql)).length > 0;

  beforeAll(async () => {
    ground = await openAuditGround();
    querier = new StandInQuerier(ground.nats, ground.jobs, ({ routing }) => ({
      hotkey: routing.onlyHotkey ?? 'peer',
      result: HONEST,
    }));
    registry = new StandInRegistry(ground.nats, ground.jobs);
    const env = loadEnv(AuditorEnv, {
      POSTGRES_URL: ground.url,
      NATS_URL: ground.natsUrl,
      HTTP_PORT: '0',
      ADMIN_KEY: KEY,
      ARTIFACTS_DIR: tmpdir(),
    });
    const log = createLogger({ name: 'auditor', level: 'silent', format: 'json' });
    auditors = await Promise.all([boot(env, log), boot(env, log)]);
    await until(() => exists('SELECT 1 FROM studio.draw_commitments WHERE epoch = 3'));
    await ground.jobs.policy(TEST_POLICY);
    await ground.jobs.openEpoch(1, TEST_POLICY);
    await ground.jobs.miner('reference', { trusted: true });
    await ground.jobs.miner('peer');
  });
  afterAll(async () => {
    await Promise.all(auditors.map((auditor) => auditor.close()));
    querier.close();
    registry.close();
    await ground.close();
  });

  it('take every job from its end to a settled epoch without a single hint, each once', async () => {
    const jobs: string[] = [];
    for (let n = 0; n < 20; n += 1) jobs.push(await ground.jobs.finish({ hotkey: `honest-${n % 4}`, result: HONEST }));
    const bad = await ground.jobs.finish({ hotkey: 'cheat', result: CHEAT });
    await until(async () => {
      const { untaken_jobs, audits_open, outbox_open } = (await (await get('/admin/v1/readiness')).json()) as {
        [figure: string]: number;
      };
      return untaken_jobs === 0 && audits_open === 0 && outbox_open === 0;
    });
    expect(await exists(`SELECT 1 FROM studio.ledger WHERE type = 'reversal'`)).toBe(false);
    await ground.jobs.closeEpoch(1, TEST_POLICY);
    await until(() => exists('SELECT 1 FROM studio.settlements WHERE epoch = 1'));
    const awards = await ground.query<{ job_id: string }>(
      `SELECT job_id FROM studio.ledger WHERE type = 'award' AND job_id = ANY($1::uuid[])`,
      [[...jobs, bad]],
    );
    expect(awards).toHaveLength(21);
    const reversals = await ground.query<{ job_id: string }>(
      `SELECT job_id FROM studio.ledger WHERE type = 'reversal'`,
    );
    expect(reversals).toEqual([{ job_id: bad }]);
  });

  it('shows operators the audits of an epoch with verdict, reason and evidence', async () => {
    const { audits } = (await (await get('/admin/v1/audits?epoch=1')).json()) as AuditsReply;
    const bad = audits.find(({ hotkey }) => hotkey === 'cheat');
    expect(bad).toMatchObject({ kind: 'lora-inference', why: 'draw', state: 'decided', outcome: 'invalid' });
    expect(bad?.reason).toContain('confirmed by');
    expect(bad?.evidence?.replays).toHaveLength(2);
    const paged = (await (await get(`/admin/v1/audits?limit=1&after=${audits[0]?.id}`)).json()) as AuditsReply;
    expect(paged.audits.map(({ id }) => id)).toEqual([audits[1]?.id]);
    expect(((await (await get('/admin/v1/audits?epoch=9')).json()) as AuditsReply).audits).toEqual([]);
  });

  it('grant an amnesty on an operator’s word: first counted only, then carried out and sent to the ledger', async () => {
    const post = (body: object, key = KEY): Promise<Response> =>
      fetch(`${auditors[1]?.url}/admin/v1/amnesties`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
    const amnesty = {
      from: '2000-01-01T00:00:00Z',
      until: '2100-01-01T00:00:00Z',
      reason: 'the reference had bad memory',
    };
    expect((await post(amnesty, 'wrong')).status).toBe(401);
    const local = await post({ ...amnesty, from: '2000-01-01T00:00:00' });
    expect(local.status).toBe(422);
    expect(await local.json()).toMatchObject({ error: { fields: [{ path: 'from', message: expect.stringMatching(/Z or an offset/) as string }] } }); // prettier-ignore
    expect((await post({ ...amnesty, until: '1999-01-01T00:00:00Z' })).status).toBe(422);
    const tried = await post({ ...amnesty, dry_run: true });
    expect(await tried.json()).toMatchObject({ id: null, verdicts: 1, miners: 1, restorations: 1 });
    expect(await exists('SELECT 1 FROM studio.amnesties')).toBe(false);
    expect(await (await post(amnesty)).json()).toMatchObject({ id: expect.any(String) as string, verdicts: 1 });
    await until(() => exists(`SELECT 1 FROM studio.ledger WHERE type = 'restoration' AND hotkey = 'cheat'`));
    const { audits } = (await (await get('/admin/v1/audits?epoch=1')).json()) as AuditsReply;
    expect(audits.find(({ hotkey }) => hotkey === 'cheat')).toMatchObject({
      outcome: 'invalid',
      corrected: { cause: 'amnesty', reason: amnesty.reason },
    });
  });

  it('refuse a wrong key and a wrong question, naming the field', async () => {
    expect((await get('/admin/v1/audits', 'wrong')).status).toBe(401);
    expect((await fetch(`${auditors[0]?.url}/admin/v1/readiness`)).status).toBe(401);
    const reply = await get('/admin/v1/audits?epoch=soon');
    expect(reply.status).toBe(422);
    expect(await reply.json()).toMatchObject({ error: { code: 'INVALID_INPUT', fields: [{ path: 'epoch' }] } });
    const unknown = await get('/admin/v1/nothing');
    expect(unknown.status).toBe(404);
    expect(await unknown.json()).toMatchObject({ error: { code: 'NOT_FOUND' } });
  });

  it('say whether they live and whether their servers answer', async () => {
    expect(await (await fetch(`${auditors[1]?.url}/health/live`)).json()).toEqual({ alive: true });
    expect(await (await fetch(`${auditors[1]?.url}/health/ready`)).json()).toEqual({
      ready: true,
      dependencies: { postgres: 'ok', nats: 'ok', artifacts: 'ok' },
    });
    expect(await (await fetch(`${auditors[1]?.url}/metrics`)).text()).toContain('service="auditor"');
  });
});
