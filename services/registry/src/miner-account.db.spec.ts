import { randomBytes, randomUUID } from 'node:crypto';
import type { AccountVerdict, MinerAccount, MinerDetails } from '@studio/shared/contract/miners';
import { SUBJECTS } from '@studio/shared/contract/subjects';
import { loadEnv } from '@studio/shared/platform/env';
import { createLogger } from '@studio/shared/platform/logger';
import { requestJson } from '@studio/shared/platform/nats';
import { hotkeyFromSeed } from '@studio/shared/protocol/hotkey';
import { someAward, type SomeVerdict } from '@studio/shared/testing/auditor-side';
import { someTraining } from '@studio/shared/testing/finished-jobs';
import { RegistryGround, until } from '@studio/shared/testing/registry-ground';
import { boot, type RunningRegistry } from './boot';
import { RegistryEnv } from './env';

const log = createLogger({ name: 'registry', level: 'silent', format: 'line' });
const miner = hotkeyFromSeed('41'.repeat(32));
const rival = hotkeyFromSeed('42'.repeat(32));

let ground: RegistryGround;
let registry: RunningRegistry;

beforeAll(async () => {
  ground = await RegistryGround.open(fetch);
  registry = await boot(loadEnv(RegistryEnv, ground.env()), log);
  await ground.auditor.commit(1, 2, 3);
  await until(async () => (await fetch(`${registry.url}/v1/epochs/current`)).ok);
  for (const [key, port, slots] of [[miner, 9_101, 4] as const, [rival, 9_102, 2] as const]) {
    const offers = [
      { kind: 'lora-training', engine: 'ref-sep-v1', slots },
      { kind: 'lora-inference', engine: 'ref-sep-v1', slots: 1 },
    ];
    const body = { endpoint: `http://127.0.0.1:${port}`, dialect: 'native', offers };
    expect((await ground.send(registry.url, { key, body })).status).toBe(200);
  }
});

afterAll(async () => {
  await registry.close();
  await ground.close();
});

async function read(query = '', key = miner): Promise<MinerDetails> {
  const path = `/v1/miners/${key.address}${query}`;
  return (await (await ground.send(registry.url, { key, method: 'GET', path })).json()) as MinerDetails;
}

async function account(query = ''): Promise<MinerAccount> {
  return (await read(query)).account as MinerAccount;
}

interface SomeAttempt {
  hotkey?: string;
  state?: string;
  blame?: string;
  reason?: string;
  agoS?: number;
  hedge?: boolean;
  us?: [raw: number, credit: number, net: number];
}

/** A training job and one attempt at it, as the querier writes them. @returns the job's id. */
async function attempt({
  hotkey = miner.address,
  state = 'accepted',
  agoS = 60,
  ...more
}: SomeAttempt = {}): Promise<string> {
  const id = randomUUID();
  const finished = state !== 'open';
  await ground.owner.query(
    `INSERT INTO studio.jobs (id, client_id, request_hash, kind, engine, input, timeout_ms, deadline_at)
     VALUES ($1, $2, $3, 'lora-training', 'ref-sep-v1', $4, 10000, studio.now() + interval '1 hour')`,
    [id, randomUUID(), randomBytes(32), someTraining()],
  );
  await ground.owner.query(
    `INSERT INTO studio.attempts (job_id, attempt_no, hotkey, operator, kind, engine, state, blame, reason, lease_no,
                                  callback_hash, sent_at, finished_at, raw_us, credit_us, net_us, network, hedge)
     VALUES ($1, 1, $2, $2, 'lora-training', 'ref-sep-v1', $3, $4, $5, 1, $6, studio.now() - $7 * interval '1 second',
             CASE WHEN $8 THEN studio.now() END, $9, $10, $11, $12, $13)`,
    [
      id,
      hotkey,
      state,
      more.blame ?? 'none',
      more.reason ?? null,
      randomBytes(32),
      agoS,
      finished,
      ...(more.us ?? [null, null, null]),
      more.us ? { rttMinUs: 900 } : null,
      more.hedge ?? false,
    ],
  );
  return id;
}

