import { randomUUID } from 'node:crypto';
import { CALLBACK_SECRET_HEADER, type MinerJobRequest } from '@studio/shared/contract/miner-job';
import type { MinerReceipt } from '@studio/shared/contract/receipt';
import { networkCreditUs, type NetworkPath } from '@studio/shared/domain/latency';
import { hotkeyFromSeed, verifyText } from '@studio/shared/protocol/hotkey';
import { writeSafetensors } from '@studio/shared/protocol/safetensors';
import { startDippyMiner, type DippyMiner, type DippyQuirks } from '@studio/shared/testing/dippy-miner';
import { resultForm, signedCallback, type StubMiner } from '@studio/shared/testing/stub-miner';
import { attemptStates, WorkerRig, type Json } from './worker.rig';

// A dozen jobs through real servers, on whatever else the machine is doing.
jest.setTimeout(120_000);

let rig: WorkerRig;
const toClose: { close(): Promise<void> }[] = [];

beforeAll(async () => (rig = await WorkerRig.open()));
afterAll(async () => {
  await rig?.clear();
  await Promise.all(toClose.map((miner) => miner.close()));
  await rig?.close();
});

const ORCHESTRATOR = (): string => hotkeyFromSeed(rig.env.ORCHESTRATOR_SEED).address;

async function useNative(answer?: StubMiner['answer']): Promise<StubMiner> {
  const [miner] = await rig.useMiners(1, answer);
  toClose.push(miner!);
  await rig.restartWorker();
  return miner!;
}

async function useDippy(...quirks: DippyQuirks[]): Promise<DippyMiner[]> {
  const reach = (url: string): string => url.replace('http://studio.test', rig.api.url);
  const miners = await Promise.all(quirks.map(() => startDippyMiner({ name: randomUUID(), reach })));
  miners.forEach((miner, index) => (miner.quirks = quirks[index]!));
  toClose.push(...miners);
  rig.registry.announce(miners.map(({ routable }) => routable));
  await rig.restartWorker();
  return miners;
}

const addFluxJob = (): Promise<string> => rig.addJob({ engine: 'flux', timeoutMs: 60_000, deadlineMs: 120_000 });

/** Everything that a callback could change. */
async function rows(id: string): Promise<Json> {
  const [row] = await rig.db.query(
    `SELECT to_jsonb(j) - 'wake_at' AS job, (SELECT jsonb_agg(to_jsonb(a) ORDER BY attempt_no)
              FROM studio.attempts a WHERE a.job_id = j.id) AS attempts
       FROM studio.jobs j WHERE j.id = $1`,
    [id],
  );
  return row;
}

const times = <T>(count: number, make: () => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, () => make()));

const statuses = (replies: Response[]): Set<number> => new Set(replies.map(({ status }) => status));

function isGenuine(receipt: MinerReceipt): boolean {
  const { body_sha256, nonce, recipient, hotkey, signature } = receipt;
  const head = receipt.form === 'reply' ? [receipt.status] : [receipt.method, receipt.path];
  const time = receipt.form === 'reply' ? [] : [receipt.timestamp];
  return verifyText(hotkey, [...head, body_sha256, ...time, nonce, recipient].join('|'), signature);
}

describe('the receipt of a native job', () => {
  it('is stored with the attempt, whichever way the result came, beside what the credit was computed from', async () => {
    const miner = await useNative();
    const direct = await rig.addJob();
    await rig.finished(direct);
    miner.answer = () => ({ status: 202 });
    const awaited = await rig.addJob();
    await rig.untilState(awaited, 'awaiting-callback');
    const asked = miner.asked.find(({ job_id }) => job_id === awaited)!;
    expect((await rig.callback(asked)).status).toBe(200);
    for (const [id, form] of [
      [direct, 'reply'],
      [awaited, 'request'],
    ] as const) {
      const { job, attempts } = await rows(id);
      const { receipt, network, credit_us, dialect } = attempts.at(-1);
      expect({ receipt, dialect }).toMatchObject({
        dialect: 'native',
        receipt: { form, hotkey: miner.hotkey, recipient: ORCHESTRATOR() },
      });
      expect(isGenuine(receipt)).toBe(true);
      const path = { ...network, tMaxMs: job.timeout_ms } as NetworkPath;
      expect(credit_us).toBe(networkCreditUs(path));
    }
  });
});

