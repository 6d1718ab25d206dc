/** For specs alone: somebody who is told of jobs' ends, and believes only what is signed. Written from docs/clients.md. */
import { createHash, createPublicKey, verify } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { WebhookBody } from '@studio/shared/contract/webhooks';
import type { Jwks } from './webhook-signer';

export interface Received {
  path: string;
  headers: IncomingHttpHeaders;
  raw: string;
  body: WebhookBody;
}

type Answer = number | { status: number; location: string } | 'hang';

export class WebhookReceiver {
  readonly received: Received[] = [];
  answer: (received: Received, nth: number) => Answer = () => 200;
  private readonly arrivals = new EventEmitter();

  private constructor(
    private readonly server: Server,
    readonly port: number,
  ) {}

  static async open(): Promise<WebhookReceiver> {
    const server = createServer();
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const receiver = new WebhookReceiver(server, (server.address() as AddressInfo).port);
    server.on('request', (request, reply) => {
      void text(request).then((raw) => {
        const body = JSON.parse(raw || 'null') as WebhookBody;
        const received = { path: request.url!, headers: request.headers, raw, body };
        receiver.received.push(received);
        const answer = receiver.answer(received, receiver.received.length);
        if (typeof answer === 'number') reply.writeHead(answer).end('thank you');
        else if (answer !== 'hang') reply.writeHead(answer.status, { location: answer.location }).end();
        receiver.arrivals.emit('one');
      });
    });
    return receiver;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/told?secret=1`;
  }

  /** All that came, once so many have. */
  async until(count: number): Promise<Received[]> {
    while (this.received.length < count) await once(this.arrivals, 'one');
    return this.received;
  }

  async close(): Promise<void> {
    this.server.close();
    this.server.closeAllConnections();
    await once(this.server, 'close');
  }
}

const MAX_AGE_S = 300;

/** Why it is not to be believed; undefined when it is. */
export function doubtOf(
  { headers, raw }: Pick<Received, 'headers' | 'raw'>,
  jwks: Jwks,
  nowS: number,
): string | undefined {
  const [id, user, time, signature] = ['request-id', 'user-id', 'timestamp', 'signature'].map((name) =>
    String(headers[`x-fal-webhook-${name}`]),
  );
  if (!(Math.abs(nowS - Number(time)) <= MAX_AGE_S)) return 'the time is not now';
  const hash = createHash('sha256').update(raw).digest('hex');
  const message = Buffer.from(`${id}\n${user}\n${time}\n${hash}`);
  const isSigned = jwks.keys.some(({ kty, crv, x }) => {
    const key = createPublicKey({ key: { kty, crv, x }, format: 'jwk' });
    return verify(null, message, key, Buffer.from(signature!, 'hex'));
  });
  return isSigned ? undefined : 'the signature is of no published key';
}
