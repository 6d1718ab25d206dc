import { lookup as dnsLookup, type LookupAddress } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { Agent, buildConnector, type Dispatcher } from 'undici';
import { addressFilter, type AddressFilter, type AddressRules } from './egress-addresses';
import { EgressError, toEgressError } from './egress-error';

/**
 * The one door to addresses that strangers choose: miners' endpoints, webhooks, URLs in requests. What it promises:
 *
 * - the address is judged when the socket is opened, so that DNS cannot answer differently in between (rebinding);
 * - no redirect is followed, no encoding is undone (bombs), no reply is larger than the caller allows;
 * - the total deadline ends everything: a drip of one byte an interval resets every other timer.
 */
export interface EgressOptions extends AddressRules {
  maxConnectionsPerOrigin: number;
  /** Ports that may be asked; every port when absent. */
  allowedPorts?: ReadonlySet<number>;
  /** Told of every new connection; the TCP time of a real connect is a sample of the miner's round trip. */
  onConnect?: (origin: string, tcpMs: number) => void;
  /** Name resolution, replaced by tests. */
  lookup?: LookupFunction;
}

export interface EgressRequest {
  url: string;
  method: Dispatcher.HttpMethod;
  headers?: Record<string, string>;
  body?: Uint8Array | string;
  /** From the call to the last byte of the reply. */
  deadlineMs: number;
  /** Of the reply's body. */
  maxBytes: number;
  /** Until the reply's head has come. Raise it for a miner that answers 200 only when the work is done. */
  headersMs?: number;
  signal?: AbortSignal;
}

export interface EgressReply {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  /**
   * Reads once; throws EgressError. Read it to the end or call `discard`: until then the connection is taken and only
   * the deadline frees it.
   */
  body: AsyncIterable<Buffer>;
  discard(): void;
  /**
   * A connection to this origin was opened while this request waited, so it may have paid for the handshakes. Others'
   * connections count too: that errs in the miner's favour, within the bound of the network credit.
   */
  freshConnection: boolean;
}

export interface Egress {
  /** @throws EgressError */
  request(request: EgressRequest): Promise<EgressReply>;
  /** Ends every connection at once. */
  close(): Promise<void>;
}

/** security.md: limits of every request. */
const CONNECT_MS = 3_000;
const HEADERS_MS = 10_000;
/** Node's own bound; a larger head is an attack on memory. */
const MAX_HEADER_BYTES = 16 * 1024;

export function createEgress(options: EgressOptions): Egress {
  const connections = new Map<string, number>();
  const refuse = addressFilter(options);
  const agent = new Agent({
    connections: options.maxConnectionsPerOrigin,
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: HEADERS_MS,
    // Replaced by the total deadline, which a drip cannot reset.
    bodyTimeout: 0,
    connect: connector(refuse, options, (origin, tcpMs) => {
      connections.set(origin, (connections.get(origin) ?? 0) + 1);
      options.onConnect?.(origin, tcpMs);
    }),
  });
  const opened = (origin: string): number => connections.get(origin) ?? 0;
  return {
    request: (request) => send(agent, request, options, opened),
    close: () => agent.destroy(),
  };
}

async function send(
  agent: Agent,
  request: EgressRequest,
  options: EgressOptions,
  opened: (origin: string) => number,
): Promise<EgressReply> {
  const url = parseUrl(request.url, options);
  const before = opened(url.origin);
  const deadline = startDeadline(request.deadlineMs, request.signal);
  try {
    const reply = await agent.request({
      origin: url.origin,
      path: url.pathname + url.search,
      method: request.method,
      headers: { ...request.headers, 'accept-encoding': 'identity' },
      body: request.body ?? null,
      headersTimeout: request.headersMs ?? HEADERS_MS,
      signal: deadline.signal,
    });
    return receive(reply, url.origin, request.maxBytes, deadline, opened(url.origin) > before);
  } catch (error) {
    deadline.release();
    throw toEgressError(error, url.origin, deadline.abortedBy());
  }
}

/** @throws EgressError for heads that already break a promise; the connection is closed then. */
function receive(
  reply: Dispatcher.ResponseData,
  origin: string,
  maxBytes: number,
  deadline: Deadline,
  freshConnection: boolean,
): EgressReply {
  const discard = (): void => {
    deadline.release();
    // Destroying reports an abort on the stream, which nobody reads any more.
    reply.body.on('error', () => undefined).destroy();
  };
  const broken = brokenHead(reply.headers, origin, maxBytes);
  if (broken) {
    discard();
    throw broken;
  }
  const body = capped(reply.body, origin, maxBytes, deadline);
  return { status: reply.statusCode, headers: reply.headers, body, discard, freshConnection };
}

