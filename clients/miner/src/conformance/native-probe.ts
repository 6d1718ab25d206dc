import { randomUUID } from 'node:crypto';
import type { MinerCapacity, MinerJobRequest, MinerManifest } from '@studio/shared/contract/miner-job';
import type { MinerOffer } from '@studio/shared/contract/miners';
import type { Engine, JobKind } from '@studio/shared/domain/job';
import type { Hotkey } from '@studio/shared/protocol/hotkey';
import { type IncomingHeaders, signRequest } from '@studio/shared/protocol/signatures';
import { Agent, type Dispatcher, Response } from 'undici';
import { Skip, demand } from './check';
import type { Arrival, Awaited, CallbackListener } from './callback-listener';

export interface NativeTarget {
  endpoint: string;
  /** The miner's own: signer and recipient of the suite's jobs. */
  hotkey: Hotkey;
  /** What the registry holds, where it was asked. */
  registered?: readonly MinerOffer[];
  /** A LoRA for engines that the suite cannot compute. */
  lora?: Buffer;
  /** Longest wait for one result. */
  patienceMs: number;
  /** How long a slot may take to be free again after a cancel or a deadline, and to fill at first; as native-flow.ts where not given. */
  settleMs?: number;
}

export interface Answer {
  status: number;
  headers: IncomingHeaders;
  body: Buffer;
  /** Nonce of the request: the signature of the answer is over it. */
  nonce: string;
}

/** How a request is signed, where not rightly. */
export interface Signing {
  unsigned?: boolean;
  signer?: Hotkey;
  recipient?: string;
  nonce?: string;
  nowMs?: number;
  signedPath?: string;
  signedBody?: string;
}

export interface TestJob {
  request: MinerJobRequest;
  awaited: Awaited;
}

/** What came of a job, by whichever way. */
export interface JobResult {
  /** The answer to the request, 200 or 202. */
  answer: Answer;
  /** Present where the result came by callback. */
  callback?: Arrival;
  contentType: string;
  body: Buffer;
  manifest: MinerManifest;
  files: Map<string, Buffer>;
  /** From sending the request to the result. */
  tookMs: number;
}

/** Asks a native miner whatever a check wants to ask, and reads what comes back. */
export class NativeProbe {
  readonly agent = new Agent({ connect: { timeout: 5_000 } });
  private readonly kept = new Map<string, Promise<unknown>>();
  private readonly base: URL;

  constructor(
    readonly target: NativeTarget,
    readonly listener: CallbackListener,
  ) {
    this.base = new URL(target.endpoint.endsWith('/') ? target.endpoint : `${target.endpoint}/`);
  }

  close(): Promise<void> {
    return this.agent.destroy();
  }

  /** The same promise for the same name: several checks look at one result. */
  once<T>(name: string, make: () => Promise<T>): Promise<T> {
    const kept = this.kept.get(name) ?? make();
    this.kept.set(name, kept);
    return kept as Promise<T>;
  }

  async get(path: string, dispatcher: Dispatcher = this.agent, headers: Record<string, string> = {}): Promise<Answer> {
    return this.send('GET', path, undefined, headers, dispatcher);
  }

  /** A signed request, as the orchestrator sends it, but for what `how` changes. */
  async signed(method: 'POST' | 'DELETE', path: string, body = '', how: Signing = {}): Promise<Answer> {
    const { hotkey } = this.target;
    const { nonce = randomUUID(), nowMs = Date.now(), recipient = hotkey.address, signer = hotkey } = how;
    const asked = {
      method,
      nonce,
      nowMs,
      recipient,
      path: how.signedPath ?? this.pathOf(path),
      body: how.signedBody ?? body,
    };
    const headers = {
      ...(body && { 'content-type': 'application/json' }),
      ...(!how.unsigned && signRequest(asked, signer)),
    };
    return { ...(await this.send(method, path, body, headers)), nonce };
  }