async function award(jobId: string, hotkey: string, points: string): Promise<void> {
  const entries = [someAward({ jobId, hotkey, points })];
  await requestJson(ground.nats.connection, SUBJECTS.appendLedger.subject, { entries }, { timeoutMs: 30_000 });
}

/** The draw, its audit and the verdict on it, as the auditor writes them. */
const audited = (jobId: string, epoch: number, verdict: Partial<SomeVerdict> = {}): Promise<void> =>
  ground.auditor.judge({ jobId, hotkey: miner.address, epoch, ...verdict });

async function close(epoch: number): Promise<void> {
  await ground.owner.query(`UPDATE studio.epochs SET opened_at = opened_at - interval '72 minutes' WHERE epoch = $1`, [
    epoch,
  ]);
  await until(async () => (await fetch(`${registry.url}/v1/epochs/${epoch + 1}`)).ok);
}

describe("a miner's own account", () => {
  it('begins empty', async () => {
    const { account: own } = await read();
    expect(own).toMatchObject({ score: null, jobs: [], missed: [], measurement: null, quarantines: [], verdicts: [] });
    expect(own?.lanes).toMatchObject([
      { kind: 'lora-training', engine: 'ref-sep-v1', declared: 4, proven: 1, open: 0, jobs_last_hour: 0 },
      { kind: 'lora-inference', engine: 'ref-sep-v1', declared: 1, proven: 1, open: 0, jobs_last_hour: 0 },
    ]);
  });

  it('shows its attempts, newest first, with what they took and what they earned', async () => {
    const won = await attempt({ agoS: 30, us: [1_500_250, 500_000, 1_000_250] });
    await award(won, miner.address, '650000');
    const lost = await attempt({ agoS: 20, state: 'superseded', hedge: true });
    const open = await attempt({ agoS: 10, state: 'open' });
    await attempt({ hotkey: rival.address });
    const { jobs } = await account();
    expect(jobs.map(({ job_id }) => job_id)).toEqual([open, lost, won]);
    expect(jobs[2]).toEqual({
      job_id: won,
      attempt: 1,
      kind: 'lora-training',
      engine: 'ref-sep-v1',
      state: 'accepted',
      blame: 'none',
      reason: null,
      hedge: false,
      sent_at: expect.any(String),
      finished_at: expect.any(String),
      raw_ms: 1_500.25,
      credit_ms: 500,
      net_ms: 1_000.25,
      network: { rttMinUs: 900 },
      void: false,
      points: '650000',
    });
    expect(jobs[1]).toMatchObject({ hedge: true, points: null, raw_ms: null });
    expect(jobs[0]).toMatchObject({ state: 'open', finished_at: null });
  });

  it('lists what it missed, with whom that is held against', async () => {
    const missed = [
      await attempt({ agoS: 9, state: 'busy', reason: 'answered 429' }),
      await attempt({ agoS: 8, state: 'failed', blame: 'network', reason: 'no connection' }),
      await attempt({ agoS: 7, state: 'invalid', blame: 'miner', reason: 'the image is truncated' }),
      await attempt({ agoS: 6, state: 'timeout', blame: 'ours', reason: 'our door was shut' }),
    ];
    const own = await account();
    expect(own.missed.map(({ job_id }) => job_id)).toEqual([...missed].reverse());
    expect(own.missed[1]).toMatchObject({ state: 'invalid', blame: 'miner', reason: 'the image is truncated' });
    expect(own.jobs).toHaveLength(7);
  });

  it('is as long as asked for, within bounds', async () => {
    expect((await account('?limit=2')).jobs).toHaveLength(2);
    expect((await account('?limit=200')).jobs).toHaveLength(7);
    for (const limit of ['0', '201', 'x']) {
      const reply = await fetch(`${registry.url}/v1/miners/${miner.address}?limit=${limit}`);
      expect(reply.status).toBe(422);
    }
  });

  it('compares its lanes with an equal share of the turns', async () => {
    await ground.owner.query(
      `INSERT INTO studio.miner_slots (hotkey, kind, engine, proven) VALUES ($1, 'lora-training', 'ref-sep-v1', 3)`,
      [miner.address],
    );
    // 7 turns of its own and 1 of the rival, over 3 and 1 proven slots, both registered at nearly the same time.
    const fresh = await boot(loadEnv(RegistryEnv, ground.env()), log);
    const path = `/v1/miners/${miner.address}`;
    const reply = await ground.send(fresh.url, { key: miner, method: 'GET', path }).finally(() => fresh.close());
    const [training] = ((await reply.json()) as MinerDetails).account!.lanes;
    expect(training).toMatchObject({ declared: 4, proven: 3, open: 1, jobs_last_hour: 7 });
    expect(training!.fair_share_last_hour).toBeGreaterThan(5.5);
    expect(training!.fair_share_last_hour).toBeLessThan(6.5);
  });

  it('shows its live score and its rank among the scored', async () => {
    await award(await attempt({ hotkey: rival.address }), rival.address, '700000');
    expect((await account()).score).toMatchObject({
      epoch: 1,
      points: '650000',
      valid_jobs: 1,
      win_rate: 0,
      rank: 2,
      of: 2,
    });
    expect((await read('', rival)).account?.score).toMatchObject({ win_rate: 1, rank: 1, of: 2, u16: 65_535 });
  });

  it('shows how it was measured', async () => {
    await ground.owner.query(
      `INSERT INTO studio.miner_measurements (hotkey, rtt_min_us, samples, address, address_since)
       VALUES ($1, 12345, 9, '192.0.2.7:9101', studio.now())`,
      [miner.address],
    );
    expect((await account()).measurement).toEqual({
      rtt_min_us: 12_345,
      samples: 9,
      address: '192.0.2.7:9101',
      address_since: expect.any(String),
      measured_at: expect.any(String),
    });
  });

  it('says why it is asked for nothing: another operator was at its address before', async () => {
    const at = (hotkey: string, agoS: number): Promise<unknown> =>
      ground.owner.query(
        `INSERT INTO studio.miner_measurements (hotkey, rtt_min_us, samples, address, address_since)
         VALUES ($1, 1, 8, '192.0.2.8:9101', studio.now() - $2 * interval '1 s')
         ON CONFLICT (hotkey) DO UPDATE SET address = EXCLUDED.address, address_since = EXCLUDED.address_since`,
        [hotkey, agoS],
      );
    await at(miner.address, 10);
    expect((await account()).blocked).toBeNull();
    await at(rival.address, 20);
    expect((await account()).blocked).toMatch(/192\.0\.2\.8:9101, which belongs to operator/);
    expect((await read('', rival)).account?.blocked).toBeNull();
  });
});

