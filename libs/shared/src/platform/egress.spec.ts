import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type LookupFunction, type Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { createEgress, type Egress, type EgressOptions, type EgressRequest } from './egress';
import { EgressError } from './egress-error';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

describe('egress', () => {
  let handler: Handler;
  let server: Server;
  let base: string;
  let egress: Egress;
  const closing: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    server = createServer((request, response) => handler(request, response)).listen(0, '127.0.0.1');
    await once(server, 'listening');
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });
  beforeEach(() => {
    egress = open({});
  });
  afterEach(async () => {
    await Promise.all(closing.splice(0).map((close) => close()));
  });

  function open(options: Partial<EgressOptions>): Egress {
    const made = createEgress({ allowPrivate: true, maxConnectionsPerOrigin: 4, ...options });
    closing.push(() => made.close());
    return made;
  }

  const ask = (extra: Partial<EgressRequest> = {}, through = egress) =>
    through.request({
      url: `${base}/v1/jobs?a=1`,
      method: 'POST',
      body: 'hi',
      deadlineMs: 5_000,
      maxBytes: 1_000,
      ...extra,
    });

  async function failure(asking: Promise<unknown>): Promise<EgressError> {
    const reason: unknown = await asking.then(
      () => undefined,
      (error: unknown) => error,
    );
    if (!(reason instanceof EgressError)) throw new Error('expected an EgressError', { cause: reason });
    return reason;
  }
  const read = async (asking: ReturnType<typeof ask>) => buffer((await asking).body);

  /** A name server with these answers. */
  const resolving = (...addresses: string[]): LookupFunction => {
    const found = addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
    return (_, options, callback) =>
      options.all ? callback(null, found) : callback(null, found[0]?.address ?? '', found[0]?.family);
  };

  it('sends what it was given and returns status, headers and body', async () => {
    let seen: unknown;
    handler = (request, response) => {
      void buffer(request).then((body) => {
        seen = [
          request.method,
          request.url,
          request.headers['x-a'],
          request.headers['accept-encoding'],
          body.toString(),
        ];
        response.writeHead(202, { 'x-b': '2' }).end('done');
      });
    };
    const reply = await ask({ headers: { 'x-a': '1', 'accept-encoding': 'gzip' } });
    expect([reply.status, reply.headers['x-b'], (await buffer(reply.body)).toString()]).toEqual([202, '2', 'done']);
    expect(seen).toEqual(['POST', '/v1/jobs?a=1', '1', 'identity', 'hi']);
  });

  it('keeps connections and says which request paid for a new one', async () => {
    handler = (_, response) => response.end('x');
    const connects: string[] = [];
    const watched = open({ onConnect: (origin, tcpMs) => connects.push(`${origin} ${tcpMs >= 0}`) });
    const fresh: boolean[] = [];
    for (let round = 0; round < 3; round += 1) {
      const reply = await ask({}, watched);
      await buffer(reply.body);
      fresh.push(reply.freshConnection);
      // undici frees a connection one turn after its last byte; asked sooner, it opens another.
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(fresh).toEqual([true, false, false]);
    expect(connects).toEqual([`${base} true`]);
  });

  it('returns a redirect instead of following it', async () => {
    handler = (_, response) => response.writeHead(302, { location: 'http://169.254.169.254/' }).end();
    const reply = await ask();
    expect(reply.status).toBe(302);
    reply.discard();
  });

  it('accepts a body of exactly maxBytes and refuses one byte more, announced or not', async () => {
    handler = (_, response) => response.end(Buffer.alloc(1_000));
    expect((await read(ask())).length).toBe(1_000);
    handler = (_, response) => response.end(Buffer.alloc(1_001));
    expect(await failure(ask())).toMatchObject({ code: 'too-large', blame: 'miner' });
    handler = (_, response) => {
      response.write(Buffer.alloc(600));
      response.end(Buffer.alloc(401));
    };
    expect(await failure(read(ask()))).toMatchObject({ code: 'too-large' });
  });

  it('stops an endless body at the cap and closes the connection', async () => {
    const closed = new Promise<void>((resolve) => {
      handler = (_, response) => {
        const pour = (): void =>
          void (
            response.destroyed ||
            (response.write(Buffer.alloc(1_000)) ? setImmediate(pour) : response.once('drain', pour))
          );
        response.on('close', resolve);
        pour();
      };
    });
    expect(await failure(read(ask()))).toMatchObject({ code: 'too-large' });
    await closed;
  });

  it.each(['gzip', 'br', 'gzip, gzip'])('refuses the content encoding %s unread', async (encoding) => {
    handler = (_, response) => response.writeHead(200, { 'content-encoding': encoding }).end('bomb');
    expect(await failure(ask())).toMatchObject({ code: 'bad-encoding', blame: 'miner' });
  });

  it('ends at the deadline when no reply comes, and when it drips', async () => {
    handler = () => undefined;
    expect(await failure(ask({ deadlineMs: 50 }))).toMatchObject({ code: 'timeout', blame: 'miner' });
    handler = (_, response) => {
      const drip = setInterval(() => response.write('.'), 10);
      response.on('close', () => clearInterval(drip));
    };
    expect(await failure(read(ask({ deadlineMs: 150 })))).toMatchObject({ code: 'timeout' });
  });

  it('ends when the caller gives up, before or during the body, and blames nobody', async () => {
    handler = (_, response) => void response.write('half');
    const caller = new AbortController();
    const reply = await ask({ signal: caller.signal });
    const reading = failure(buffer(reply.body));
    caller.abort();
    expect(await reading).toMatchObject({ code: 'aborted', blame: 'none' });
    expect(await failure(ask({ signal: caller.signal }))).toMatchObject({ code: 'aborted' });
  });

  it('calls a refused connection and a broken reply by their names', async () => {
    const tcp = createTcpServer((socket: Socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf'));
    }).listen(0, '127.0.0.1');
    await once(tcp, 'listening');
    const url = `http://127.0.0.1:${(tcp.address() as AddressInfo).port}/secret-path`;
    expect(await failure(read(ask({ url })))).toMatchObject({ code: 'network', blame: 'network' });
    tcp.close();
    await once(tcp, 'close');
    const error = await failure(ask({ url }));
    expect(error).toMatchObject({ code: 'connect-failed', blame: 'network' });
    expect(error.message).not.toContain('secret-path');
  });

  it.each([
    'http://127.0.0.1:1/',
    'http://[::1]:1/',
    'http://0x7f.1/',
    'http://2130706433/',
    'http://[::ffff:127.0.0.1]/',
    'http://169.254.169.254/latest',
  ])('refuses the literal %s, which no lookup sees', async (url) => {
    expect(await failure(ask({ url }, open({ allowPrivate: false })))).toMatchObject({ code: 'refused-address' });
  });

  it.each([[['10.0.0.1']], [['1.1.1.1', '127.0.0.1']], [['64:ff9b::7f00:1']]])(
    'refuses a name that resolves to %j',
    async (addresses) => {
      const lookup = resolving(...addresses);
      const error = await failure(ask({ url: 'http://miner.example/' }, open({ allowPrivate: false, lookup })));
      expect(error).toMatchObject({ code: 'refused-address', blame: 'miner' });
    },
  );

  it('judges the address the socket connects to, whatever the name said before', async () => {
    let answers = 0;
    const rebinding: LookupFunction = (hostname, options, callback) => {
      answers += 1;
      return resolving(answers === 1 ? '127.0.0.1' : '169.254.169.254')(hostname, options, callback);
    };
    handler = (_, response) => response.writeHead(200, { connection: 'close' }).end('x');
    const rebound = open({ lookup: rebinding });
    const url = base.replace('127.0.0.1', 'miner.example');
    expect((await read(ask({ url }, rebound))).toString()).toBe('x');
    expect(await failure(ask({ url }, rebound))).toMatchObject({ code: 'refused-address' });
  });

  it.each(['ftp://1.1.1.1/', 'file:///etc/passwd', 'nonsense', '', 'http://user:pw@1.1.1.1/'])(
    'refuses the URL %p',
    async (url) => {
      expect(await failure(ask({ url }))).toMatchObject({ code: 'refused-address' });
    },
  );

  it('asks allowed ports only', async () => {
    const limited = open({ allowedPorts: new Set([443]) });
    expect(await failure(ask({}, limited))).toMatchObject({ code: 'refused-address' });
  });
});