  post(job: TestJob, how: Signing = {}): Promise<Answer> {
    return this.signed('POST', 'v1/jobs', JSON.stringify(job.request), how);
  }

  cancel(job: TestJob): Promise<Answer> {
    return this.signed('DELETE', `v1/jobs/${job.request.job_id}`);
  }

  /** @throws Skip where the miner does not do this kind, or does not say. */
  async offer(kind: JobKind): Promise<{ engine: Engine; slots: number }> {
    const capacity = await this.once('capacity', async () => {
      const { status, body } = await this.get('v1/capacity');
      return status === 200 ? (JSON.parse(body.toString()) as Partial<MinerCapacity>) : {};
    }).catch((): Partial<MinerCapacity> => ({}));
    const offer = capacity.kinds?.[kind];
    const engine = offer?.engines?.[0];
    if (!engine) throw new Skip(`the miner does not offer ${kind}`);
    return { engine, slots: offer.slots };
  }

  /** Hands a job in and waits for its result. @throws Failure where none comes in time, or none that can be read. */
  async result(job: TestJob): Promise<JobResult> {
    const { kind, timeout_ms } = job.request;
    const sentMs = Date.now();
    const answer = await this.post(job);
    demand(
      answer.status === 200 || answer.status === 202,
      `a ${kind} that keeps all limits was answered ${answer.status} ${excerpt(answer.body)}`,
      'answer 200 with the result, or 202 and call back',
    );
    if (answer.status === 200) return { answer, ...(await readResult(answer)), tookMs: Date.now() - sentMs };
    const callback = await job.awaited.arrival(1, timeout_ms);
    demand(
      callback !== undefined,
      `the ${kind} was accepted, and no callback came within ${timeout_ms} ms`,
      `POST the result to callback.url; see that the miner can reach ${new URL(job.awaited.url).origin}`,
    );
    return { answer, callback, ...(await readResult(callback)), tookMs: callback.atMs - sentMs };
  }

  pathOf(path: string): string {
    return new URL(path, this.base).pathname;
  }

  private async send(
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    body: string | undefined,
    headers: Record<string, string>,
    dispatcher: Dispatcher = this.agent,
  ): Promise<Answer> {
    const reply = await dispatcher.request({
      origin: this.base.origin,
      path: this.pathOf(path),
      method,
      headers,
      ...(body && { body }),
      signal: AbortSignal.timeout(this.target.patienceMs + 10_000),
    });
    const bytes = Buffer.from(await reply.body.arrayBuffer());
    return { status: reply.statusCode, headers: reply.headers, body: bytes, nonce: '' };
  }
}

/** Reads the multipart form. @throws Failure naming what is wrong with it. */
async function readResult({ headers, body }: Pick<Answer, 'headers' | 'body'>) {
  const contentType = String(headers['content-type']);
  demand(
    contentType.startsWith('multipart/form-data'),
    `the result came as ${contentType}`,
    'send the result as multipart/form-data',
  );
  const parts = await partsOf(contentType, body);
  const manifest = parts.get('manifest');
  demand(manifest !== undefined, `the parts are ${names(parts)}`, 'send the part `manifest`, JSON, first');
  parts.delete('manifest');
  return { contentType, body, manifest: JSON.parse(manifest.toString()) as MinerManifest, files: parts };
}

async function partsOf(contentType: string, body: Buffer): Promise<Map<string, Buffer>> {
  const parts = new Map<string, Buffer>();
  const form = await new Response(body, { headers: { 'content-type': contentType } }).formData();
  for (const [name, value] of form.entries()) {
    parts.set(name, typeof value === 'string' ? Buffer.from(value) : Buffer.from(await value.arrayBuffer()));
  }
  return parts;
}

export function names(parts: ReadonlyMap<string, unknown>): string {
  return [...parts.keys()].join(', ') || 'none';
}

export function excerpt(body: Buffer): string {
  return JSON.stringify(body.toString('utf8', 0, 200));
}
