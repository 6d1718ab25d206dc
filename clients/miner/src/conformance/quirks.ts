/**
 * A miner with one fault, for the suite's own tests: a proxy before a real miner that holds the same key, and so can sign
 * in its name whatever it changes. A check that no fault makes fail proves nothing.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { MinerJobRequest } from '@studio/shared/contract/miner-job';
import type { Hotkey } from '@studio/shared/protocol/hotkey';
import {
  HEADERS,
  type RefusalReason,
  type RequestToVerify,
  signReply,
  signRequest,
  verifyRequest,
} from '@studio/shared/protocol/signatures';
import { Agent } from 'undici';

interface Message {
  status: number;
  headers: Record<string, string>;
  body: Buffer;
}

/** Larger than all that the orchestrator sends. */
const CUT_BODY_BYTES = 256 * 1024;
const CUT_HEADER_BYTES = 32 * 1024;

/** One fault; each part changes what passes in one direction. */
export interface Quirk {
  /** Requests that are wrong in this way are let through. */
  tolerates?: Fault;
  /** The job, as it reaches the miner. */
  job?: (request: MinerJobRequest) => MinerJobRequest;
  /** The reply; signed again unless `unsignedReplies`. */
  reply?: (message: Message, method: string, path: string) => Message;
  /** Replies of this status are not signed. */
  unsignedReplies?: number;
  /** Answers in place of the miner. */
  instead?: (method: string, path: string, body: Buffer) => Message | undefined;
  /** The callback, as it leaves; undefined swallows it. */
  callback?: (message: Message) => Message | undefined;
  callbacks?: { unsigned?: boolean; once?: boolean; twice?: boolean; staleSignature?: boolean };
  closesConnections?: boolean;
  /** Cuts the connection instead of refusing what is too large. */
  cuts?: 'bodies' | 'headers';
}

export type Fault = RefusalReason | 'future' | 'replayed';

export interface QuirkyMiner {
  url: string;
  close(): Promise<void>;
}

export async function startQuirkyMiner(inner: string, hotkey: Hotkey, quirk: Quirk): Promise<QuirkyMiner> {
  const proxy = new QuirkyProxy(inner, hotkey, quirk);
  await proxy.listen();
  return proxy;
}

class QuirkyProxy implements QuirkyMiner {
  url = '';
  private readonly agent = new Agent();
  private readonly server: Server;
  /** Where callbacks really go, by the path that the miner calls instead. */
  private readonly callbacks = new Map<string, string>();
  private readonly relayed = new Map<string, Record<string, string>>();

  constructor(
    private readonly inner: string,
    private readonly hotkey: Hotkey,
    private readonly quirk: Quirk,
  ) {
    this.server = createServer({ maxHeaderSize: 256 * 1024 }, (request, response) => {
      this.handle(request, response).catch(() => response.destroy());
    });
  }

