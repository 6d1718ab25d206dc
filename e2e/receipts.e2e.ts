/** Real results of real jobs, on paper: whoever checks a receipt finds it right, and every change of it wrong. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { verifyReceiptCommand } from '@studio/cli/verify-receipt/command';
import type { CheckedReceipt, CheckName } from '@studio/cli/verify-receipt/verify-receipt';
import { WorkerRig } from '@studio/querier/worker.rig';
import type { SignedReceipt } from '@studio/shared/contract/receipt';
import type { InferenceInput } from '@studio/shared/domain/job';
import { hotkeyFromSeed, signText } from '@studio/shared/protocol/hotkey';
import { signReceipt } from '@studio/shared/protocol/receipt-signature';
import { startDippyMiner, type DippyMiner } from '@studio/shared/testing/dippy-miner';

jest.setTimeout(120_000);

let rig: WorkerRig;
let dir: string;
let dippy: DippyMiner | undefined;
let native: { id: string; hotkey: string; signed: SignedReceipt };

beforeAll(async () => {
  [rig, dir] = await Promise.all([WorkerRig.open(), mkdtemp(join(tmpdir(), 'receipts-'))]);
  const [miner] = await rig.useMiners(1);
  await rig.startWorker();
  const id = await rig.addJob();
  await rig.finished(id);
  native = { id, hotkey: miner!.hotkey, signed: (await ask(id)).body };
});

afterAll(async () => {
  await rig?.clear();
  await dippy?.close();
  await rig?.close();
  await rm(dir, { recursive: true, force: true });
});

async function ask(id: string): Promise<{ status: number; body: SignedReceipt }> {
  const reply = await fetch(`${rig.api.url}/v1/jobs/${id}/receipt`, { headers: rig.headers });
  return { status: reply.status, body: (await reply.json()) as SignedReceipt };
}

interface Outcome {
  status: number;
  /** Checks that found something wrong, and those that were not made. */
  wrong: CheckName[];
  skipped: CheckName[];
  told: string;
}

/** What the command says of this receipt, read from a file. */
async function check(signed: unknown, ...options: string[]): Promise<Outcome> {
  const file = join(dir, randomUUID());
  await writeFile(file, typeof signed === 'string' ? signed : JSON.stringify(signed));
  const outcome: Outcome = { status: -1, wrong: [], skipped: [], told: '' };
  const take = ({ checks }: CheckedReceipt): void => {
    outcome.wrong = checks.filter(({ problems }) => problems.length > 0).map(({ name }) => name);
    outcome.skipped = checks.filter(({ skipped }) => skipped !== undefined).map(({ name }) => name);
  };
  outcome.status = await verifyReceiptCommand([file, '--json', ...options], {
    print: (text) => take(JSON.parse(text) as CheckedReceipt),
    tell: (text) => void (outcome.told += text),
  });
  return outcome;
}

/** A change of a copy, signed again by an orchestrator that would rather have it so. */
async function resigned(
  change: (receipt: SignedReceipt['receipt']) => void,
  keep: Partial<SignedReceipt> = native.signed,
) {
  const { receipt, input } = structuredClone({ ...native.signed, ...keep });
  change(receipt);
  const key = hotkeyFromSeed(rig.env.ORCHESTRATOR_SEED);
  const signer = { address: key.address, sign: async (message: string) => signText(key, message) };
  return { receipt, input, signature: await signReceipt(receipt, signer) };
}

