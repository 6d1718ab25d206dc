/** Stands between two ends of HTTP connections, passes every byte on as it is, and writes down what crosses. */
import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net';

/** One request as its receiver sees it, and the reply as it is sent. Times in ms since 1970, with fractions. */
export interface Exchange {
  /** Number of the connection, and of the request on it, from 1. */
  line: number;
  place: number;
  openedMs: number;
  arrivedMs: number;
  /** When the last reply on this connection ended; its opening before the first. */
  idleSinceMs: number;
  /** Connections that are open, this one included. */
  lines: number;
  /** Pieces in which the request came. */
  pieces: number;
  /** As it was sent, without the empty line. */
  head: string;
  body: Buffer;
  reply: { head: string; bytes: number; firstMs: number; endMs: number } | undefined;
}

const HEAD_END = '\r\n\r\n';

export function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

/** `POST /v1/jobs`. */
export function targetOf({ head }: Exchange): string {
  return head.slice(0, head.indexOf(' HTTP/'));
}

export class WireTap {
  /** In the order of their arrival, once they are whole. */
  readonly exchanges: Exchange[] = [];
  private readonly open = new Set<Socket>();
  private opened = 0;

  private constructor(
    private readonly server: Server,
    private readonly upstreamPort: number,
    /** Hears of every request that is whole, before its reply. */
    private readonly heard: (exchange: Exchange) => void,
  ) {
    server.on('connection', (near) => this.join(near));
  }

  static async listen(upstreamPort: number, heard: (exchange: Exchange) => void = () => undefined): Promise<WireTap> {
    const server = createServer({ noDelay: true });
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
    return new WireTap(server, upstreamPort, heard);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    const closed = new Promise((done) => this.server.close(done));
    for (const socket of this.open) socket.destroy();
    await closed;
  }

  private join(near: Socket): void {
    const far = connect({ host: '127.0.0.1', port: this.upstreamPort, noDelay: true });
    const line = new Line((this.opened += 1), () => this.open.size / 2);
    near.on('data', (bytes) => line.asked(bytes).forEach((exchange) => this.take(exchange)));
    far.on('data', (bytes) => line.replied(bytes));
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.open.add(socket);
      socket.pipe(other);
      // Either end may go at any time; the other then learns of it.
      socket.on('error', () => undefined);
      socket.on('close', () => {
        this.open.delete(socket);
        other.destroy();
      });
    }
  }

  private take(exchange: Exchange): void {
    this.exchanges.push(exchange);
    this.heard(exchange);
  }
}

/** One connection: requests with a length or without a body, one after the other, each followed by its reply. */
class Line {
  private readonly openedMs = nowMs();
  private idleSinceMs = this.openedMs;
  private place = 0;
  private pending = Buffer.alloc(0);
  private pieces = 0;
  private arrivedMs = 0;
  private last: Exchange | undefined;

  constructor(
    private readonly number: number,
    private readonly lines: () => number,
  ) {}

  /** @returns the requests that these bytes complete. */
  asked(bytes: Buffer): Exchange[] {
    if (this.pending.length === 0) {
      this.arrivedMs = nowMs();
      this.pieces = 0;
      this.idleSinceMs = this.last?.reply?.endMs ?? this.openedMs;
    }
    this.pieces += 1;
    this.pending = Buffer.concat([this.pending, bytes]);
    const whole: Exchange[] = [];
    for (let next = this.cut(); next; next = this.cut()) whole.push(next);
    return whole;
  }

  replied(bytes: Buffer): void {
    if (!this.last) return;
    const reply = (this.last.reply ??= { head: '', bytes: 0, firstMs: nowMs(), endMs: 0 });
    if (reply.bytes === 0) reply.head = bytes.toString('latin1').split(HEAD_END, 1)[0]!;
    reply.bytes += bytes.length;
    reply.endMs = nowMs();
  }

  private cut(): Exchange | undefined {
    const end = this.pending.indexOf(HEAD_END);
    if (end < 0) return undefined;
    const head = this.pending.toString('latin1', 0, end);
    const length = Number(/^content-length: *(\d+)$/im.exec(head)?.[1] ?? 0);
    const from = end + HEAD_END.length;
    if (this.pending.length < from + length) return undefined;
    const body = Buffer.from(this.pending.subarray(from, from + length));
    this.pending = this.pending.subarray(from + length);
    this.place += 1;
    const { number: line, place, openedMs, arrivedMs, idleSinceMs, pieces } = this;
    const times = { openedMs, arrivedMs, idleSinceMs };
    this.last = { line, place, ...times, lines: this.lines(), pieces, head, body, reply: undefined };
    return this.last;
  }
}
