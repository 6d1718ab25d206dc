import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { threadFlags } from '@studio/shared/platform/thread-flags';
import { TEST_POLICY, openAuditGround, type AuditGround } from '@studio/shared/testing/audit-ground';
import { imageResult, type JobToFinish } from '@studio/shared/testing/finished-jobs';
import { StandInQuerier, StandInRegistry } from '@studio/shared/testing/stand-ins';
import { AmnestyStore } from './amnesty.store';
import { AppealStore } from './appeals.store';
import { replaysOn } from './audit.rig';
import { ClosingStore } from './closing.store';
import { CommitmentStore } from './commitment.store';
import { DrawStore } from './draw.store';
import { EpochCloser } from './epoch-closer';
import { Intake } from './intake';
import { LedgerRelay } from './ledger-relay';
import { OutboxStore } from './outbox.store';
import type { Replays } from './replays';

const HONEST = imageResult('a'.repeat(64));
const WRONG = imageResult('b'.repeat(64));
const nothing = (): void => undefined;
const log = { info: nothing, warn: nothing, error: nothing };
const POLICY = { ...TEST_POLICY, audit: { ...TEST_POLICY.audit, probationJobs: 1, baseRate: 0, trustedRate: 0 } };

/** Databases are made and dropped here, beside other test files. */
jest.setTimeout(60_000);

