import { createHash } from 'node:crypto';
import type { LedgerEntryMessage } from '@studio/shared/contract/ledger';
import type { Policy } from '@studio/shared/domain/policy';
import { TEST_POLICY, openAuditGround, type AuditGround } from '@studio/shared/testing/audit-ground';
import { imageResult, someLora, type JobToFinish } from '@studio/shared/testing/finished-jobs';
import { StandInQuerier, StandInRegistry } from '@studio/shared/testing/stand-ins';
import { replaysOn } from './audit.rig';
import { ClosingStore } from './closing.store';
import { CommitmentStore } from './commitment.store';
import { DrawStore } from './draw.store';
import { EpochCloser } from './epoch-closer';
import { Intake } from './intake';
import { reversalId } from './ledger-entries';
import { LedgerRelay } from './ledger-relay';
import type { Reversal } from './reversals';
import { OutboxStore } from './outbox.store';
import type { Replays } from './replays';

const HONEST = imageResult('a'.repeat(64));
const CHEAT = imageResult('b'.repeat(64));
const LORA = { lora: someLora('c'.repeat(64)) };
const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const nothing = () => undefined;
/** One audit in probation and no other, so that the tests choose what is audited. */
const POLICY: Policy = {
  ...TEST_POLICY,
  closeBoundMs: 60_000,
  audit: { ...TEST_POLICY.audit, probationJobs: 1, baseRate: 0.3, trustedRate: 0.3 },
};

/** Databases are made and dropped here, beside other test files. */
jest.setTimeout(60_000);

