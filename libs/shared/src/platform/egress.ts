import { isIP } from 'node:net';
import { Agent, Pool, ProxyAgent, type Client, type Dispatcher } from 'undici';
import { addressFilter, type AddressFilter, type AddressRules } from './egress-addresses';
import {
  CONNECT_MS,
  filteredConnector,
  lineClient,
  refusedAddress,
  type ConnectorOptions,
  type Passage,
} from './egress-connector';
import { startDeadline, type Deadline } from './egress-deadline';
import { EgressError, toEgressError } from './egress-error';
import type { PortList } from './egress-ports';

/**
 * The one door to addresses that strangers choose: miners' endpoints, webhooks, URLs in requests. What it promises:
 *
 * - the address is judged when the socket is opened, so that DNS cannot answer differently in between (rebinding);
 * - no redirect is followed, no encoding is undone (bombs), no reply is larger than the caller allows;
 * - the total deadline ends everything: a drip of one byte an interval resets every other timer;
 * - no request waits for another: a place at the origin is free at once, or the request is refused as our own overload.
 *
 * Through a proxy (`proxyUrl`) the second promise is the proxy's to keep for names, which only it resolves; addresses
 * written out are still judged here. Nothing is then known of the miner's own connection: no connect time, no address.
 */
export interface EgressOptions extends AddressRules, ConnectorOptions {
  /** Requests under way to one origin, and connections to it. */
  maxConnectionsPerOrigin: number;
  /** Ports that may be asked; every port when absent. */
  allowedPorts?: PortList;
  /** An HTTP proxy for everything: `http:` is forwarded, `https:` tunnelled. */
  proxyUrl?: string;
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
  /** This is the first reply of its connection: the request paid for the handshakes. */
  freshConnection: boolean;
  /** `IP:port` of the socket that brought it; undefined through a proxy. */
  remoteAddress: string | undefined;
}

export interface Egress {
  /** @throws EgressError */
  request(request: EgressRequest): Promise<EgressReply>;
  /** What needs no connection to be refused: scheme, port, credentials, an address written out. @throws EgressError */
  assertUrl(url: string): void;
  /** Ends every connection at once. */
  close(): Promise<void>;
}

/** security.md: the head of a reply has to come within 10 s. */
const HEADERS_MS = 10_000;
/** Node's own bound; a larger head is an attack on memory. */
const MAX_HEADER_BYTES = 16 * 1024;

interface Door {
  dispatcher: Dispatcher;
  options: EgressOptions;
  refuse: AddressFilter;
  /** Requests under way, by origin. */
  underWay: Map<string, number>;
}

export function createEgress(options: EgressOptions): Egress {
  const refuse = addressFilter(options);
  const dispatcher = options.proxyUrl === undefined ? direct(refuse, options) : proxied(options.proxyUrl, options);
  const door = { dispatcher, options, refuse, underWay: new Map<string, number>() };
  return {
    request: (request) => send(door, request),
    assertUrl: (url) => void parseUrl(url, door),
    close: () => dispatcher.destroy(),
  };
}

const limits = ({ maxConnectionsPerOrigin }: EgressOptions) => ({
  connections: maxConnectionsPerOrigin,
  maxHeaderSize: MAX_HEADER_BYTES,
  headersTimeout: HEADERS_MS,
  // Replaced by the total deadline, which a drip cannot reset.
  bodyTimeout: 0,
});

function direct(refuse: AddressFilter, options: EgressOptions): Dispatcher {
  const connect = filteredConnector(refuse, options);
  const client = (origin: URL, limited: object): Client => lineClient(origin, limited, connect);
  return new Agent({ factory: (origin) => new Pool(origin, { ...limits(options), factory: client }) });
}

function proxied(uri: string, options: EgressOptions): Dispatcher {
  const pool = (origin: URL | string, given: object): Pool => new Pool(origin, { ...limits(options), ...given });
  return new ProxyAgent({
    uri,
    // Forwarded, not tunnelled: many proxies open tunnels to 443 only.
    proxyTunnel: false,
    proxyTls: { timeout: CONNECT_MS },
    requestTls: { timeout: CONNECT_MS, ...(options.ca === undefined ? {} : { ca: options.ca }) },
    factory: pool,
    // Asked for tunnels alone.
    clientFactory: (origin, given) => new Pool(origin, { ...given, headersTimeout: CONNECT_MS }),
  });
}

async function send(door: Door, request: EgressRequest): Promise<EgressReply> {
  const url = parseUrl(request.url, door);
  const deadline = startDeadline(request.deadlineMs, request.signal, enter(door, url.origin));
  const passage: Passage = {};
  try {
    const sent = door.dispatcher.request({
      origin: url.origin,
      path: url.pathname + url.search,
      method: request.method,
      headers: { ...request.headers, 'accept-encoding': 'identity' },
      body: request.body ?? null,
      headersTimeout: request.headersMs ?? HEADERS_MS,
      signal: deadline.signal,
      opaque: passage,
    });
    const reply = await Promise.race([sent, deadline.givenUp]);
    return receive(reply, url.origin, request.maxBytes, deadline, passage);
  } catch (error) {
    deadline.release();
    throw toEgressError(error, url.origin, deadline.abortedBy());
  }
}

/** Takes a place at the origin. @returns what gives it back @throws EgressError when none is free */
function enter({ underWay, options: { maxConnectionsPerOrigin: max } }: Door, origin: string): () => void {
  const before = underWay.get(origin) ?? 0;
  if (before >= max) throw new EgressError('overloaded', `${origin}: ${max} requests are under way there already`);
  underWay.set(origin, before + 1);
  return () => {
    const left = (underWay.get(origin) ?? 1) - 1;
    if (left > 0) underWay.set(origin, left);
    else underWay.delete(origin);
  };
}

/** @throws EgressError for heads that already break a promise; the connection is closed then. */
function receive(
  reply: Dispatcher.ResponseData<Passage>,
  origin: string,
  maxBytes: number,
  deadline: Deadline,
  { line = { remoteAddress: undefined, replies: 0 } }: Passage,
): EgressReply {
  line.replies += 1;
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
  const { statusCode: status, headers } = reply;
  const { remoteAddress } = line;
  return { status, headers, body, discard, freshConnection: line.replies === 1, remoteAddress };
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

function parseUrl(text: string, { refuse, options: { allowedPorts } }: Door): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:') {
    throw new EgressError('refused-address', 'the URL is not an absolute http or https URL');
  }
  if (url.username || url.password)
    throw new EgressError('refused-address', `${url.origin}: a URL with credentials is refused`);
  const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80));
  if (allowedPorts && !allowedPorts.has(port))
    throw new EgressError('refused-address', `${url.origin}: port ${port} is not allowed`);
  // The URL parser has brought every spelling of an address (octal, hexadecimal, one number) into one form.
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const reason = isIP(host) ? refuse(host) : undefined;
  if (reason) throw refusedAddress(host, reason);
  return url;
}