function brokenHead(headers: EgressReply['headers'], origin: string, maxBytes: number): EgressError | undefined {
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') {
    return new EgressError('bad-encoding', `${origin}: sent an encoded body although identity was asked for`);
  }
  if (Number(headers['content-length'] ?? 0) > maxBytes) return tooLarge(origin, maxBytes);
  return undefined;
}

async function* capped(
  body: AsyncIterable<Buffer>,
  origin: string,
  maxBytes: number,
  deadline: Deadline,
): AsyncGenerator<Buffer> {
  let bytes = 0;
  try {
    for await (const chunk of body) {
      bytes += chunk.byteLength;
      // Leaving the loop destroys the stream and with it the connection.
      if (bytes > maxBytes) throw tooLarge(origin, maxBytes);
      yield chunk;
    }
  } catch (error) {
    throw toEgressError(error, origin, deadline.abortedBy());
  } finally {
    deadline.release();
  }
}

function tooLarge(origin: string, maxBytes: number): EgressError {
  return new EgressError('too-large', `${origin}: the reply is larger than ${maxBytes} bytes`);
}

function parseUrl(text: string, { allowedPorts }: EgressOptions): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:') {
    throw new EgressError('refused-address', 'the URL is not an absolute http or https URL');
  }
  if (url.username || url.password)
    throw new EgressError('refused-address', `${url.origin}: a URL with credentials is refused`);
  const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80));
  if (allowedPorts && !allowedPorts.has(port))
    throw new EgressError('refused-address', `${url.origin}: port ${port} is not allowed`);
  return url;
}

type Deadline = { signal: AbortSignal; abortedBy(): 'deadline' | 'caller' | undefined; release(): void };

/** Not AbortSignal.any: on Node 20 it stays attached to a caller's long-lived signal after the request has ended. */
function startDeadline(ms: number, caller: AbortSignal | undefined): Deadline {
  const controller = new AbortController();
  let abortedBy: 'deadline' | 'caller' | undefined;
  const abort = (by: 'deadline' | 'caller') => (): void => {
    abortedBy ??= by;
    controller.abort();
  };
  const timer = setTimeout(abort('deadline'), ms);
  const onCaller = abort('caller');
  caller?.addEventListener('abort', onCaller, { once: true });
  if (caller?.aborted) onCaller();
  const release = (): void => {
    clearTimeout(timer);
    caller?.removeEventListener('abort', onCaller);
  };
  return { signal: controller.signal, abortedBy: () => abortedBy, release };
}

/** undici's connector, with the address judged at the only moment that counts. */
function connector(
  refuse: AddressFilter,
  { lookup = dnsLookup }: EgressOptions,
  onConnect: (origin: string, tcpMs: number) => void,
): buildConnector.connector {
  const connect = buildConnector({ timeout: CONNECT_MS, lookup: filteredLookup(refuse, lookup) });
  return (target, done) => {
    const host = target.hostname.replace(/^\[|\]$/g, '');
    // Literals never reach a lookup.
    const reason = isIP(host) ? refuse(host) : undefined;
    if (reason) return done(refusedAddress(host, reason), null);
    const port = target.port ? `:${target.port}` : '';
    const socket = connect(target, done) as unknown as import('node:net').Socket;
    let startMs = performance.now();
    // With a name, the TCP handshake begins when the name is resolved.
    socket.once('lookup', () => (startMs = performance.now()));
    socket.once('connect', () =>
      onConnect(`${target.protocol}//${target.hostname}${port}`, performance.now() - startMs),
    );
    return undefined;
  };
}

/** Refuses a name when any of its addresses is refused: the socket may try each of them. */
function filteredLookup(refuse: AddressFilter, lookup: LookupFunction): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, found) => {
      if (error) return callback(error, '', 0);
      const addresses = found as unknown as LookupAddress[];
      const reason = addresses.map(({ address }) => refuse(address)).find((refused) => refused !== undefined);
      if (reason) return callback(refusedAddress(hostname, reason), '', 0);
      const [first] = addresses;
      if (!first) return callback(refusedAddress(hostname, 'a name without addresses'), '', 0);
      return options.all ? callback(null, addresses) : callback(null, first.address, first.family);
    });
  };
}

function refusedAddress(host: string, reason: string): EgressError {
  return new EgressError('refused-address', `${host}: ${reason}; give a public address`);
}
