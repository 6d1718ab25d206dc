import { TEST_POLICY, openAuditGround, type AuditGround } from '@studio/shared/testing/audit-ground';
import { imageResult, someInference, type JobToFinish } from '@studio/shared/testing/finished-jobs';
import { StandInQuerier } from '@studio/shared/testing/stand-ins';
import { replaysOn } from './audit.rig';
import { CommitmentStore } from './commitment.store';
import { DrawStore } from './draw.store';
import { Intake } from './intake';
import type { Evidence } from './judgment';
import type { Replays } from './replays';

interface VerdictRow {
  outcome: string;
  reason: string;
  evidence: Evidence;
  decided_in: number;
}

const HONEST = imageResult('a'.repeat(64));
const CHEAT = imageResult('b'.repeat(64));
const ANOTHER = imageResult('c'.repeat(64));

/** Databases are made and dropped here, beside other test files. */
jest.setTimeout(60_000);

describe('replays', () => {
  let ground: AuditGround;
  let querier: StandInQuerier;
  let intake: Intake;
  let replays: Replays;
  const quarantined = jest.fn();

  const newReplays = (): Replays => replaysOn(ground, { quarantined });
  const verdictOf = async (jobId: string): Promise<VerdictRow | undefined> =>
    (await ground.query<VerdictRow>('SELECT * FROM studio.verdicts WHERE job_id = $1', [jobId]))[0];
  const finished = async (job: JobToFinish): Promise<string> => {
    const id = await ground.jobs.finish(job);
    while (await intake.run());
    return id;
  };
  /** Runs as often as it takes; pauses are left to the clock. */
  const settle = async (runs = 8): Promise<void> => {
    for (let run = 0; run < runs; run += 1) {
      await replays.run();
      while (await intake.run());
    }
  };
  /** The reference answers truthfully; a peer as `peer` says. */
  const truth =
    (peer: Omit<JobToFinish, 'requestKey'>): StandInQuerier['worker'] =>
    ({ routing }) =>
      routing.onlyHotkey ? { hotkey: routing.onlyHotkey, result: HONEST } : peer;

  beforeAll(async () => {
    ground = await openAuditGround();
    await new CommitmentStore(ground.source).ensure();
    await ground.jobs.policy(TEST_POLICY);
    await ground.jobs.openEpoch(1, TEST_POLICY);
    await ground.jobs.miner('reference', { trusted: true });
    await ground.jobs.miner('peer');
    let now = 0;
    intake = new Intake(
      new DrawStore(ground.source),
      () => undefined,
      () => (now += 10_000),
    );
    querier = new StandInQuerier(ground.nats, ground.jobs, truth({ hotkey: 'peer', result: HONEST }));
    replays = newReplays();
  });
  beforeEach(() => {
    querier.commands.length = 0;
    querier.worker = truth({ hotkey: 'peer', result: HONEST });
  });
  afterAll(async () => {
    querier.close();
    await ground.close();
  });

  it("replays exactly the target's input on the reference, and finds an equal result valid", async () => {
    const input = someInference();
    const job = await finished({ hotkey: 'honest', input, result: HONEST });
    await settle();
    expect(querier.commands).toEqual([
      {
        idempotencyKey: expect.any(String) as string,
        kind: 'lora-inference',
        engine: 'ref-sep-v1',
        input,
        routing: { onlyHotkey: 'reference' },
      },
    ]);
    const verdict = await verdictOf(job);
    expect(verdict).toMatchObject({ outcome: 'valid', decided_in: 1 });
    expect(verdict?.reason).toContain('reference');
    const [trust] = await ground.query(
      `SELECT audits, passes, cusum FROM studio.miner_trust WHERE hotkey = 'honest' AND kind = 'lora-inference'`,
    );
    expect(trust).toEqual({ audits: 1, passes: 1, cusum: 0 });
  });

  it('convicts only after an independent peer confirmed, says why, and leaves the ledger as it is', async () => {
    const job = await finished({ hotkey: 'cheat', result: CHEAT });
    const before = await ground.query('SELECT * FROM studio.ledger_outbox WHERE closing IS NOT NULL');
    await settle();
    expect(querier.commands.map(({ routing }) => routing)).toEqual([
      { onlyHotkey: 'reference' },
      { excludeOperators: ['cheat', 'reference'] },
    ]);
    const verdict = await verdictOf(job);
    expect(verdict?.outcome).toBe('invalid');
    expect(verdict?.reason).toBe(
      "image differs from the reference's: pixel hash bbbbbbbb… against aaaaaaaa… (confirmed by an independent miner)",
    );
    expect(verdict?.evidence.replays.map(({ judge, agrees }) => [judge, agrees])).toEqual([
      ['trusted', false],
      ['peer', false],
    ]);
    expect(verdict?.evidence).toMatchObject({
      kappa: 1,
      draw: { why: 'draw', q: 1, policyVersion: TEST_POLICY.version },
    });
    expect(await ground.query('SELECT * FROM studio.ledger_outbox WHERE closing IS NOT NULL')).toEqual(before);
  });

  it('holds a replica that lied to its own failure, and still convicts the target', async () => {
    querier.worker = truth({ hotkey: 'peer', result: ANOTHER });
    const job = await finished({ hotkey: 'second-cheat', result: CHEAT });
    await settle();
    expect((await verdictOf(job))?.outcome).toBe('invalid');
    const [replica] = await ground.query<{ why: string; state: string; outcome: string; evidence: Evidence }>(
      `SELECT a.why, a.state, v.outcome, v.evidence FROM studio.audits a JOIN studio.verdicts v ON v.audit_id = a.id
        WHERE a.hotkey = 'peer'`,
    );
    expect(replica).toMatchObject({ why: 'replica', state: 'decided', outcome: 'invalid' });
    expect(replica?.evidence.replays.filter(({ agrees }) => agrees)).toEqual([]);
  });

  it('asks the reference again when no peer of another operator is there', async () => {
    const job = await finished({ hotkey: 'rival', operator: 'peer', result: CHEAT });
    await settle();
    expect(querier.commands.map(({ routing }) => routing.onlyHotkey)).toEqual(['reference', 'reference']);
    expect((await verdictOf(job))?.outcome).toBe('invalid');
  });

  it('replaces a replay that fails, and holds nothing against the target', async () => {
    let asked = 0;
    querier.worker = () => {
      asked += 1;
      return asked < 3 ? { hotkey: 'reference', state: 'failed' } : { hotkey: 'reference', result: HONEST };
    };
    const job = await finished({ hotkey: 'patient', result: HONEST });
    await settle(2);
    expect(await verdictOf(job)).toBeUndefined();
    await ground.advance(3);
    await settle(1);
    await ground.advance(3);
    await settle(3);
    expect(asked).toBe(3);
    expect((await verdictOf(job))?.outcome).toBe('valid');
  });

  it('ends as inconclusive when replays keep failing, and the record of the miner stays as it was', async () => {
    querier.worker = () => ({ hotkey: 'reference', state: 'failed' });
    const job = await finished({ hotkey: 'unlucky', result: HONEST });
    for (let pause = 0; pause < 10; pause += 1) {
      await settle(2);
      await ground.advance(60);
    }
    expect(await verdictOf(job)).toMatchObject({ outcome: 'inconclusive' });
    expect(querier.commands).toHaveLength(8);
    const [trust] = await ground.query(`SELECT audits, passes, cusum FROM studio.miner_trust WHERE hotkey = 'unlucky'`);
    expect(trust).toEqual({ audits: 0, passes: 0, cusum: 0 });
  });

  it('sends a request again, word for word, until it is answered', async () => {
    querier.worker = () => 'never';
    const job = await finished({ hotkey: 'waiting', result: HONEST });
    const first = replays.run().catch(() => undefined);
    while (querier.commands.length === 0) await new Promise((resolve) => setImmediate(resolve));
    querier.worker = truth({ hotkey: 'peer', result: HONEST });
    await newReplays().run();
    await settle();
    expect((await verdictOf(job))?.outcome).toBe('valid');
    expect(querier.commands.length).toBeGreaterThan(1);
    expect(new Set(querier.commands.map((command) => JSON.stringify(command))).size).toBe(1);
    await first;
  });

  it('says honestly that adapters of a diffusion engine cannot be compared yet', async () => {
    const job = await finished({ hotkey: 'artist', engine: 'flux', kind: 'lora-training' });
    await settle();
    expect(await verdictOf(job)).toMatchObject({ outcome: 'inconclusive' });
    expect(querier.commands).toEqual([]);
  });

  it('reaches one verdict per audit when replicas of the auditor work at the same time', async () => {
    const jobs: string[] = [];
    for (let n = 0; n < 3; n += 1) jobs.push(await finished({ hotkey: 'contended', result: HONEST }));
    const replicas = [replays, newReplays(), newReplays()];
    for (let run = 0; run < 4; run += 1) {
      await Promise.all(replicas.map((replica) => replica.run()));
      while (await intake.run());
    }
    expect((await Promise.all(jobs.map(verdictOf))).map((verdict) => verdict?.outcome)).toEqual([
      'valid',
      'valid',
      'valid',
    ]);
    expect(new Set(querier.commands.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(3);
    const [trust] = await ground.query(
      `SELECT audits FROM studio.miner_trust WHERE hotkey = 'contended' AND audits > 0`,
    );
    expect(trust).toEqual({ audits: 3 });
  });

  it('quarantines both kinds of a miner once its failures add up, and starts its record anew', async () => {
    quarantined.mockClear();
    for (let n = 0; n < 3; n += 1) await finished({ hotkey: 'repeater', result: CHEAT });
    await settle();
    const rows = await ground.query(
      `SELECT kind, from_epoch, until_epoch FROM studio.quarantines WHERE hotkey = 'repeater' ORDER BY kind`,
    );
    const until = 1 + TEST_POLICY.quarantineEpochs;
    expect(rows).toEqual([
      { kind: 'lora-inference', from_epoch: 1, until_epoch: until },
      { kind: 'lora-training', from_epoch: 1, until_epoch: until },
    ]);
    expect(quarantined).toHaveBeenCalledTimes(1);
    expect(
      await ground.query(`SELECT jobs_seen, audits, cusum FROM studio.miner_trust WHERE hotkey = 'repeater'`),
    ).toEqual([
      { jobs_seen: 0, audits: 0, cusum: 0 },
      { jobs_seen: 0, audits: 0, cusum: 0 },
    ]);
  });
});
