import { randomUUID } from 'node:crypto';
import type { AppealReply } from '@studio/shared/contract/appeals';
import { SUBJECTS } from '@studio/shared/contract/subjects';
import { DEFAULT_POLICY } from '@studio/shared/domain/policy';
import { loadEnv } from '@studio/shared/platform/env';
import { createLogger } from '@studio/shared/platform/logger';
import { hotkeyFromSeed } from '@studio/shared/protocol/hotkey';
import { RegistryGround, until, type SignedSending } from '@studio/shared/testing/registry-ground';
import { boot, type RunningRegistry } from './boot';
import { RegistryEnv } from './env';

const miner = hotkeyFromSeed('41'.repeat(32));
const rival = hotkeyFromSeed('42'.repeat(32));
const stranger = hotkeyFromSeed('43'.repeat(32));
const REASON = 'the reference had a wrong driver';
const PER_EPOCH = 3;

let ground: RegistryGround;
let registry: RunningRegistry;

beforeAll(async () => {
  ground = await RegistryGround.open(fetch);
  const policy = { ...DEFAULT_POLICY, audit: { ...DEFAULT_POLICY.audit, appealsPerEpoch: PER_EPOCH } };
  await ground.owner.query('INSERT INTO studio.policies (version, body) VALUES (1, $1)', [JSON.stringify(policy)]);
  registry = await boot(
    loadEnv(RegistryEnv, ground.env()),
    createLogger({ name: 'registry', level: 'silent', format: 'line' }),
  );
  await ground.auditor.commit(1, 2, 3, 4);
  await until(async () => (await fetch(`${registry.url}/v1/epochs/current`)).ok);
  for (const [key, port] of [[miner, 9_201] as const, [rival, 9_202] as const]) {
    const offers = [{ kind: 'lora-training', engine: 'ref-sep-v1', slots: 1 }];
    const body = { endpoint: `http://127.0.0.1:${port}`, dialect: 'native', offers };
    expect((await ground.send(registry.url, { key, body })).status).toBe(200);
  }
});

afterAll(async () => {
  await registry.close();
  await ground.close();
});

/** A job with a verdict on it. */
async function judged(fields: Partial<Parameters<typeof ground.auditor.judge>[0]> = {}): Promise<string> {
  const jobId = randomUUID();
  await ground.auditor.judge({ jobId, hotkey: miner.address, ...fields });
  return jobId;
}

async function close(epoch: number): Promise<void> {
  await ground.owner.query(`UPDATE studio.epochs SET opened_at = opened_at - interval '72 minutes' WHERE epoch = $1`, [
    epoch,
  ]);
  await until(async () => (await fetch(`${registry.url}/v1/epochs/${epoch + 1}`)).ok);
  await ground.auditor.settle(epoch);
  await until(async () => (await fetch(`${registry.url}/v1/snapshots/${epoch}`)).ok);
}

function appeal(jobId: string, more: Partial<SignedSending> & { reason?: string } = {}): Promise<Response> {
  const { reason = REASON, key = miner, ...sending } = more;
  const path = `/v1/miners/${key.address}/appeals`;
  return ground.send(registry.url, { key, method: 'POST', path, body: { job_id: jobId, reason }, ...sending });
}

async function refusalOf(reply: Response): Promise<{ status: number; code: string; message: string }> {
  const { error } = (await reply.json()) as { error: { code: string; message: string } };
  return { status: reply.status, ...error };
}

const filed = async (): Promise<number> =>
  (await ground.owner.query('SELECT count(*)::int AS n FROM studio.appeals')).rows[0].n;

