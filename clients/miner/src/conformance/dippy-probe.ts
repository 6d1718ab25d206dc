import { randomUUID } from 'node:crypto';
import type { Hotkey } from '@studio/shared/protocol/hotkey';
import { signEpistula } from '@studio/shared/protocol/epistula';
import { Agent, Response } from 'undici';
import { demand } from './check';
import type { Arrival, Awaited, CallbackListener } from './callback-listener';

export interface DippyTarget {
  endpoint: string;
  /** The miner's own: signer and recipient of the suite's jobs. */
  hotkey: Hotkey;
  /** `lora_path` of the jobs, where the operator wants one tried. */
  lora?: string;
  patienceMs: number;
}

export interface DippySigning {
  unsigned?: boolean;
  recipient?: string;
  nowMs?: number;
  signedBody?: string;
}

export interface DippyAnswer {
  status: number;
  /** Parsed; undefined where it is no JSON. */
  json: Record<string, unknown> | undefined;
  text: string;
}

export interface DippyTestJob {
  body: Record<string, unknown> & { job_id: string };
  awaited: Awaited;
}

/** A callback's parts, in the order in which they came. */
export type DippyParts = Map<string, Buffer>;

export interface DippyDone {
  job: DippyTestJob;
  answer: DippyAnswer;
  arrival: Arrival;
  parts: DippyParts;
}

const ALREADY_OVER_MS = 60_000;

/** Asks a Dippy Studio miner as its contract has it, and reads its callbacks. */
export class DippyProbe {
  private readonly agent = new Agent({ connect: { timeout: 5_000 } });
  private readonly kept = new Map<number, Promise<DippyDone>>();

  constructor(
    readonly target: DippyTarget,
    private readonly listener: CallbackListener,
  ) {}

  close(): Promise<void> {
    return this.agent.destroy();
  }

  get(path: string, how: DippySigning = { unsigned: true }): Promise<DippyAnswer> {
    return this.send('GET', path, '', how);
  }

  /** Signed over exactly the bytes that are sent, but for what `how` changes. */
  post(body: object, how: DippySigning = {}): Promise<DippyAnswer> {
    return this.send('POST', '/inference', JSON.stringify(body), how);
  }

  /** A small job with a fresh id: a used one would bring its old file. */
  job(seed: number, over: object = {}): DippyTestJob {
    const awaited = this.listener.expect();
    const { lora, patienceMs } = this.target;
    const body = {
      prompt: 'a lighthouse',
      width: 128,
      height: 64,
      num_inference_steps: 28,
      guidance_scale: 7,
      seed,
      job_id: randomUUID(),
      callback_url: awaited.url,
      callback_secret: awaited.secret,
      expiry: new Date(Date.now() + patienceMs + ALREADY_OVER_MS).toISOString(),
      ...(lora && { lora_path: lora }),
      ...over,
    };
    return { body, awaited };
  }

  /** A job whose time is over before it is handed in. */
  expiredJob(seed: number): DippyTestJob {
    return this.job(seed, { expiry: new Date(Date.now() - ALREADY_OVER_MS).toISOString() });
  }

  /** What came of a small job with this seed; once, however many checks look at it. @throws Failure */
  done(seed: number): Promise<DippyDone> {
    const kept = this.kept.get(seed) ?? this.work(this.job(seed));
    this.kept.set(seed, kept);
    return kept;
  }

  /** @throws Failure where it is not accepted, or no callback comes. */
  async work(job: DippyTestJob): Promise<DippyDone> {
    const answer = await this.post(job.body);
    demand(
      answer.status === 200 || answer.status === 202,
      `POST /inference was answered ${answer.status} ${answer.text}`,
      'see that inference is enabled, and that the proxy reaches its model server',
    );
    const arrival = await job.awaited.arrival(1, this.target.patienceMs);
    demand(
      arrival !== undefined,
      `the job was accepted (${answer.status}), and no callback came within ${this.target.patienceMs} ms`,
      `see the model server's log, and that it can reach ${new URL(job.awaited.url).origin}`,
    );
    return { job, answer, arrival, parts: await readParts(arrival) };
  }

  private async send(method: 'GET' | 'POST', path: string, body: string, how: DippySigning): Promise<DippyAnswer> {
    const { endpoint, hotkey, patienceMs } = this.target;
    const { recipient = hotkey.address, nowMs = Date.now() } = how;
    const asked = { body: how.signedBody ?? body, nowMs, nonce: randomUUID(), recipient };
    const headers = {
      ...(body && { 'content-type': 'application/json' }),
      ...(!how.unsigned && signEpistula('epistula-dippy', asked, hotkey)),
    };
    const reply = await this.agent.request({
      origin: new URL(endpoint).origin,
      path: new URL(endpoint).pathname.replace(/\/$/, '') + path,
      method,
      headers,
      ...(body && { body }),
      signal: AbortSignal.timeout(patienceMs),
    });
    const text = await reply.body.text();
    return { status: reply.statusCode, text: text.slice(0, 300), json: parse(text) };
  }
}

/** Both forms: theirs is url-encoded where no part is binary. */
async function readParts({ headers, body }: Arrival): Promise<DippyParts> {
  const form = await new Response(body, { headers: { 'content-type': String(headers['content-type']) } }).formData();
  const parts: DippyParts = new Map();
  for (const [name, value] of form.entries()) {
    parts.set(name, typeof value === 'string' ? Buffer.from(value) : Buffer.from(await value.arrayBuffer()));
  }
  return parts;
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value = JSON.parse(text) as unknown;
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
