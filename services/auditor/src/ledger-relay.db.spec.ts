import { StudioError } from '@studio/shared/domain/errors';
import { TEST_POLICY, openAuditGround, type AuditGround } from '@studio/shared/testing/audit-ground';
import { StandInRegistry, silence } from '@studio/shared/testing/stand-ins';
import { CommitmentStore } from './commitment.store';
import { DrawStore } from './draw.store';
import { Intake } from './intake';
import { awardId } from './ledger-entries';
import { LedgerRelay } from './ledger-relay';
import { OutboxStore } from './outbox.store';

/** Databases are made and dropped here, beside other test files. */
jest.setTimeout(60_000);

describe('the relay to the ledger', () => {
  let ground: AuditGround;
  let registry: StandInRegistry;
  let intake: Intake;
  const errors = jest.fn();
  const newRelay = (): LedgerRelay =>
    new LedgerRelay(new OutboxStore(ground.source), ground.nats, { error: errors }, () => undefined);
  const award = async (count: number): Promise<string[]> => {
    const ids: string[] = [];
    for (let n = 0; n < count; n += 1) ids.push(await ground.jobs.finish({ hotkey: 'miner' }));
    while (await intake.run());
    return ids;
  };
  const inLedger = async (): Promise<string[]> =>
    (await ground.query<{ job_id: string }>('SELECT job_id FROM studio.ledger ORDER BY seq')).map((row) => row.job_id);
  const open = async (): Promise<number> => (await new OutboxStore(ground.source).state()).open;

  beforeEach(async () => {
    ground = await openAuditGround();
    await new CommitmentStore(ground.source).ensure();
    await ground.jobs.policy(TEST_POLICY);
    await ground.jobs.openEpoch(1, TEST_POLICY);
    let now = 0;
    intake = new Intake(
      new DrawStore(ground.source),
      () => undefined,
      () => (now += 10_000),
    );
    registry = new StandInRegistry(ground.nats, ground.jobs);
    errors.mockClear();
  });
  afterEach(async () => {
    registry.close();
    await ground.close();
  });

  it('sends entries in the order they were written, in batches, until none is left', async () => {
    const ids = await award(450);
    while (await newRelay().run());
    expect(registry.batches.map((batch) => batch.length)).toEqual([200, 200, 50]);
    expect(await inLedger()).toEqual(ids);
    expect(await open()).toBe(0);
  });

  it('keeps an entry until its acknowledgement arrives, and the ledger has it once', async () => {
    const ids = await award(2);
    registry.close();
    await expect(newRelay().run()).rejects.toMatchObject({ code: 'DEPENDENCY_DOWN' });
    expect(await open()).toBe(2);
    registry = new StandInRegistry(ground.nats, ground.jobs);
    await ground.nats.flush();
    registry.after = () => silence;
    await expect(newRelay().run()).rejects.toMatchObject({ code: 'DEPENDENCY_DOWN' });
    expect(await inLedger()).toEqual(ids);
    expect(await open()).toBe(2);
    registry.after = () => undefined;
    await newRelay().run();
    expect(await inLedger()).toEqual(ids);
    expect(await open()).toBe(0);
  });

  it('passes by a refused entry, shows it, and does not try it again at once', async () => {
    const [first, bad, last] = await award(3);
    registry.before = (entries) => {
      const index = entries.findIndex(({ jobId }) => jobId === bad);
      if (index < 0) return;
      throw new StudioError('LEDGER_REFUSED', 'broken', [{ path: `entries.${index}`, message: 'breaks a rule' }]);
    };
    while (await newRelay().run());
    expect(await inLedger()).toEqual([first, last]);
    expect(await new OutboxStore(ground.source).state()).toEqual({ open: 1, refused: 1 });
    expect(errors).toHaveBeenCalledTimes(1);
    const [row] = await ground.query('SELECT refusal FROM studio.ledger_outbox WHERE entry_id = $1', [
      awardId(bad ?? ''),
    ]);
    expect(row).toEqual({ refusal: 'LEDGER_REFUSED: breaks a rule' });
    const sent = registry.batches.length;
    await newRelay().run();
    expect(registry.batches).toHaveLength(sent);
    registry.before = () => undefined;
    await ground.advance(31);
    await newRelay().run();
    expect(await open()).toBe(0);
  });

  it('is done by one replica at a time', async () => {
    const ids = await award(30);
    await Promise.all([newRelay().run(), newRelay().run(), newRelay().run()]);
    await newRelay().run();
    expect(registry.batches.flat()).toHaveLength(30);
    expect(await inLedger()).toEqual(ids);
  });
});