describe('an appeal', () => {
  let running: string;
  let late: string;

  it('against a verdict of a running or closing epoch is answered as if there were none', async () => {
    running = await judged();
    late = await judged();
    const none = randomUUID();
    const answers = [];
    for (const job of [running, none]) answers.push((await refusalOf(await appeal(job))).message.replace(job, 'JOB'));
    await ground.owner.query(`UPDATE studio.epochs SET state = 'closing' WHERE epoch = 1`);
    answers.push((await refusalOf(await appeal(running))).message.replace(running, 'JOB'));
    await ground.owner.query(`UPDATE studio.epochs SET state = 'open' WHERE epoch = 1`);
    expect(new Set(answers).size).toBe(1);
    expect(answers[0]).toContain('there is no invalid verdict on your job JOB');
    expect(await filed()).toBe(0);
  });

  it('against a verdict of a closed epoch is stored, and the auditor hears of it after the commit', async () => {
    await close(1);
    const heard = new Promise<number>((resolve, reject) => {
      const callback = () => void filed().then(resolve, reject);
      ground.nats.connection.subscribe(SUBJECTS.appealFiled.subject, { max: 1, callback });
    });
    await ground.nats.connection.flush();
    const reply = await appeal(running);
    expect(reply.status).toBe(202);
    expect(await reply.json()).toEqual({ job_id: running, filed_at: expect.any(String), state: 'open' });
    expect(await heard).toBe(1);
    const { rows } = await ground.owner.query('SELECT hotkey, reason FROM studio.appeals');
    expect(rows).toEqual([{ hotkey: miner.address, reason: REASON }]);
  });

  it('comes to the same when it is sent again, also once it is decided', async () => {
    const first = (await (await appeal(running)).json()) as AppealReply;
    expect(await (await appeal(running)).json()).toEqual(first);
    await ground.auditor.judgeAgain({ jobId: running, hotkey: miner.address, outcome: 'valid' });
    await ground.auditor.correct(running, 'appeal', 'it is equal');
    expect(await (await appeal(running)).json()).toEqual({ ...first, state: 'decided' });
    expect(await filed()).toBe(1);
  });

  it('sent twice at once is one', async () => {
    const before = await filed();
    const replies = await Promise.all([appeal(late), appeal(late), appeal(late)]);
    expect(replies.map(({ status }) => status)).toEqual([202, 202, 202]);
    expect(new Set(await Promise.all(replies.map((reply) => reply.text()))).size).toBe(1);
    expect(await filed()).toBe(before + 1);
  });

  it('is not filed a second time with other words', async () => {
    const refused = await refusalOf(await appeal(late, { reason: 'or it was the weather' }));
    expect(refused).toMatchObject({ status: 409, code: 'APPEAL_REFUSED' });
    expect(refused.message).toMatch(/was appealed against at 20\d\d-.*, with another reason/);
  });

  it.each<[string, () => Promise<string>]>([
    ['on which no verdict is', async () => randomUUID()],
    ['of another miner', () => judged({ hotkey: rival.address })],
    ['that was found valid', () => judged({ outcome: 'valid' })],
    ['on which nothing could be found out', () => judged({ outcome: 'inconclusive' })],
  ])('against a job %s is refused', async (_what, job) => {
    expect(await refusalOf(await appeal(await job()))).toMatchObject({ status: 404, code: 'NOT_FOUND' });
  });

  it('against a verdict that an amnesty took back is refused', async () => {
    const job = await judged();
    await ground.auditor.correct(job, 'amnesty', 'the reference was wrong');
    const refused = await refusalOf(await appeal(job));
    expect(refused).toMatchObject({ status: 409, code: 'APPEAL_REFUSED' });
    expect(refused.message).toContain('taken back already');
  });

  it('is signed by the miner itself, for this miner, with words in it', async () => {
    const job = await judged();
    const path = `/v1/miners/${miner.address}/appeals`;
    const wrong: [Promise<Response>, string][] = [
      [appeal(job, { key: rival, path }), 'SIGNATURE_REFUSED'],
      [appeal(job, { headers: () => ({}) }), 'SIGNATURE_REFUSED'],
      [appeal(job, { sent: JSON.stringify({ job_id: job, reason: 'changed on the way' }) }), 'SIGNATURE_REFUSED'],
      [appeal(job, { key: stranger }), 'NOT_FOUND'],
      [appeal(job, { reason: '' }), 'INVALID_INPUT'],
      [appeal(job, { reason: 'x'.repeat(1_001) }), 'INVALID_INPUT'],
      [appeal('job-1'), 'INVALID_INPUT'],
      [appeal(job, { body: { job_id: job } }), 'INVALID_INPUT'],
    ];
    for (const [reply, code] of wrong) expect(await refusalOf(await reply)).toMatchObject({ code });
    const nonce = randomUUID();
    expect((await appeal(randomUUID(), { nonce })).status).toBe(404);
    expect(await filed()).toBe(2);
  });

  it('may be signed by Epistula, whose body says what it is; each signature counts once', async () => {
    const job = await judged();
    const nonce = randomUUID();
    expect((await appeal(job, { form: 'epistula-2', nonce })).status).toBe(202);
    expect(await refusalOf(await appeal(job, { form: 'epistula-2', nonce }))).toMatchObject({
      code: 'SIGNATURE_REFUSED',
    });
  });

  it('is one of so many as an epoch allows, for each miner', async () => {
    expect(await filed()).toBe(PER_EPOCH);
    const job = await judged();
    const refused = await refusalOf(await appeal(job));
    expect(refused).toMatchObject({ status: 409, code: 'APPEAL_REFUSED' });
    expect(refused.message).toContain('3 appeals were filed in epoch 2, and 3 are allowed');
    expect((await appeal(await judged({ hotkey: rival.address }), { key: rival })).status).toBe(202);
    expect((await appeal(late)).status).toBe(202);
    await close(2);
    expect((await appeal(job)).status).toBe(202);
  });

  it('is counted also when several come at once', async () => {
    const jobs = await Promise.all(Array.from({ length: 6 }, () => judged()));
    const replies = await Promise.all(jobs.map((job) => appeal(job)));
    expect(replies.map(({ status }) => status).sort()).toEqual([202, 202, 409, 409, 409, 409]);
  });

  it('is described in the documentation of the interface', async () => {
    const docs = (await (await fetch(`${registry.url}/docs-json`)).json()) as { paths: object };
    expect(Object.keys(docs.paths)).toContain('/v1/miners/{hotkey}/appeals');
  });
});