describe('the receipt of a native job', () => {
  it('tells what went in, what came out, who did it, and verifies against the files', async () => {
    const { receipt, input } = native.signed;
    const { sha256 } = (input as InferenceInput).lora;
    expect(receipt).toMatchObject({
      job_id: native.id,
      state: 'succeeded',
      input_file_sha256: sha256,
      seed: 1,
      miner: { hotkey: native.hotkey, dialect: 'native', attempt: 1, signed: { form: 'reply', hotkey: native.hotkey } },
      verdict: null,
    });
    const result = await fetch(`${rig.api.url}/v1/jobs/${native.id}/result`, { headers: rig.headers });
    const { url } = ((await result.json()) as { images: { url: string }[] }).images[0]!;
    const image = join(dir, 'image.png');
    const file = await fetch(url.replace('http://studio.test', rig.api.url));
    await writeFile(image, Buffer.from(await file.arrayBuffer()));
    const { address } = hotkeyFromSeed(rig.env.ORCHESTRATOR_SEED);
    const right = await check(native.signed, '--output', image, '--orchestrator-key', address);
    expect(right).toEqual({ status: 0, wrong: [], skipped: ['input-file'], told: '' });

    const other = join(dir, 'other.png');
    await writeFile(other, 'another picture');
    expect(await check(native.signed, '--output', image, '--output', other)).toMatchObject({
      status: 1,
      wrong: ['output-files'],
    });
    expect(await check(native.signed, '--input', other)).toMatchObject({ status: 1, wrong: ['input-file'] });
    const stranger = hotkeyFromSeed('77'.repeat(32)).address;
    expect(await check(native.signed, '--orchestrator-key', stranger)).toMatchObject({
      status: 1,
      wrong: ['orchestrator'],
    });
  });

  it('does not verify with any field changed, and says which half is wrong', async () => {
    const paths = leaves(native.signed);
    expect(paths.length).toBeGreaterThan(40);
    for (const path of paths) {
      const { status, wrong } = await check(changed(native.signed, path));
      const half: CheckName = path[0] === 'input' ? 'input' : 'orchestrator';
      // Of another form it cannot be read at all.
      const expected = ['format', 'form'].includes(String(path.at(-1)))
        ? { status: 2, named: false }
        : { status: 1, named: true };
      expect({ path, status, named: wrong.includes(half) }).toEqual({ path, ...expected });
    }
  });

  it('cannot be bent by the orchestrator where the miner signed, nor against itself', async () => {
    const bend = async (change: (receipt: SignedReceipt['receipt']) => void) =>
      (await check(await resigned(change))).wrong;
    expect(await bend(() => undefined)).toEqual([]);
    for (const field of ['hotkey', 'body_sha256', 'nonce', 'recipient', 'signature', 'status']) {
      const bent = await bend(({ miner }) => Object.assign(miner!.signed!, changed(miner!.signed, [field])));
      expect({ field, bent }).toEqual({ field, bent: ['miner'] });
    }
    expect(await bend(({ miner }) => (miner!.hotkey = hotkeyFromSeed('77'.repeat(32)).address))).toEqual(['miner']);
    expect(await bend(({ miner }) => (miner!.signed = null))).toEqual(['miner']);
    expect(await bend((receipt) => (receipt.miner = null))).toEqual(['miner']);
    expect(await bend((receipt) => (receipt.seed += 1))).toEqual(['input']);
    expect(await bend((receipt) => (receipt.input_file_sha256 = 'f'.repeat(64)))).toEqual(['input']);
    expect(await bend(({ miner }) => (miner!.net_us += 1))).toEqual(['times']);
    expect(await bend((receipt) => (receipt.finished_at = receipt.created_at))).toEqual(['times']);
  });

  it('verifies without its input, which may be private', async () => {
    const { input: _, ...rest } = native.signed;
    expect(await check(rest)).toMatchObject({ status: 0, skipped: ['input', 'input-file', 'output-files'] });
  });

  it('names the attempt that a callback was signed for', async () => {
    const [miner] = rig.miners;
    miner!.answer = () => ({ status: 202 });
    const id = await rig.addJob();
    await rig.untilState(id, 'awaiting-callback');
    const asked = miner!.asked.find(({ job_id }) => job_id === id)!;
    expect((await rig.callback(asked)).status).toBe(200);
    miner!.answer = rig.works;
    const { body } = await ask(id);
    expect(body.receipt.miner?.signed).toMatchObject({ form: 'request', method: 'POST' });
    expect(await check(body)).toMatchObject({ status: 0, wrong: [] });
    for (const field of ['path', 'method', 'timestamp', 'nonce']) {
      const bent = await resigned(
        ({ miner: named }) => Object.assign(named!.signed!, changed(named!.signed, [field])),
        body,
      );
      expect({ field, ...(await check(bent)) }).toMatchObject({ field, status: 1, wrong: ['miner'] });
    }
    const elsewhere = await resigned((receipt) => (receipt.job_id = native.id), body);
    expect(await check(elsewhere)).toMatchObject({ status: 1, wrong: ['miner'] });
  });

  it('shows a verdict from the close of its epoch on', async () => {
    await judge(native.id, native.hotkey);
    expect((await ask(native.id)).body.receipt.verdict).toBeNull();
    await rig.owner.query(`UPDATE studio.epochs SET state = 'closed', closed_at = studio.now() WHERE epoch = 1`);
    const { body } = await ask(native.id);
    expect(body.receipt.verdict).toMatchObject({ outcome: 'valid', reason: 'because', epoch: 1, corrected_by: null });
    expect(await check(body)).toMatchObject({ status: 0 });
  });
});

