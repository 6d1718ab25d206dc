/**
 * Registers many miners at a steady rate, each request signed: a process of its own, so that what signing and sending
 * cost is not measured. Requests are signed just ahead of their time, in a thread: a signature is fresh for 10 s only.
 */
import { randomUUID } from 'node:crypto';
import { SignatureThreads } from '@studio/shared/platform/signature-threads';
import type { Signer } from '@studio/shared/protocol/hotkey';
import { sha256Hex } from '@studio/shared/protocol/canonical';
import { signWith, unsignedRequest } from '@studio/shared/protocol/signatures';
import { Agent, request } from 'undici';
import { serve, tell } from './child';
import { openLoop } from './load';
import { percentile } from './statistics';

export interface SignedSenderConfig {
  registryUrl: string;
  /** Hotkey of the registry. */
  recipient: string;
  miners: number;
  /** Changing it starts a run, whose outcome is told. */
  run: SignedRun | null;
}

export interface SignedRun {
  perSecond: number;
  seconds: number;
  /** Well-formed signatures over something else: the registry has to do all the curve's work to refuse them. */
  forged: boolean;
}

export interface SignedOutcome {
  /** How many of each HTTP status; `broken` for a connection that was. */
  statuses: Record<string, number>;
  answered: number;
  /** Due while too many others were under way. */
  unsent: number;
  /** From the moment a request was due, whether or not it could be sent then, to the end of its reply. */
  p50Ms: number;
  p99Ms: number;
  maxMs: number;
  seconds: number;
}

interface Ready {
  path: string;
  body: string;
  headers: Record<string, string>;
}

/** Under way at the same time: beyond them a request would wait here until its signature is stale. */
const CONNECTIONS = 256;

/** One second ahead: a tenth of a signature's life. */
const AHEAD_SECONDS = 1;

void serve<SignedSenderConfig>(async (config) => {
  const threads = new SignatureThreads();
  const agent = new Agent({ connections: CONNECTIONS });
  const signers = Array.from({ length: config.miners }, (_, index) => threads.signer(sha256Hex(`signer ${index}`)));
  process.on('message', ({ run }: Partial<SignedSenderConfig>) => {
    if (run) void send(run).then(tell);
  });

  async function prepare(index: number, forged: boolean): Promise<Ready> {
    const at = index % signers.length;
    const signer = signers[at] as Signer;
    const path = `/v1/miners/${signer.address}`;
    const offers = [{ kind: 'lora-inference', engine: 'ref-sep-v1', slots: 4 }];
    const body = JSON.stringify({ endpoint: `http://miner-${at}.example:8080`, dialect: 'native', offers });
    const signed = { method: 'PUT', path, body: forged ? 'another' : body, nowMs: Date.now(), nonce: randomUUID() };
    const headers = await signWith(unsignedRequest({ ...signed, recipient: config.recipient }, signer.address), signer);
    return { path, body, headers: { 'content-type': 'application/json', ...headers } };
  }

  async function put({ path, body, headers }: Ready): Promise<string> {
    try {
      const url = config.registryUrl + path;
      const reply = await request(url, { method: 'PUT', body, headers, dispatcher: agent });
      await reply.body.dump();
      return String(reply.statusCode);
    } catch {
      return 'broken';
    }
  }

  async function send({ perSecond, seconds, forged }: SignedRun): Promise<SignedOutcome> {
    const count = perSecond * seconds;
    const ahead = Math.min(count, perSecond * AHEAD_SECONDS);
    const ready = Array.from({ length: ahead }, (_, index) => prepare(index, forged));
    await Promise.all(ready);
    const statuses: Record<string, number> = {};
    const latencies: number[] = [];
    let [underWay, unsent] = [0, 0];
    const start = performance.now();
    await openLoop(count, perSecond, async (index) => {
      if (index + ahead < count) ready[index + ahead] = prepare(index + ahead, forged);
      const one = await (ready[index] as Promise<Ready>);
      if (underWay >= CONNECTIONS) return void (unsent += 1);
      underWay += 1;
      const status = await put(one);
      underWay -= 1;
      statuses[status] = (statuses[status] ?? 0) + 1;
      latencies.push(performance.now() - start - (index * 1_000) / perSecond);
    });
    return {
      statuses,
      answered: latencies.length,
      unsent,
      p50Ms: percentile(latencies, 0.5),
      p99Ms: percentile(latencies, 0.99),
      maxMs: percentile(latencies, 1),
      seconds: (performance.now() - start) / 1_000,
    };
  }
});
