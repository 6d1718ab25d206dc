import { createHmac, randomUUID } from 'node:crypto';
import { isDrawn } from '@studio/shared/domain/audit-sampling';
import { TEST_POLICY, openAuditGround, type AuditGround } from '@studio/shared/testing/audit-ground';
import { CommitmentStore } from './commitment.store';
import { DrawStore } from './draw.store';
import { fileJobs } from './filing';
import { Intake } from './intake';
import { awardId } from './ledger-entries';

interface Draw {
  job_id: string;
  epoch: number;
  points: string;
  award_id: string | null;
  latency_us: string;
  q: number | null;
  u: string | null;
  drawn: boolean;
}

/** Databases are made and dropped here, beside other test files. */
jest.setTimeout(60_000);

describe('intake', () => {
  let ground: AuditGround;
  let intake: Intake;
  const drawOf = async (jobId: string): Promise<Draw | undefined> =>
    (await ground.query<Draw>('SELECT * FROM studio.draws WHERE job_id = $1', [jobId]))[0];
  const reasonOf = async (jobId: string): Promise<string | undefined> =>
    (
      await ground.query<{ reason: string }>(
        `SELECT payload->>'reason' AS reason FROM studio.ledger_outbox WHERE entry_id = $1`,
        [awardId(jobId)],
      )
    )[0]?.reason;
  const drain = async (): Promise<void> => {
    while (await intake.run());
  };
  const newIntake = (): Intake => new Intake(new DrawStore(ground.source), () => undefined, clock());
  /** Every run is a full pass. */
  const clock = (): (() => number) => {
    let now = 0;
    return () => (now += 10_000);
  };
  const everything = async (): Promise<unknown> =>
    Promise.all(
      ['draws', 'audits', 'ledger_outbox', 'miner_trust', 'adapters'].map((table) =>
        ground.query(`SELECT * FROM studio.${table} ORDER BY 1, 2`),
      ),
    );

  beforeAll(async () => {
    ground = await openAuditGround();
    await new CommitmentStore(ground.source).ensure();
    await ground.jobs.policy(TEST_POLICY);
    await ground.jobs.openEpoch(1, TEST_POLICY);
    await ground.jobs.miner('reference', { trusted: true });
    intake = newIntake();
  });
  afterAll(() => ground.close());

  it('awards a finished job at once, drawn or not, under an id that follows from the job', async () => {
    const job = await ground.jobs.finish({ hotkey: 'awarded', netUs: 900_000 });
    await drain();
    // C = 9 s: ⌊300000 · (9 − 0.9) / 9⌋.
    expect(await drawOf(job)).toMatchObject({
      epoch: 1,
      points: '270000',
      award_id: awardId(job),
      latency_us: '900000',
    });
    const [entry] = await ground.query<{ payload: Record<string, unknown> }>(
      'SELECT payload FROM studio.ledger_outbox WHERE entry_id = $1',
      [awardId(job)],
    );
    expect(entry?.payload).toEqual({
      id: awardId(job),
      type: 'award',
      hotkey: 'awarded',
      kind: 'lora-inference',
      jobId: job,
      epoch: 1,
      points: '270000',
      reason: 'completed in 0.900 s',
      policyVersion: TEST_POLICY.version,
    });
  });

  it('audits every one of the first jobs of a miner and kind, then draws by the committed secret', async () => {
    const ids: string[] = [];
    for (let n = 0; n < 40; n += 1) ids.push(await ground.jobs.finish({ hotkey: 'new', finishedAgoS: 1 - n / 100 }));
    await drain();
    const [{ secret } = { secret: Buffer.alloc(0) }] = await ground.query<{ secret: Buffer }>(
      'SELECT secret FROM studio.draw_secrets WHERE epoch = 1',
    );
    const draws = await Promise.all(ids.map(drawOf));
    const rates = draws.map((draw) => draw?.q);
    expect(rates).toEqual([1, 1, 1, ...Array<number>(37).fill(TEST_POLICY.audit.baseRate)]);
    for (const draw of draws) {
      const u = createHmac('sha256', secret)
        .update(draw?.job_id ?? '')
        .digest()
        .readBigUInt64BE(0);
      expect(BigInt(draw?.u ?? '')).toBe(u);
      expect(draw?.drawn).toBe(isDrawn(u, draw?.q ?? NaN));
    }
    const audits = await ground.query<{ job_id: string }>(`SELECT job_id FROM studio.audits WHERE hotkey = 'new'`);
    expect(audits.map((row) => row.job_id).sort()).toEqual(
      draws.flatMap((draw) => (draw?.drawn ? [draw.job_id] : [])).sort(),
    );
  });

  it('awards a replay and never draws it', async () => {
    const requestKey = '6b0f6f1c-0000-4000-8000-000000000001';
    const audited = await ground.jobs.finish({ hotkey: 'target' });
    await drain();
    await ground.query(
      `INSERT INTO studio.audit_replays (audit_id, ordinal, judge, request_key, routing)
       SELECT id, 1, 'peer', $2, '{}' FROM studio.audits WHERE job_id = $1`,
      [audited, requestKey],
    );
    const replay = await ground.jobs.finish({ hotkey: 'replica', requestKey });
    await drain();
    expect(await drawOf(replay)).toMatchObject({ award_id: awardId(replay), q: null, u: null, drawn: false });
    expect(await ground.query(`SELECT 1 FROM studio.audits WHERE hotkey = 'replica'`)).toEqual([]);
    expect(await ground.query(`SELECT 1 FROM studio.miner_trust WHERE hotkey = 'replica'`)).toEqual([]);
  });

  it('gives a reference no points and never draws its jobs', async () => {
    const job = await ground.jobs.finish({ hotkey: 'reference' });
    await drain();
    expect(await drawOf(job)).toMatchObject({ award_id: null, points: '0', q: null, drawn: false });
    expect(await ground.query('SELECT 1 FROM studio.ledger_outbox WHERE entry_id = $1', [awardId(job)])).toEqual([]);
  });

  it("scores a void sample at the median of the miner's valid ones, and half without any", async () => {
    const first = await ground.jobs.finish({ hotkey: 'stalled', void: true, netUs: 8_900_000 });
    await drain();
    expect(await drawOf(first)).toMatchObject({ latency_us: '4500000', points: '150000' });
    for (const netUs of [1_000_000, 3_000_000, 2_000_000]) await ground.jobs.finish({ hotkey: 'stalled', netUs });
    const job = await ground.jobs.finish({ hotkey: 'stalled', void: true, netUs: null });
    const elsewhere = await ground.jobs.finish({ hotkey: 'stalled', engine: 'flux', void: true });
    await drain();
    expect(await drawOf(job)).toMatchObject({ latency_us: '2000000' });
    // Half of the time that earns: what it takes on another engine says nothing.
    expect(await drawOf(elsewhere)).toMatchObject({ latency_us: '27000000' });
  });

  it('gives 0 points to a result slower than 90 % of the timeout', async () => {
    const job = await ground.jobs.finish({ hotkey: 'slow', netUs: 9_000_000 });
    await drain();
    expect(await drawOf(job)).toMatchObject({ points: '0', award_id: awardId(job) });
  });

  it('pays nothing for results that nobody can compare or check, and says so in the entry', async () => {
    const adapter = await ground.jobs.finish({ hotkey: 'artist', engine: 'flux', kind: 'lora-training' });
    const picture = await ground.jobs.finish({ hotkey: 'artist', engine: 'flux' });
    await drain();
    expect(await drawOf(picture)).toMatchObject({ points: '0', award_id: awardId(picture) });
    expect(await reasonOf(adapter)).toMatch(/unpaid: results of lora-training on flux cannot be compared yet/);
    expect(await reasonOf(picture)).toMatch(/unpaid: nobody could check it: .* 0 other operators of 3 needed/);
  });

  it('pays without a reference once enough other operators could convict, and miners of one operator count once', async () => {
    const paid = async (changes = {}): Promise<string | undefined> => {
      const job = await ground.jobs.finish({ hotkey: 'artist', operator: 'artists', engine: 'flux', ...changes });
      // A store of its own: what it knows of the miners is as of now.
      const fresh = newIntake();
      while (await fresh.run());
      return (await drawOf(job))?.points;
    };
    await ground.jobs.miner('artist', { operator: 'artists', engine: 'flux' });
    for (const hotkey of ['twin-1', 'twin-2', 'twin-3']) {
      await ground.jobs.miner(hotkey, { operator: 'twins', engine: 'flux' });
    }
    await ground.jobs.miner('painter', { engine: 'flux' });
    expect(await paid()).toBe('0');
    await ground.jobs.miner('sculptor', { engine: 'flux' });
    expect(await paid()).not.toBe('0');
    expect(await paid({ private: true })).toBe('0');
    await ground.query(
      `INSERT INTO studio.quarantines (id, hotkey, kind, from_epoch, until_epoch, reason)
       SELECT $1, 'sculptor', 'lora-inference', epoch, epoch + 1, 'caught' FROM studio.epochs WHERE state = 'open'`,
      [randomUUID()],
    );
    expect(await paid()).toBe('0');
  });

  it('takes a job in that became visible after younger ones were taken in', async () => {
    await ground.jobs.finish({ hotkey: 'prompt' });
    await drain();
    const late = await ground.jobs.finish({ hotkey: 'late', finishedAgoS: 20 });
    await drain();
    expect(await drawOf(late)).toBeDefined();
  });

  it('finds what a moment before the last job finished even between full passes', async () => {
    const standing = new Intake(
      new DrawStore(ground.source),
      () => undefined,
      () => 0,
    );
    await standing.run();
    await ground.jobs.finish({ hotkey: 'prompt' });
    await standing.run();
    const late = await ground.jobs.finish({ hotkey: 'late', finishedAgoS: 0.3 });
    await standing.run();
    expect(await drawOf(late)).toBeDefined();
  });

  it('writes nothing at all when it is stopped in the middle, and the same rows when it is repeated', async () => {
    const job = await ground.jobs.finish({ hotkey: 'crash', kind: 'lora-training' });
    const before = await everything();
    const store = new DrawStore(ground.source);
    const crash = store.takeIn({ since: undefined, limit: 10 }, (batch) => {
      const filing = fileJobs(batch);
      return { ...filing, audits: filing.audits.map((audit) => ({ ...audit, delayMs: NaN })) };
    });
    await expect(crash).rejects.toThrow();
    expect(await everything()).toEqual(before);
    await drain();
    expect(await drawOf(job)).toMatchObject({ award_id: awardId(job), drawn: true });
    expect(await ground.query('SELECT lora_sha256 FROM studio.adapters WHERE job_id = $1', [job])).toHaveLength(1);
    const after = await everything();
    await drain();
    await newIntake().run();
    expect(await everything()).toEqual(after);
  });

  it('takes each job in once when several replicas run at the same time', async () => {
    const ids = await Promise.all(Array.from({ length: 300 }, () => ground.jobs.finish({ hotkey: 'shared' })));
    const seen = async (): Promise<number> =>
      (await ground.query<{ n: number }>(`SELECT count(*)::int AS n FROM studio.draws WHERE hotkey = 'shared'`))[0]
        ?.n ?? 0;
    const replicas = [newIntake(), newIntake(), newIntake()];
    while ((await seen()) < ids.length) await Promise.all(replicas.map((replica) => replica.run()));
    const [trust] = await ground.query(`SELECT jobs_seen FROM studio.miner_trust WHERE hotkey = 'shared'`);
    expect(trust).toEqual({ jobs_seen: 300 });
    const awards = await ground.query('SELECT 1 FROM studio.ledger_outbox WHERE entry_id = ANY($1::uuid[])', [
      ids.map(awardId),
    ]);
    expect(awards).toHaveLength(300);
  });

  it('files nothing while no epoch is open', async () => {
    await ground.jobs.snapshotTaken(1);
    const job = await ground.jobs.finish({ hotkey: 'between' });
    await drain();
    expect(await drawOf(job)).toBeUndefined();
    await ground.jobs.openEpoch(2, TEST_POLICY);
    await drain();
    expect(await drawOf(job)).toMatchObject({ epoch: 2 });
  });
});