/** A whole auditor without its sweepers: each test says what runs when. */
describe('closing an epoch', () => {
  let ground: AuditGround;
  let querier: StandInQuerier;
  let registry: StandInRegistry;
  let intake: Intake;
  let replays: Replays;
  let relay: LedgerRelay;
  let closer: EpochCloser;

  const newCloser = (store = new ClosingStore(ground.source)): EpochCloser =>
    new EpochCloser(store, new CommitmentStore(ground.source), replays, log, {
      audits: nothing,
      reversals: nothing,
      settled: nothing,
    });
  const finished = async (job: JobToFinish): Promise<string> => {
    const id = await ground.jobs.finish({ result: HONEST, ...job });
    while (await intake.run());
    return id;
  };
  const audit = async (): Promise<void> => {
    for (let run = 0; run < 4; run += 1) {
      await replays.run();
      while (await intake.run());
    }
  };
  const send = async (): Promise<void> => {
    while (await relay.run());
  };
  const reversals = async (): Promise<LedgerEntryMessage[]> =>
    (
      await ground.query<{ payload: LedgerEntryMessage }>(
        'SELECT payload FROM studio.ledger_outbox WHERE closing IS NOT NULL ORDER BY entry_id',
      )
    ).map((row) => row.payload);
  const reversedJobs = async (): Promise<string[]> => (await reversals()).map(({ jobId }) => jobId).sort();
  const settlement = async (epoch: number): Promise<string | undefined> =>
    (await ground.query<{ secret: string }>('SELECT secret FROM studio.settlements WHERE epoch = $1', [epoch]))[0]
      ?.secret;
  const close = async (epoch: number): Promise<void> => {
    await ground.jobs.closeEpoch(epoch, POLICY);
    await closer.run();
    await send();
    await closer.run();
  };

  beforeEach(async () => {
    ground = await openAuditGround();
    await new CommitmentStore(ground.source).ensure();
    await ground.jobs.policy(POLICY);
    await ground.jobs.openEpoch(1, POLICY);
    await ground.jobs.miner('reference', { trusted: true });
    let now = 0;
    intake = new Intake(new DrawStore(ground.source), nothing, () => (now += 10_000));
    querier = new StandInQuerier(ground.nats, ground.jobs, ({ kind }) => ({
      hotkey: 'reference',
      result: kind === 'lora-training' ? LORA : HONEST,
    }));
    registry = new StandInRegistry(ground.nats, ground.jobs);
    replays = replaysOn(ground);
    relay = new LedgerRelay(new OutboxStore(ground.source), ground.nats, log, nothing);
    closer = newCloser();
  });
  afterEach(async () => {
    querier.close();
    registry.close();
    await ground.close();
  });

  it('commits to the secrets of the open epoch and the next two, once', async () => {
    await Promise.all([closer.run(), newCloser().run()]);
    const rows = await ground.query<{ epoch: number; secret: Buffer; commitment: string }>(
      'SELECT s.epoch, s.secret, c.commitment FROM studio.draw_secrets s JOIN studio.draw_commitments c USING (epoch)',
    );
    expect(rows.map((row) => row.epoch).sort()).toEqual([1, 2, 3]);
    for (const { secret, commitment } of rows) {
      expect(secret).toHaveLength(32);
      expect(createHash('sha256').update(secret).digest('hex')).toBe(commitment);
    }
    await ground.jobs.closeEpoch(1, POLICY);
    await closer.run();
    expect(await ground.query('SELECT 1 FROM studio.draw_commitments WHERE epoch = 4')).toHaveLength(1);
  });

  it('reverses an invalid job and its nearest unaudited neighbours at the close, not before', async () => {
    const bad = await finished({ hotkey: 'cheat', result: CHEAT, finishedAgoS: 100 });
    const later: string[] = [];
    for (let n = 0; n < 24; n += 1) later.push(await finished({ hotkey: 'cheat', finishedAgoS: 90 - n }));
    await finished({ hotkey: 'bystander', finishedAgoS: 99 });
    await audit();
    await send();
    expect(await reversals()).toEqual([]);
    await close(1);
    const audited = await ground.query<{ job_id: string }>('SELECT job_id FROM studio.audits');
    const unaudited = later.filter((job) => !audited.some((row) => row.job_id === job));
    // Drawn at q = 1 by a reference: ⌈3 / (1 · 1)⌉ neighbours.
    expect(await reversedJobs()).toEqual([bad, ...unaudited.slice(0, 3)].sort());
    const own = (await reversals()).find(({ jobId }) => jobId === bad);
    expect(own).toMatchObject({ id: reversalId(bad), type: 'reversal', epoch: 1, hotkey: 'cheat' });
    expect(own?.reason).toMatch(/^audit: image differs from the reference's/);
    expect((await reversals()).filter(({ reason }) => reason.includes(`neighbour of invalid job ${bad}`))).toHaveLength(
      3,
    );
    const balance = await ground.query<{ points: string }>(
      'SELECT sum(points) AS points FROM studio.ledger WHERE job_id = $1',
      [bad],
    );
    expect(balance).toEqual([{ points: '0' }]);
  });

  it('reveals the secret only once the ledger has acknowledged everything of the epoch', async () => {
    await finished({ hotkey: 'honest' });
    await audit();
    await ground.jobs.closeEpoch(1, POLICY);
    await closer.run();
    expect(await settlement(1)).toBeUndefined();
    await send();
    await closer.run();
    const [row] = await ground.query<{ commitment: string }>(
      'SELECT commitment FROM studio.draw_commitments WHERE epoch = 1',
    );
    const secret = Buffer.from((await settlement(1)) ?? '', 'hex');
    expect(createHash('sha256').update(secret).digest('hex')).toBe(row?.commitment);
  });

  it('waits for drawn audits, and ends them as inconclusive when the wait is over', async () => {
    querier.worker = () => ({ hotkey: 'reference', state: 'failed' });
    const job = await finished({ hotkey: 'pending' });
    await send();
    await ground.jobs.closeEpoch(1, POLICY);
    await audit();
    await closer.run();
    expect(await settlement(1)).toBeUndefined();
    await ground.advance(61);
    await closer.run();
    expect(await settlement(1)).toBeDefined();
    expect(await ground.query('SELECT outcome FROM studio.verdicts WHERE job_id = $1', [job])).toEqual([
      { outcome: 'inconclusive' },
    ]);
    expect(await reversals()).toEqual([]);
  });

  it('adds audits of the lowest u until the floor is reached, and only once', async () => {
    const floored = {
      ...POLICY,
      version: 8,
      audit: { ...POLICY.audit, baseRate: 0, trustedRate: 0, floorPerEpoch: 3 },
    };
    await ground.jobs.policy(floored);
    await ground.jobs.closeEpoch(1, floored);
    await closer.run();
    await closer.run();
    for (let n = 0; n < 12; n += 1) await finished({ hotkey: 'quiet' });
    await ground.jobs.snapshotTaken(1);
    await ground.jobs.closeEpoch(2, POLICY);
    await closer.run();
    await newCloser().run();
    const undrawn = await ground.query<{ job_id: string }>(
      'SELECT job_id FROM studio.draws WHERE NOT drawn ORDER BY u LIMIT 2',
    );
    const floor = await ground.query<{ job_id: string }>(`SELECT job_id FROM studio.audits WHERE why = 'floor'`);
    expect(floor.map((row) => row.job_id).sort()).toEqual(undrawn.map((row) => row.job_id).sort());
  });

  it('takes everything that is not final from a quarantined miner, and nothing else from anybody', async () => {
    const old = await finished({ hotkey: 'repeater' });
    await audit();
    const bystander = await finished({ hotkey: 'bystander' });
    for (const epoch of [1, 2, 3]) {
      await audit();
      await close(epoch);
      expect(await settlement(epoch)).toBeDefined();
      await ground.jobs.snapshotTaken(epoch);
      if (epoch === 1) await finished({ hotkey: 'repeater' });
    }
    await ground.query(`UPDATE studio.miner_trust SET cusum = 9 WHERE hotkey = 'repeater'`);
    const bad = await finished({ hotkey: 'repeater', result: CHEAT });
    const training = await finished({ hotkey: 'repeater', kind: 'lora-training', result: LORA });
    await audit();
    await ground.query('UPDATE studio.adapters SET checked_at = studio.now()');
    await close(4);
    expect(await settlement(4)).toBeDefined();
    const taken = await ground.query<{ epoch: number; hotkey: string }>(
      `SELECT (payload->>'epoch')::int AS epoch, payload->>'hotkey' AS hotkey FROM studio.ledger_outbox
        WHERE closing IS NOT NULL`,
    );
    expect(new Set(taken.map(({ hotkey }) => hotkey))).toEqual(new Set(['repeater']));
    const jobs = await reversedJobs();
    expect(jobs).toEqual(expect.arrayContaining([bad, training]));
    // Epoch 1 has been final since the close of epoch 3; epoch 2 is not, at the close of epoch 4.
    expect(taken.map(({ epoch }) => epoch).sort()).toEqual([2, 4, 4]);
    expect(jobs).not.toContain(old);
    expect(jobs).not.toContain(bystander);
  });

  it('decides the same when it is repeated after a crash at any step', async () => {
    const bad = await finished({ hotkey: 'cheat', result: CHEAT, finishedAgoS: 60 });
    for (let n = 0; n < 24; n += 1) await finished({ hotkey: 'cheat', finishedAgoS: 50 - n });
    await audit();
    await send();
    await ground.jobs.closeEpoch(1, POLICY);
    await expect(newCloser(crashingAmidReversals()).run()).rejects.toThrow('crash');
    expect(await reversedJobs()).toEqual([bad]);
    for (const step of [
      'closing',
      'addFloorAudits',
      'unsettled',
      'convictions',
      'openAwards',
      'addReversals',
    ] as const) {
      await expect(newCloser(crashingAfter(step)).run()).rejects.toThrow('crash');
    }
    const once = await reversals();
    expect(once).toHaveLength(4);
    expect(once.map(({ jobId }) => jobId)).toContain(bad);
    await send();
    for (const step of ['acknowledged', 'settle'] as const) {
      await expect(newCloser(crashingAfter(step)).run()).rejects.toThrow('crash');
    }
    await Promise.all([newCloser().run(), newCloser().run()]);
    expect(await reversals()).toEqual(once);
    expect(await settlement(1)).toBeDefined();
  });

  it('reverses nothing a second time at later closes', async () => {
    await finished({ hotkey: 'cheat', result: CHEAT });
    for (let n = 0; n < 10; n += 1) await finished({ hotkey: 'cheat' });
    await audit();
    await close(1);
    const first = await reversals();
    await ground.jobs.snapshotTaken(1);
    await close(2);
    expect(await settlement(2)).toBeDefined();
    expect(await reversals()).toEqual(first);
  });

  /** A store whose process ends when only the first reversal, that of the invalid job, is written. */
  function crashingAmidReversals(): ClosingStore {
    const store = new ClosingStore(ground.source);
    const add = store.addReversals.bind(store);
    return Object.assign(store, {
      addReversals: async (epoch: number, reversals: readonly Reversal[]) => {
        await add(epoch, reversals.slice(0, 1));
        throw new Error('crash');
      },
    });
  }

  /** A store whose process ends right after this step. */
  function crashingAfter(step: keyof ClosingStore): ClosingStore {
    const store = new ClosingStore(ground.source);
    const real = store[step].bind(store) as (...args: unknown[]) => Promise<unknown>;
    return Object.assign(store, {
      [step]: async (...args: unknown[]) => {
        await real(...args);
        throw new Error('crash');
      },
    });
  }
});