  async listen(): Promise<void> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    this.url = `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
    await this.agent.destroy();
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = 'GET', url: path = '/' } = request;
    const { cuts, closesConnections } = this.quirk;
    const tooLarge = {
      bodies: Number(request.headers['content-length'] ?? 0) > CUT_BODY_BYTES,
      headers: request.rawHeaders.join('').length > CUT_HEADER_BYTES,
    };
    if (cuts && tooLarge[cuts]) return void request.destroy();
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const target = this.callbacks.get(path);
    const message = target ? await this.relay(target, request, body) : await this.ask(method, path, request, body);
    const headers = { ...message.headers, 'content-length': String(message.body.length) };
    response.writeHead(message.status, { ...headers, ...(closesConnections && { connection: 'close' }) });
    response.end(message.body);
  }

  private async ask(method: string, path: string, request: IncomingMessage, body: Buffer): Promise<Message> {
    const { instead, reply, unsignedReplies } = this.quirk;
    const nonce = request.headers[HEADERS.nonce];
    const caller = request.headers[HEADERS.hotkey];
    const own = instead?.(method, path, body);
    const sent = own ? undefined : this.changed(method, path, body);
    const headers = sent && { ...this.forwarded(request, method, path, body, sent) };
    const plain = own ?? (await this.forward(method, path, headers!, sent!));
    const message = reply ? reply(plain, method, path) : plain;
    if (unsignedReplies === message.status) return { ...message, headers: withoutSignature(message.headers) };
    const wasSigned = HEADERS.signature in plain.headers || own !== undefined;
    if (!wasSigned || typeof nonce !== 'string' || typeof caller !== 'string') return message;
    const answered = { status: message.status, body: message.body, nonce, recipient: caller };
    return { ...message, headers: { ...message.headers, ...signReply(answered, this.hotkey) } };
  }

  /** The body for the miner: with the callback through this proxy, where that is of use. */
  private changed(method: string, path: string, body: Buffer): Buffer {
    const { job, callback, callbacks } = this.quirk;
    if (method !== 'POST' || !path.endsWith('/v1/jobs') || !(job || callback || callbacks)) return body;
    const request = parse(body);
    if (!request?.callback) return body;
    const changed = job ? job(request) : request;
    if (!callback && !callbacks) return Buffer.from(JSON.stringify(changed));
    const own = `/relay/${request.job_id}`;
    this.callbacks.set(own, request.callback.url);
    return Buffer.from(JSON.stringify({ ...changed, callback: { ...changed.callback, url: this.url + own } }));
  }

  /** As they came, or signed afresh: where the request was right and is changed, or wrong and let through. */
  private forwarded(request: IncomingMessage, method: string, path: string, was: Buffer, body: Buffer) {
    const kept: Record<string, string> = {};
    for (const [name, value] of Object.entries(request.headers)) {
      if (!/^(host|connection|content-length|transfer-encoding)$/.test(name)) kept[name] = String(value);
    }
    const recipient = this.hotkey.address;
    const fault = this.faultOf({ method, path, body: was, headers: request.headers, nowMs: Date.now(), recipient });
    const lets = fault === this.quirk.tolerates;
    if (!lets && (fault !== 'replayed' || was.equals(body))) return kept;
    // A replay stays one unless replays are the fault: the nonce is the caller's.
    const nonce = lets ? randomUUID() : String(request.headers[HEADERS.nonce]);
    return { ...kept, ...signRequest({ method, path, body, nowMs: Date.now(), nonce, recipient }, this.hotkey) };
  }

  /** What is wrong with the request's signature, or would be the second time. */
  private faultOf(request: RequestToVerify): Fault {
    const verdict = verifyRequest(request);
    if (verdict.ok) return verdict.hotkey === this.hotkey.address ? 'replayed' : 'wrong-signer';
    const ahead = Number(request.headers[HEADERS.timestamp]) > request.nowMs;
    return verdict.reason === 'stale' && ahead ? 'future' : verdict.reason;
  }

  private async forward(method: string, path: string, headers: Record<string, string>, body: Buffer): Promise<Message> {
    const reply = await this.agent.request({
      origin: this.inner,
      path,
      method: method,
      headers,
      ...(body.length > 0 && { body }),
    });
    const kept: Record<string, string> = {};
    for (const [name, value] of Object.entries(reply.headers)) {
      if (!/^(connection|keep-alive|content-length|transfer-encoding)$/.test(name)) kept[name] = String(value);
    }
    return { status: reply.statusCode, headers: kept, body: Buffer.from(await reply.body.arrayBuffer()) };
  }

  /** Takes the miner's callback and makes its own of it. */
  private async relay(target: string, request: IncomingMessage, body: Buffer): Promise<Message> {
    const { callback, callbacks: { once: single, twice, unsigned, staleSignature } = {} } = this.quirk;
    const headers = {
      'content-type': String(request.headers['content-type']),
      'x-callback-secret': String(request.headers['x-callback-secret']),
    };
    const message = callback ? callback({ status: 0, headers, body }) : { status: 0, headers, body };
    if (!message) return { status: 200, headers: {}, body: Buffer.alloc(0) };
    let status = 0;
    for (let i = 0; i < (twice ? 2 : 1); i++) {
      const signature = (staleSignature && this.relayed.get(target)) || this.signCallback(target, message.body);
      this.relayed.set(target, signature);
      status = (await this.send(target, { ...message.headers, ...(!unsigned && signature) }, message.body)).status;
    }
    return { status: single ? 200 : status, headers: {}, body: Buffer.alloc(0) };
  }

  private signCallback(target: string, body: Buffer): Record<string, string> {
    const recipient = this.hotkey.address;
    const path = new URL(target).pathname;
    return signRequest({ method: 'POST', path, body, nowMs: Date.now(), nonce: randomUUID(), recipient }, this.hotkey);
  }

  private async send(target: string, headers: Record<string, string>, body: Buffer): Promise<{ status: number }> {
    const { origin, pathname } = new URL(target);
    const reply = await this.agent.request({ origin, path: pathname, method: 'POST', headers, body });
    await reply.body.dump();
    return { status: reply.statusCode };
  }
}

/** The same form with another boundary, as a second run would write it. */
export function rewrapped({ headers, body, ...rest }: Message): Message {
  const boundary = /boundary=(?:"?)([^";]+)/.exec(headers['content-type'] ?? '')?.[1];
  if (!boundary) return { headers, body, ...rest };
  const other = randomBytes(boundary.length).toString('hex').slice(0, boundary.length);
  const text = body.toString('latin1').replaceAll(boundary, other);
  const contentType = headers['content-type']!.replace(boundary, other);
  return { ...rest, headers: { ...headers, 'content-type': contentType }, body: Buffer.from(text, 'latin1') };
}

/** Replaces text in a body of any bytes. */
export function replaced({ body, ...rest }: Message, from: string, to: string): Message {
  return { ...rest, body: Buffer.from(body.toString('latin1').replaceAll(from, to), 'latin1') };
}

export function json(status: number, value: unknown): Message {
  return { status, headers: { 'content-type': 'application/json' }, body: Buffer.from(JSON.stringify(value)) };
}

function withoutSignature(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => name !== HEADERS.signature));
}

function parse(body: Buffer): MinerJobRequest | undefined {
  try {
    return JSON.parse(body.toString()) as MinerJobRequest;
  } catch {
    return undefined;
  }
}
