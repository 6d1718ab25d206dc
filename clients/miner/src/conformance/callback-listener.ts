import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { InputFile } from '@studio/shared/contract/miner-job';

/** The orchestrator's limit for a LoRA is larger; the suite asks for small ones only. */
const MAX_BODY_BYTES = 64 * 1024 * 1024;

export interface Arrival {
  method: string;
  /** As it came, with the query. */
  path: string;
  headers: IncomingMessage['headers'];
  body: Buffer;
  /** When the last byte was here. */
  atMs: number;
}

/** One place where a callback is awaited. */
export class Awaited {
  readonly secret = randomUUID();
  readonly arrivals: Arrival[] = [];
  private waiting: (() => void)[] = [];

  /** @param statuses what the first callbacks are answered with; 200 when used up. */
  constructor(
    readonly url: string,
    private readonly statuses: number[],
  ) {}

  /** The n-th arrival (from 1), or undefined when it has not come in time. */
  async arrival(n: number, withinMs: number): Promise<Arrival | undefined> {
    const over = AbortSignal.timeout(Math.max(1, withinMs));
    while (this.arrivals.length < n && !over.aborted) {
      await new Promise<void>((resolve) => {
        this.waiting.push(resolve);
        over.addEventListener('abort', () => resolve(), { once: true });
      });
    }
    return this.arrivals[n - 1];
  }

  /** Called by the listener. Returns the status to answer with. */
  arrive(arrival: Arrival): number {
    this.arrivals.push(arrival);
    for (const wake of this.waiting.splice(0)) wake();
    return this.statuses.shift() ?? 200;
  }
}

/** The orchestrator's side of a self-test: serves the inputs of jobs, and takes their callbacks. */
export class CallbackListener {
  private readonly files = new Map<string, Buffer>();
  private readonly awaited = new Map<string, Awaited>();

  private constructor(
    private readonly server: Server,
    private readonly base: string,
  ) {}

  /** @param publicUrl how the miner reaches it; its own address where not given. */
  static async open(host: string, port: number, publicUrl?: string): Promise<CallbackListener> {
    const server = createServer();
    server.listen(port, host);
    await once(server, 'listening');
    const own = `http://${host === '0.0.0.0' ? '127.0.0.1' : host}:${(server.address() as AddressInfo).port}`;
    const listener = new CallbackListener(server, (publicUrl ?? own).replace(/\/$/, ''));
    server.on('request', (request, response) => void listener.handle(request, response));
    return listener;
  }

  /** Serves the bytes. */
  file(bytes: Buffer): InputFile {
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    this.files.set(`/files/${sha256}`, bytes);
    return { url: `${this.base}/files/${sha256}`, sha256, bytes: bytes.length };
  }

  expect(statuses: number[] = []): Awaited {
    const path = `/callback/${randomUUID()}`;
    const awaited = new Awaited(`${this.base}${path}`, [...statuses]);
    this.awaited.set(path, awaited);
    return awaited;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = request.url ?? '';
    // A public address may put a path before ours.
    const file = [...this.files].find(([path]) => url.endsWith(path))?.[1];
    const awaited = [...this.awaited].find(([path]) => url.endsWith(path))?.[1];
    const body = await readBody(request).catch(() => undefined);
    if (file && request.method === 'GET') return void response.end(file);
    if (!awaited || !body) return void response.writeHead(awaited ? 413 : 404).end();
    const { method = '', headers } = request;
    response.writeHead(awaited.arrive({ method, path: url, headers, body, atMs: Date.now() })).end();
  }
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_BODY_BYTES) throw new Error('too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