describe('the draws of a running epoch', () => {
  it('cannot be told from an account: it is the same to the byte with a draw, an audit and a verdict', async () => {
    const drawn = await attempt({ agoS: 5, us: [9, 4, 5] });
    await award(drawn, miner.address, '5');
    const before = JSON.stringify(await account());
    await audited(drawn, 1);
    await ground.auditor.correct(drawn, 'amnesty', 'the reference was wrong');
    expect(JSON.stringify(await account())).toBe(before);
  });

  it('do not show in the reason of a quarantine either', async () => {
    await ground.auditor.quarantine(miner.address, 'lora-training', 1, 3);
    expect((await account()).quarantines).toEqual([
      { kind: 'lora-training', from_epoch: 1, until_epoch: 3, reason: null, lifted: null },
    ]);
  });

  it('stay hidden while the epoch is closing, and are told with their verdicts once it is closed', async () => {
    await close(1);
    expect((await account()).verdicts).toEqual([]);
    await ground.auditor.settle(1);
    await until(async () => (await fetch(`${registry.url}/v1/snapshots/1`)).ok);
    const { verdicts, quarantines } = await account();
    expect(verdicts).toEqual([
      {
        job_id: expect.any(String),
        attempt: 1,
        kind: 'lora-training',
        epoch: 1,
        outcome: 'invalid',
        reason: 'two replays agree with each other',
        decided_at: expect.any(String),
        evidence: {
          digest: 'a1b2',
          replays: [
            { judge: 'trusted', digest: 'c3d4', agrees: false, distances: null },
            { judge: 'trusted', digest: 'c3d4', agrees: false, distances: null },
          ],
          kappa: 1,
          draw: { why: 'draw', q: 0.1, u: '7', epoch: 1, policy_version: 1 },
          suspicion: null,
        },
        appeal: null,
        corrected: { cause: 'amnesty', reason: 'the reference was wrong', at: expect.any(String) },
      },
    ]);
    expect(quarantines[0]?.reason).toBe('CUSUM above its threshold');
  });

  it('of an old award, decided in an epoch that runs, stay hidden as well', async () => {
    const late = await attempt({ agoS: 4 });
    await audited(late, 1, { outcome: 'valid' });
    await ground.owner.query('UPDATE studio.verdicts SET decided_in = 2 WHERE job_id = $1', [late]);
    expect((await account()).verdicts.map(({ job_id }) => job_id)).not.toContain(late);
  });
});