async function awaiting(): Promise<{ id: string; asked: MinerJobRequest }> {
  const miner = await useNative(() => ({ status: 202 }));
  const id = await rig.addJob({ timeoutMs: 60_000 });
  await rig.untilState(id, 'awaiting-callback');
  return { id, asked: miner.asked.at(-1)! };
}

describe('a callback that does not count', () => {
  it('is refused with 401 while nothing changes, until it comes signed', async () => {
    const { id, asked } = await awaiting();
    const before = await rows(id);
    const form = (): FormData => resultForm(asked, { image_0: rig.image });
    const url = asked.callback.url.replace('http://studio.test', rig.api.url);
    const secret = { [CALLBACK_SECRET_HEADER]: asked.callback.secret };
    const unsigned = await fetch(url, { method: 'POST', body: form(), headers: secret });
    expect([unsigned.status, ((await unsigned.json()) as Json).error.code]).toEqual([401, 'SIGNATURE_REFUSED']);
    const foreign = await signedCallback(asked, form(), hotkeyFromSeed('66'.repeat(32)));
    expect((await fetch(url, { method: 'POST', ...foreign })).status).toBe(401);
    const json = await fetch(url, { method: 'POST', body: '{}', headers: { ...secret, 'content-type': 'application/json' } }); // prettier-ignore
    expect(json.status).toBe(400);
    expect(await rows(id)).toEqual(before);
    expect((await rig.callback(asked)).status).toBe(200);
    expect(await rig.finished(id)).toMatchObject({ state: 'succeeded' });
  });

  it('changes nothing a hundred times: of another job, repeated, or late', async () => {
    const { id: waiting, asked } = await awaiting();
    const { id: other, asked: otherAsked } = await awaiting();
    const before = await rows(waiting);
    const misled = { ...asked, callback: { ...asked.callback, secret: otherAsked.callback.secret } };
    expect(statuses(await times(100, () => rig.callback(misled)))).toEqual(new Set([401]));
    expect(await rows(waiting)).toEqual(before);

    const [one] = await Promise.all([rig.callback(otherAsked), rig.finished(other)]);
    expect(one.status).toBe(200);
    const done = await rows(other);
    expect(statuses(await times(100, () => rig.callback(otherAsked)))).toEqual(new Set([200]));
    expect(await rows(other)).toEqual(done);

    await fetch(`${rig.api.url}/v1/jobs/${waiting}/cancel`, { method: 'POST', headers: rig.headers });
    const cancelled = await rows(waiting);
    expect(statuses(await times(100, () => rig.callback(asked)))).toEqual(new Set([409]));
    expect(await rows(waiting)).toEqual(cancelled);
  });
});

describe('progress that a miner tells', () => {
  const tell = (asked: MinerJobRequest, body: object, secret = asked.callback.secret): Promise<Response> =>
    fetch(`${asked.callback.url.replace('http://studio.test', rig.api.url)}/progress`, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json', [CALLBACK_SECRET_HEADER]: secret },
    });

  it('is shown with its attempt, with a mark at every twentieth of the way, and is never written twice at once', async () => {
    const { id, asked } = await awaiting();
    const statusesOf = async (...bodies: object[]): Promise<number[]> =>
      (await Promise.all(bodies.map((body) => tell(asked, body)))).map(({ status }) => status);
    const shown = async (): Promise<Json> => (await rows(id)).attempts.at(-1).progress;
    const age = (): Promise<unknown> =>
      rig.db.query(
        `UPDATE studio.attempts SET progress = jsonb_set(progress, '{at}', to_jsonb(studio.now() - interval '2 s')) WHERE job_id = $1`,
        [id],
      );
    expect(await statusesOf({ step: 3, total: 300 })).toEqual([204]);
    expect(await shown()).toMatchObject({ step: 3, total: 300, marks: [] });
    // Too soon, and backwards.
    expect(await statusesOf({ step: 40, total: 300 })).toEqual([204]);
    await age();
    expect(await statusesOf({ step: 2, total: 300 })).toEqual([204]);
    expect(await shown()).toMatchObject({ step: 3 });
    for (const step of [15, 29, 30]) {
      await statusesOf({ step, total: 300 });
      await age();
    }
    expect(await shown()).toMatchObject({ step: 30, marks: [{ step: 15 }, { step: 30 }] });
    const job = (await (await fetch(`${rig.api.url}/v1/jobs/${id}`, { headers: rig.headers })).json()) as Json;
    expect(job.attempts.at(-1).progress).toMatchObject({ step: 30, total: 300 });
    expect(await statusesOf({ step: 31, total: 30 }, { step: -1, total: 3 }, {})).toEqual([422, 422, 422]);
  });

  it('is refused without the secret, and once the attempt is closed', async () => {
    const { id, asked } = await awaiting();
    const before = await rows(id);
    expect((await tell(asked, { step: 1, total: 3 }, 'f'.repeat(64))).status).toBe(401);
    expect(await rows(id)).toEqual(before);
    expect((await rig.callback(asked)).status).toBe(200);
    const done = await rows(id);
    expect((await tell(asked, { step: 1, total: 3 })).status).toBe(409);
    expect(await rows(id)).toEqual(done);
  });
});

