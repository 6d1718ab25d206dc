/** What both stand-ins share: a local HTTP server that remembers what it was asked. */
import { once } from 'node:events';
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import sharp from 'sharp';

export interface SeenCall {
  /** `POST /prompt`, without the query. */
  what: string;
  json: Record<string, unknown>;
  headers: IncomingMessage['headers'];
}

export interface FakeReply {
  status?: number;
  json?: unknown;
  bytes?: Buffer;
}

export abstract class FakeServer {
  readonly calls: SeenCall[] = [];
  /** Answers the next requests of this name instead of the server: `POST /prompt` → reply. */
  readonly instead = new Map<string, FakeReply>();
  private readonly server: Server = createServer((req, res) => void this.handle(req, res));
  /** So many requests lose their connection after they were heard. */
  readonly hangUps = { GET: 0, POST: 0 };
  private port = 0;
  private waiting: { what: string; count: number; wake: () => void }[] = [];

  protected abstract reply(call: SeenCall, url: URL): Promise<FakeReply> | FakeReply;

  async listen(port = 0): Promise<void> {
    this.server.listen(port, '127.0.0.1');
    await once(this.server, 'listening');
    this.port = (this.server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    if (this.server.listening) await new Promise((resolve) => this.server.close(resolve));
  }

  count(what: string): number {
    return this.calls.filter((call) => call.what === what).length;
  }

  last(what: string): SeenCall {
    return this.calls.findLast((call) => call.what === what)!;
  }

  /** Resolves when it has been asked that so many times. */
  async asked(what: string, count = 1): Promise<void> {
    if (this.count(what) < count) await new Promise<void>((wake) => this.waiting.push({ what, count, wake }));
  }

  private async handle(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const url = new URL(req.url!, 'http://fake');
    const chunks: Buffer[] = [];
    for await (const chunk of req as AsyncIterable<Buffer>) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    const what = `${req.method} ${url.pathname}`;
    const call = { what, json: (text ? JSON.parse(text) : {}) as SeenCall['json'], headers: req.headers };
    this.calls.push(call);
    for (const waiter of this.waiting) if (this.count(waiter.what) >= waiter.count) waiter.wake();
    const method = req.method as 'GET' | 'POST';
    if (this.hangUps[method] > 0) {
      this.hangUps[method]--;
      res.destroy();
      return;
    }
    const { status = 200, json, bytes } = this.instead.get(what) ?? (await this.reply(call, url));
    res.statusCode = status;
    if (!bytes) res.setHeader('content-type', 'application/json');
    res.end(bytes ?? JSON.stringify(json ?? null));
  }
}

/** Lets drawings wait for a signal of the test. */
export class Gate {
  private opened = Promise.resolve();
  private release: () => void = () => undefined;

  shut(): void {
    this.opened = new Promise((resolve) => (this.release = resolve));
  }

  open(): void {
    this.release();
  }

  passed(): Promise<void> {
    return this.opened;
  }
}

export interface FakeDrawing {
  width: number;
  height: number;
  seed: number;
  /** 0 where no LoRA was applied. */
  loraScale: number;
  steps: number;
}

/** One colour that tells what was drawn: red the seed, green the LoRA's scale in hundredths, blue the steps. */
export async function fakePng({ width, height, seed, loraScale, steps }: FakeDrawing): Promise<Buffer> {
  const background = { r: seed % 256, g: Math.round(loraScale * 100), b: steps };
  return sharp({ create: { width, height, channels: 3, background } })
    .png()
    .toBuffer();
}