describe('the verdicts of closed epochs', () => {
  const verdictOn = async (jobId: string): Promise<AccountVerdict | undefined> =>
    (await account()).verdicts.find(({ job_id }) => job_id === jobId);

  it('name neither who replayed the job nor as which job', async () => {
    const job = await attempt({ agoS: 3 });
    await audited(job, 1, { distances: [{ ssim: 0.71, dctDistance: 44 }] });
    const verdict = await verdictOn(job);
    expect(verdict?.evidence.replays[0]?.distances).toEqual([{ ssim: 0.71, dctDistance: 44 }]);
    const told = JSON.stringify(verdict);
    const { rows } = await ground.owner.query('SELECT evidence FROM studio.verdicts WHERE job_id = $1', [job]);
    for (const { hotkey, jobId } of rows[0].evidence.replays) {
      expect(told).not.toContain(hotkey);
      expect(told).not.toContain(jobId);
    }
  });

  it('tell of jobs of our own only what went against the miner, and not which kind of job it was', async () => {
    const [replica, canary, passed] = [await attempt(), await attempt(), await attempt()];
    await audited(replica, 1, { why: 'replica' });
    await audited(canary, 1, { why: 'canary' });
    await audited(passed, 1, { why: 'canary', outcome: 'valid' });
    expect((await verdictOn(replica))?.evidence.draw).toBeNull();
    expect((await verdictOn(canary))?.evidence.draw).toBeNull();
    expect(await verdictOn(passed)).toBeUndefined();
    expect(JSON.stringify(await account())).not.toMatch(/replica|canary/);
  });

  it('show an appeal at once, and what came of it once that is decided', async () => {
    const job = await attempt({ agoS: 2 });
    await audited(job, 1);
    const path = `/v1/miners/${miner.address}/appeals`;
    const body = { job_id: job, reason: 'my seeds are right' };
    expect((await ground.send(registry.url, { key: miner, method: 'POST', path, body })).status).toBe(202);
    const filed = { filed_at: expect.any(String), reason: 'my seeds are right' };
    const open = { ...filed, outcome: null, decided_at: null, verdict_reason: null };
    expect(await verdictOn(job)).toMatchObject({ appeal: open, corrected: null });
    await ground.auditor.judgeAgain({ jobId: job, hotkey: miner.address, outcome: 'valid', reason: 'it is equal' });
    await ground.auditor.correct(job, 'appeal', 'it is equal');
    const verdict = await verdictOn(job);
    const decided = { ...filed, outcome: 'valid', decided_at: expect.any(String), verdict_reason: 'it is equal' };
    expect(verdict).toMatchObject({ outcome: 'invalid', appeal: decided });
    expect(verdict?.corrected).toEqual({ cause: 'appeal', reason: 'it is equal', at: expect.any(String) });
    expect((await account()).verdicts.filter(({ job_id }) => job_id === job)).toHaveLength(1);
  });

  it('may have lifted a quarantine, which stays on record', async () => {
    await ground.auditor.lift(miner.address, 'appeal');
    expect((await account()).quarantines).toEqual([
      expect.objectContaining({ from_epoch: 1, lifted: { cause: 'appeal', at: expect.any(String) } }),
    ]);
  });
});