it('says of a Dippy miner that it signs nothing', async () => {
  const reach = (url: string): string => url.replace('http://studio.test', rig.api.url);
  dippy = await startDippyMiner({ name: randomUUID(), reach });
  rig.registry.announce([dippy.routable]);
  await rig.restartWorker();
  const id = await rig.addJob({ engine: 'flux', timeoutMs: 30_000 });
  await rig.finished(id);
  const { body } = await ask(id);
  expect(body.receipt.miner).toMatchObject({ hotkey: dippy.hotkey, dialect: 'dippy', signed: null });
  expect(await check(body)).toMatchObject({ status: 0, wrong: [], skipped: expect.arrayContaining(['miner']) });
});

it('is there for a job without a result as well, and for none that is not finished', async () => {
  await Promise.all(rig.workers.splice(0).map((worker) => worker.close()));
  const id = await rig.addJob();
  expect(await ask(id)).toMatchObject({ status: 409, body: { error: { code: 'NOT_FINISHED' } } });
  await fetch(`${rig.api.url}/v1/jobs/${id}/cancel`, {
    method: 'POST',
    headers: { authorization: rig.headers['authorization']! },
  });
  const { body } = await ask(id);
  expect(body.receipt).toMatchObject({ state: 'cancelled', outputs: [], miner: null });
  expect(await check(body)).toMatchObject({ status: 0, skipped: ['miner', 'input-file', 'output-files'] });
  expect((await ask(randomUUID())).status).toBe(404);
});

it('is told from what is none', async () => {
  for (const text of ['', 'no JSON', '[]', '{"receipt":{}}', JSON.stringify({ ...native.signed, signature: 1 })]) {
    expect(await check(text)).toMatchObject({
      status: 2,
      told: expect.stringMatching(/is (no receipt|of the format)/),
    });
  }
  expect(await verifyReceiptCommand([join(dir, 'nothing')], { print: () => undefined, tell: () => undefined })).toBe(2);
});

/** As the auditor leaves it behind. */
async function judge(jobId: string, hotkey: string): Promise<void> {
  const columns = `hotkey, operator, kind, engine, epoch`;
  await rig.owner.query(
    `INSERT INTO studio.draws (job_id, attempt_no, ${columns}, u, q, drawn, policy_version, latency_us, points, finished_at)
     VALUES ($1, 1, $2, 'o', 'lora-inference', 'ref-sep-v1', 1, 0, 1, true, 1, 1, 1, studio.now())`,
    [jobId, hotkey],
  );
  await rig.owner.query(
    `WITH audit AS (
       INSERT INTO studio.audits (id, job_id, ${columns}, why, state, due_at)
       SELECT gen_random_uuid(), job_id, ${columns}, 'draw', 'decided', studio.now() FROM studio.draws WHERE job_id = $1
       RETURNING *)
     INSERT INTO studio.verdicts (audit_id, job_id, attempt_no, hotkey, kind, epoch, decided_in, outcome, reason, evidence)
     SELECT id, job_id, 1, hotkey, kind, epoch, epoch, 'valid', 'because', '{}' FROM audit`,
    [jobId],
  );
}

type Path = (string | number)[];

/** The way to everything in it that is no object or list. */
function leaves(value: unknown): Path[] {
  if (typeof value !== 'object' || value === null) return [[]];
  return Object.entries(value).flatMap(([name, inner]) => leaves(inner).map((rest): Path => [name, ...rest]));
}

/** A copy in which this one thing is another. */
function changed<T>(value: T, [name, ...rest]: Path): T {
  if (name === undefined) return another(value) as T;
  const copy = structuredClone(value) as Record<string | number, unknown>;
  copy[name] = changed(copy[name], rest);
  return copy as T;
}

function another(value: unknown): unknown {
  if (typeof value === 'number') return value + 1;
  if (typeof value === 'boolean') return !value;
  if (value === null)
    return { code: 'x', message: 'x', outcome: 'x', reason: 'x', epoch: 1, decided_at: 'x', corrected_by: null };
  const text = value as string;
  return text.slice(0, -1) + (text.endsWith('1') ? '2' : '1');
}