describe('a Dippy miner', () => {
  it('is sent a job and brings its picture, though it calls back first and a hundred times', async () => {
    const [miner] = await useDippy({ callbackFirst: true, callbacks: 100 });
    const id = await addFluxJob();
    expect(await rig.finished(id)).toMatchObject({ state: 'succeeded', attempts: [{ hotkey: miner!.hotkey }] });
    await miner!.calledBack(100);
    expect(new Set(miner!.callbacks.map(({ status }) => status))).toEqual(new Set([200]));
    const { attempts } = await rows(id);
    expect(attempts).toMatchObject([{ state: 'accepted', dialect: 'dippy', receipt: null }]);
  });

  it.each<[DippyQuirks, string, RegExp]>([
    [{ emptyImage: true }, 'invalid', /completed job without an image/],
    [{ fails: 'CUDA out of memory' }, 'failed', /gave up: CUDA out of memory/],
    [{ upstream: 502 }, 'failed', /model server failed \(HTTP 502\)/],
    [{ rejectAuth: 403 }, 'failed', /Sender not allowed/],
  ])('with %j loses its attempt and not the job', async (quirks, state, reason) => {
    const [first, second] = await useDippy(quirks, quirks);
    // Whoever is asked second does it right.
    first!.onAsked = () => (second!.quirks = {});
    second!.onAsked = () => (first!.quirks = {});
    const id = await addFluxJob();
    const job = await rig.finished(id);
    expect(attemptStates(job)).toEqual([state, 'accepted']);
    expect(job.attempts[0]).toMatchObject({ blame: 'miner', reason: expect.stringMatching(reason) });
  });
});

describe('a client with a LoRA of its own for the diffusion engine', () => {
  it('gets its image from a Dippy miner', async () => {
    await useDippy({});
    const module = 'transformer.single_transformer_blocks.0.attn.to_q';
    const part = (shape: number[]) => ({ shape, data: new Float32Array(shape[0]! * shape[1]!).fill(0.1) });
    const lora = new Map([
      [`${module}.lora_A.weight`, part([4, 8])],
      [`${module}.lora_B.weight`, part([8, 4])],
    ]);
    const post = (path: string, type: string, body: string | Uint8Array<ArrayBuffer>): Promise<Response> =>
      fetch(`${rig.api.url}${path}`, { method: 'POST', body, headers: { ...rig.headers, 'content-type': type } });
    const upload = await post('/v1/artifacts', 'application/octet-stream', new Uint8Array(writeSafetensors(lora)));
    const { url } = (await upload.json()) as Json;
    const input = { lora_url: url, prompt: 'a cat', width: 64, height: 64, seed: 0 };
    const job = { kind: 'lora-inference', engine: 'flux', input };
    const submitted = await post('/v1/jobs', 'application/json', JSON.stringify(job));
    const { id } = (await submitted.json()) as Json;
    expect(submitted.status).toBe(202);
    expect(await rig.finished(id)).toMatchObject({ state: 'succeeded', attempts: [{ state: 'accepted' }] });
    // Two images are more than that dialect has words for: said at the door, not after a queue.
    const two = { ...job, input: { ...input, num_images: 2 } };
    const refused = await post('/v1/jobs', 'application/json', JSON.stringify(two));
    expect([refused.status, ((await refused.json()) as Json).error.code]).toEqual([503, 'NO_ELIGIBLE_MINER']);
  });
});
