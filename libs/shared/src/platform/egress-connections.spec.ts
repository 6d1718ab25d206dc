import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, request as forward, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { connect as connectTcp, type AddressInfo, type LookupFunction, type Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { TEST_CERTIFICATE, TEST_KEY } from '../testing/hostile-certificate';
import { startHostileServer } from '../testing/hostile-server';
import { createEgress, type Egress, type EgressOptions, type EgressReply } from './egress';
import { EgressError } from './egress-error';

describe('egress and its connections', () => {
  const closing: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  function open(options: Partial<EgressOptions> = {}): Egress {
    const egress = createEgress({ allowPrivate: true, maxConnectionsPerOrigin: 4, ...options });
    closing.push(() => egress.close());
    return egress;
  }
  async function serve<T extends Server>(server: T): Promise<number> {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    closing.push(async () => {
      server.close();
      server.closeAllConnections();
    });
    return (server.address() as AddressInfo).port;
  }
  const ask = (egress: Egress, url: string, deadlineMs = 10_000): Promise<EgressReply> =>
    egress.request({ url, method: 'GET', deadlineMs, maxBytes: 1_000 });
  const text = async (asking: Promise<EgressReply>): Promise<string> => (await buffer((await asking).body)).toString();
  const failure = async (asking: Promise<unknown>): Promise<EgressError> => {
    const error: unknown = await asking.then(() => undefined).catch((reason: unknown) => reason);
    if (!(error instanceof EgressError)) throw new Error('expected an EgressError', { cause: error });
    return error;
  };
  const ok = () => createServer((_, response) => void response.end('ok'));

  it('says which address a reply came from', async () => {
    const port = await serve(ok());
    const told: string[] = [];
    const egress = open({ onConnect: (origin, tcpMs, address) => told.push(`${origin} ${address} ${tcpMs > 0}`) });
    const reply = await ask(egress, `http://127.0.0.1:${port}/`);
    reply.discard();
    expect(reply.remoteAddress).toBe(`127.0.0.1:${port}`);
    expect(told).toEqual([`http://127.0.0.1:${port} 127.0.0.1:${port} true`]);
  });

  it('refuses what goes beyond its places at an origin at once, as our own fault', async () => {
    const waiting: (() => void)[] = [];
    const server = createServer((_, response) => void waiting.push(() => response.end('ok')));
    const url = `http://127.0.0.1:${await serve(server)}/`;
    const egress = open({ maxConnectionsPerOrigin: 2 });
    for (let round = 0; round < 2; round += 1) {
      const asked = [ask(egress, url), ask(egress, url)];
      expect(await failure(ask(egress, url))).toMatchObject({ code: 'overloaded', blame: 'ours' });
      // Another origin has places of its own.
      expect(await text(ask(egress, `http://127.0.0.1:${await serve(ok())}/`))).toBe('ok');
      while (waiting.length < 2) await once(server, 'request');
      waiting.splice(0).forEach((answer) => answer());
      expect(await Promise.all(asked.map(text))).toEqual(['ok', 'ok']);
    }
  });

  it.each<[string, (reply: EgressReply, caller: AbortController) => unknown]>([
    ['is read', (reply) => buffer(reply.body)],
    ['is discarded', (reply) => reply.discard()],
    ['is read by nobody and given up', (_, caller) => caller.abort()],
    ['is larger than it may be', () => undefined],
  ])('frees the place of a reply that %s', async (how, end) => {
    const url = `http://127.0.0.1:${await serve(ok())}/`;
    const egress = open({ maxConnectionsPerOrigin: 1 });
    const caller = new AbortController();
    const maxBytes = how.startsWith('is larger') ? 1 : 10;
    const first = egress.request({ url, method: 'GET', deadlineMs: 10_000, maxBytes, signal: caller.signal });
    if (maxBytes > 1) {
      const reply = await first;
      expect(await failure(ask(egress, url))).toMatchObject({ code: 'overloaded' });
      await end(reply, caller);
    } else expect(await failure(first)).toMatchObject({ code: 'too-large' });
    expect(await text(ask(egress, url))).toBe('ok');
  });

  it('never uses a connection again that has brought more than was announced', async () => {
    const answer = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n';
    const server = await startHostileServer((socket, nth) => {
      socket.on('data', () =>
        socket.write(nth === 1 ? `${answer}okHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil` : `${answer}no`),
      );
    });
    closing.push(() => server.close());
    const egress = open({ maxConnectionsPerOrigin: 1 });
    const url = `http://127.0.0.1:${server.port}/`;
    expect(await text(ask(egress, url))).toBe('ok');
    const next = await ask(egress, url);
    expect([(await buffer(next.body)).toString(), next.freshConnection]).toEqual(['no', true]);
    expect(server.connections()).toBe(2);
  });

  describe('with TLS', () => {
    const tls = () =>
      createTlsServer({ cert: TEST_CERTIFICATE, key: TEST_KEY }, (_, response) => void response.end('ok'));

    it('refuses a certificate that nobody vouches for, and takes one that we do', async () => {
      const url = `https://127.0.0.1:${await serve(tls())}/`;
      expect(await failure(ask(open(), url))).toMatchObject({ code: 'bad-certificate', blame: 'miner' });
      expect(await text(ask(open({ ca: TEST_CERTIFICATE }), url))).toBe('ok');
    });

    it('refuses a certificate of another name', async () => {
      const lookup: LookupFunction = (_, __, done) => done(null, [{ address: '127.0.0.1', family: 4 }]);
      const port = await serve(tls());
      const egress = open({ ca: TEST_CERTIFICATE, lookup });
      expect(await text(ask(egress, `https://localhost:${port}/`))).toBe('ok');
      expect(await failure(ask(egress, `https://other.example:${port}/`))).toMatchObject({ code: 'bad-certificate' });
    });
  });

  describe('through a proxy', () => {
    let seen: string[];
    let proxyUrl: string;

    /** Forwards `http:`, tunnels CONNECT; every name leads to this machine. */
    beforeEach(async () => {
      seen = [];
      const proxy = createServer((incoming, outgoing) => {
        const { port, pathname } = new URL(incoming.url ?? '');
        seen.push(incoming.url ?? '');
        incoming.pipe(
          forward({ port, path: pathname, host: '127.0.0.1' }, (answer) => {
            outgoing.writeHead(answer.statusCode ?? 0);
            answer.pipe(outgoing);
          }),
        );
      });
      proxy.on('connect', ({ url = '' }, client: Socket) => {
        seen.push(`CONNECT ${url}`);
        if (url.startsWith('refused')) return void client.end('HTTP/1.1 403 Forbidden\r\n\r\n');
        const target = connectTcp(Number(url.split(':')[1]), '127.0.0.1', () => {
          client.write('HTTP/1.1 200 OK\r\n\r\n');
          client.pipe(target).pipe(client);
        });
        target.on('error', () => client.destroy());
        client.on('error', () => target.destroy());
      });
      proxyUrl = `http://127.0.0.1:${await serve(proxy)}`;
    });

    it('forwards http and tunnels https, and knows nothing of the miner’s own connection', async () => {
      const connects: string[] = [];
      const egress = open({ proxyUrl, ca: TEST_CERTIFICATE, onConnect: (origin) => connects.push(origin) });
      const plain = `http://miner.example:${await serve(ok())}/a`;
      const secure = createTlsServer(
        { cert: TEST_CERTIFICATE, key: TEST_KEY },
        (_, response) => void response.end('safe'),
      );
      const port = await serve(secure);
      const reply = await ask(egress, plain);
      expect([(await buffer(reply.body)).toString(), reply.remoteAddress]).toEqual(['ok', undefined]);
      expect(await text(ask(egress, `https://localhost:${port}/b`))).toBe('safe');
      expect(seen).toEqual([plain, `CONNECT localhost:${port}`]);
      expect(connects).toEqual([]);
    });

    it.each(['http://127.0.0.1:80/', 'http://2130706433/', 'https://[::1]/', 'http://169.254.169.254/latest'])(
      'judges %s itself and does not even ask the proxy',
      async (url) => {
        expect(await failure(ask(open({ proxyUrl, allowPrivate: false }), url))).toMatchObject({
          code: 'refused-address',
        });
        expect(seen).toEqual([]);
      },
    );

    it('leaves names to the proxy, and takes its refusal for no connection', async () => {
      expect(await failure(ask(open({ proxyUrl }), 'https://refused.example/'))).toMatchObject({
        code: 'connect-failed',
        blame: 'network',
      });
      expect(seen).toEqual(['CONNECT refused.example:443']);
    });

    it('keeps its caps on heads and bodies', async () => {
      const url = `http://miner.example:${await serve(createServer((_, response) => void response.end(Buffer.alloc(1_001))))}/`;
      expect(await failure(text(ask(open({ proxyUrl }), url)))).toMatchObject({ code: 'too-large' });
    });
  });

  describe('timing a handshake', () => {
    /** Far more than a handshake with itself takes, and less than the kernel's first repetition. */
    const LONG_MS = 700;

    async function connectMs(egress: (onConnect: NonNullable<EgressOptions['onConnect']>) => Egress, url: string) {
      let measured = NaN;
      const made = egress((_, tcpMs) => (measured = tcpMs));
      await ask(made, url, 5_000).then(
        (reply) => reply.discard(),
        () => undefined,
      );
      return measured;
    }

    it('counts neither the name’s resolution nor what the server does after the handshake', async () => {
      // Answers once the handshake's time was told: whoever counted what comes after it would tell it in vain.
      let tell: (tcpMs: number) => void = () => undefined;
      const told = new Promise<number>((resolve) => (tell = resolve));
      const slow = await startHostileServer((socket) => {
        void told.then(() => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'));
      });
      closing.push(() => slow.close());
      let [resolvedMs, connectedMs] = [NaN, NaN];
      const lookup: LookupFunction = (_, __, done) =>
        void setTimeout(() => {
          resolvedMs = performance.now();
          done(null, [{ address: '127.0.0.1', family: 4 }]);
        }, LONG_MS);
      const onConnect = (_: string, tcpMs: number): void => {
        connectedMs = performance.now();
        tell(tcpMs);
      };
      (await ask(open({ lookup, onConnect }), `http://miner.example:${slow.port}/`)).discard();
      const ms = await told;
      expect(ms).toBeGreaterThan(0);
      expect(ms).toBeLessThanOrEqual(connectedMs - resolvedMs);
    });

    /** The kernel answers a SYN by itself; only a full queue of a process that accepts nothing makes it wait. */
    const linux = process.platform === 'linux' ? it : it.skip;
    linux('counts a SYN that is answered late', async () => {
      const child = spawn(process.execPath, ['-e', FULL_QUEUE], { stdio: ['pipe', 'pipe', 'inherit'] });
      closing.push(async () => child.kill('SIGKILL'));
      const [line] = (await once(child.stdout, 'data')) as [Buffer];
      const port = Number(line.toString());
      const fillers = Array.from({ length: 2 }, () => connectTcp(port, '127.0.0.1'));
      await Promise.all(fillers.map((socket) => once(socket, 'connect')));
      const measuring = connectMs((onConnect) => open({ onConnect }), `http://127.0.0.1:${port}/`);
      await new Promise((resolve) => setTimeout(resolve, LONG_MS / 2));
      child.stdin.write('\n');
      expect(await measuring).toBeGreaterThan(LONG_MS);
      fillers.forEach((socket) => socket.destroy());
    });
  });
});

/** Listens with the shortest queue and stands still in a read until a byte comes; then it accepts and answers. */
const FULL_QUEUE = `
  const server = require('node:http').createServer((_, response) => response.end('ok'));
  server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
    process.stdout.write(String(server.address().port), () => require('node:fs').readSync(0, Buffer.alloc(1)));
  });
`;