/** A reference that is wrong at first: it convicts honest miners, with its own word twice. */
describe('corrections', () => {
  let ground: AuditGround;
  let querier: StandInQuerier;
  let registry: StandInRegistry;
  let intake: Intake;
  let replays: Replays;
  let closer: EpochCloser;
  let relay: LedgerRelay;
  const amnesties = (): AmnestyStore => new AmnestyStore(ground.source);
  const EVER = { reference: null, from: '2000-01-01T00:00:00Z', until: '2100-01-01T00:00:00Z', reason: 'bad memory' };

  const answers = (result: JobToFinish['result']): void => {
    querier.worker = ({ routing }) => ({ hotkey: routing.onlyHotkey ?? 'peer', result });
  };
  const finished = async (job: JobToFinish): Promise<string> => {
    const id = await ground.jobs.finish({ result: HONEST, ...job });
    while (await intake.run());
    return id;
  };
  const settle = async (): Promise<void> => {
    for (let run = 0; run < 5; run += 1) {
      await replays.run();
      while (await intake.run());
      while (await relay.run());
    }
  };
  const close = async (epoch: number): Promise<void> => {
    await ground.jobs.closeEpoch(epoch, POLICY);
    await closer.run();
    while (await relay.run());
    await closer.run();
    await ground.jobs.snapshotTaken(epoch);
  };
  const balance = async (hotkey: string): Promise<number> =>
    Number(
      (await ground.query<{ points: string | null }>('SELECT sum(points) AS points FROM studio.ledger WHERE hotkey = $1', [hotkey]))[0]?.points, // prettier-ignore
    );
  const awarded = async (hotkey: string): Promise<number> =>
    Number(
      (await ground.query<{ points: string | null }>(`SELECT sum(points) AS points FROM studio.ledger WHERE hotkey = $1 AND type = 'award'`, [hotkey]))[0]?.points, // prettier-ignore
    );
  const trust = async (hotkey: string): Promise<unknown> =>
    (
      await ground.query(
        `SELECT jobs_seen, audits, passes, cusum FROM studio.miner_trust WHERE hotkey = $1 AND kind = 'lora-inference'`,
        [hotkey],
      )
    )[0];
  const appeal = (jobId: string, hotkey: string): Promise<void> => ground.jobs.appeal(jobId, hotkey);
  const verdicts = async (jobId: string): Promise<string[]> =>
    (
      await ground.query<{ outcome: string }>(
        'SELECT v.outcome FROM studio.verdicts v JOIN studio.audits a ON a.id = v.audit_id WHERE v.job_id = $1 ORDER BY a.round',
        [jobId],
      )
    ).map(({ outcome }) => outcome);
  const standing = (hotkey: string): Promise<unknown[]> =>
    ground.query('SELECT 1 FROM studio.standing_quarantines WHERE hotkey = $1', [hotkey]);

  beforeEach(async () => {
    ground = await openAuditGround();
    await new CommitmentStore(ground.source).ensure();
    await ground.jobs.policy(POLICY);
    await ground.jobs.openEpoch(1, POLICY);
    await ground.jobs.miner('reference', { trusted: true });
    let now = 0;
    intake = new Intake(new DrawStore(ground.source), nothing, () => (now += 10_000));
    querier = new StandInQuerier(ground.nats, ground.jobs, () => 'never');
    registry = new StandInRegistry(ground.nats, ground.jobs);
    replays = replaysOn(ground);
    const told = { audits: nothing, reversals: nothing, settled: nothing };
    closer = new EpochCloser(new ClosingStore(ground.source), new CommitmentStore(ground.source), replays, log, told);
    relay = new LedgerRelay(new OutboxStore(ground.source), ground.nats, log, nothing);
    answers(WRONG);
  });
  afterEach(async () => {
    querier.close();
    registry.close();
    await ground.close();
  });

  /** One audited job that the wrong reference convicts, and three of its neighbours; all reversed at the close. */
  async function wronged(hotkey: string): Promise<string> {
    const bad = await finished({ hotkey, finishedAgoS: 50 });
    for (let n = 0; n < 5; n += 1) await finished({ hotkey, finishedAgoS: 40 - n });
    await settle();
    return bad;
  }

  it('an appeal that is right gives back the award and those that fell with it, and adds rows only', async () => {
    const job = await wronged('honest');
    await close(1);
    expect(await balance('honest')).toBeLessThan(await awarded('honest'));
    const before = await ground.query<{ seq: string }>('SELECT * FROM studio.ledger ORDER BY seq');
    answers(HONEST);
    await appeal(job, 'honest');
    const store = new AppealStore(ground.source);
    const took = await Promise.all([store.takeUp(), store.takeUp()]);
    expect(took[0] + took[1]).toBe(1);
    await settle();
    expect(await verdicts(job)).toEqual(['invalid', 'valid']);
    expect(await balance('honest')).toBe(await awarded('honest'));
    const after = await ground.query<{ seq: string; type: string; epoch: number }>(
      'SELECT * FROM studio.ledger ORDER BY seq',
    );
    expect(after.slice(0, before.length)).toEqual(before);
    const added = after.slice(before.length);
    expect(added).toHaveLength(4);
    expect(new Set(added.map(({ type, epoch }) => `${type} ${epoch}`))).toEqual(new Set(['restoration 1']));
    expect(await trust('honest')).toEqual({ jobs_seen: 6, audits: 0, passes: 0, cusum: 0 });
    expect(await store.takeUp()).toBe(0);
  });

  it('an appeal that is wrong changes nothing, and is no further failure', async () => {
    answers(HONEST);
    const job = await finished({ hotkey: 'cheat', result: WRONG });
    await settle();
    await close(1);
    const [points, record] = [await balance('cheat'), await trust('cheat')];
    await appeal(job, 'cheat');
    await new AppealStore(ground.source).takeUp();
    await settle();
    expect(await verdicts(job)).toEqual(['invalid', 'invalid']);
    expect([await balance('cheat'), await trust('cheat')]).toEqual([points, record]);
    expect(await ground.query('SELECT 1 FROM studio.corrections')).toEqual([]);
  });

  it('an appeal waits for somebody who can replay, past the close of its epoch, and holds no other epoch up', async () => {
    const job = await wronged('honest');
    await close(1);
    await appeal(job, 'honest');
    await new AppealStore(ground.source).takeUp();
    querier.worker = () => 'never';
    await replays.run().catch(nothing);
    await close(2);
    expect(await ground.query('SELECT 1 FROM studio.settlements WHERE epoch = 2')).toHaveLength(1);
    expect(await verdicts(job)).toEqual(['invalid']);
    answers(HONEST);
    await settle();
    expect(await verdicts(job)).toEqual(['invalid', 'valid']);
  });

  it('an amnesty takes back what a wrong reference did, quarantine included, and leaves what others found', async () => {
    const bad: string[] = [];
    for (let n = 0; n < 3; n += 1) bad.push(await finished({ hotkey: 'honest', result: imageResult(`${n}`.repeat(64)) })); // prettier-ignore
    await finishAudits(bad);
    await settle();
    expect(await standing('honest')).toHaveLength(2);
    await close(1);
    expect(await balance('honest')).toBe(0);

    const tried = await amnesties().grant(EVER, true);
    expect(tried).toMatchObject({ id: null, verdicts: 3, miners: 1, quarantines: 2, restorations: 3 });
    expect(await ground.query('SELECT 1 FROM studio.amnesties')).toEqual([]);
    expect(await standing('honest')).toHaveLength(2);

    expect(await amnesties().grant({ ...EVER, reference: 'another' }, false)).toMatchObject({ verdicts: 0 });
    expect(await amnesties().grant({ ...EVER, until: '2001-01-01T00:00:00Z' }, false)).toMatchObject({ verdicts: 0 });
    const granted = await amnesties().grant({ ...EVER, reference: 'reference' }, false);
    expect(granted).toMatchObject({ verdicts: 3, quarantines: 2, restorations: 3 });
    expect(granted.points).toBe(String(await awarded('honest')));
    await settle();
    expect(await standing('honest')).toEqual([]);
    expect(await balance('honest')).toBe(await awarded('honest'));
    expect(await amnesties().grant(EVER, false)).toMatchObject({ verdicts: 0, restorations: 0, points: '0' });
    await close(2);
    expect(await balance('honest')).toBe(await awarded('honest'));
  });

  it('the command counts first, says so, and does it only with --yes', async () => {
    await wronged('honest');
    await close(1);
    const interval = ['--from', EVER.from, '--until', EVER.until, '--reason', 'bad memory'];
    expect(await command(...interval)).toMatch(
      /^would take back \(nothing is done without --yes\): 1 verdicts of 1 miners, 0 quarantines lifted, \d+ awards/,
    );
    expect(await ground.query('SELECT 1 FROM studio.corrections')).toEqual([]);
    expect(await command(...interval, '--yes')).toMatch(/^amnesty [0-9a-f-]{36} granted: 1 verdicts/);
    expect(await ground.query('SELECT 1 FROM studio.corrections')).toHaveLength(1);
    await expect(command('--from', 'yesterday', '--until', EVER.until, '--reason', 'x')).rejects.toThrow(
      /Give a date, a time and a zone/,
    );
  });

  it('an amnesty before the close keeps the reversals from being written at all', async () => {
    await wronged('honest');
    expect(await amnesties().grant(EVER, false)).toMatchObject({ verdicts: 1, restorations: 0 });
    await close(1);
    expect(await ground.query(`SELECT 1 FROM studio.ledger WHERE type <> 'award'`)).toEqual([]);
  });

  /** As an operator runs it beside an auditor, from the sources. */
  async function command(...args: string[]): Promise<string> {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [...threadFlags(__filename), join(__dirname, 'grant-amnesty.ts'), ...args],
      { env: { POSTGRES_URL: ground.url } },
    );
    return stdout;
  }

  /** Draws are off in this policy: these jobs are audited as if they had been drawn. */
  async function finishAudits(jobs: readonly string[]): Promise<void> {
    for (const job of jobs) {
      await ground.query(
        `INSERT INTO studio.audits (id, job_id, hotkey, operator, kind, engine, epoch, why, due_at)
         SELECT gen_random_uuid(), job_id, hotkey, operator, kind, engine, epoch, 'floor', studio.now()
           FROM studio.draws WHERE job_id = $1 ON CONFLICT DO NOTHING`,
        [job],
      );
    }
  }
});
