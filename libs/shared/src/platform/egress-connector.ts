/**
 * How the egress client opens a connection: the address is judged at the only moment that counts, the TCP handshake is
 * timed, and each reply can be told which connection brought it. Caller: egress.ts.
 */
import { lookup as dnsLookup, type LookupAddress } from 'node:dns';
import type { LookupFunction, Socket } from 'node:net';
import { buildConnector, Client, type Dispatcher } from 'undici';
import type { AddressFilter } from './egress-addresses';
import { EgressError } from './egress-error';

/** security.md: a miner that cannot be connected to within 3 s is away. */
export const CONNECT_MS = 3_000;

/** `remoteAddress`: `IP:port` of the socket. */
export type OnConnect = (origin: string, tcpMs: number, remoteAddress: string) => void;

/** One connection as the requests that use it see it. */
export interface Line {
  remoteAddress: string | undefined;
  /** Replies that began on it. */
  replies: number;
}

/** What a request's options carry through undici to the client that sends them; it comes back with the reply. */
export interface Passage {
  line?: Line;
}

export interface ConnectorOptions {
  /** Name resolution, replaced by tests. */
  lookup?: LookupFunction | undefined;
  /** Certificates to trust beside the usual ones, in PEM. */
  ca?: string | undefined;
  onConnect?: OnConnect | undefined;
}

/** undici's connector with our lookup. Literal addresses never reach a lookup: they are judged with the URL. */
export function filteredConnector(refuse: AddressFilter, options: ConnectorOptions): buildConnector.connector {
  const { lookup = dnsLookup, ca, onConnect } = options;
  const connect = buildConnector({
    timeout: CONNECT_MS,
    lookup: filteredLookup(refuse, lookup),
    ...(ca === undefined ? {} : { ca }),
  });
  return (target, done) => {
    const socket = connect(target, done) as unknown as Socket;
    let startMs = performance.now();
    // Resolving the name is not the miner's, and of several addresses only the last one tried was connected to.
    socket.on('connectionAttempt', () => (startMs = performance.now()));
    socket.once('connect', () => {
      const port = target.port ? `:${target.port}` : '';
      onConnect?.(`${target.protocol}//${target.hostname}${port}`, performance.now() - startMs, addressOf(socket));
    });
    return undefined;
  };
}

/** A client of one connection at a time that says, for every request it sends, over which. */
export function lineClient(origin: URL | string, options: Client.Options, connect: buildConnector.connector): Client {
  let line: Line = { remoteAddress: undefined, replies: 0 };
  const client = new Client(origin, {
    ...options,
    connect: (target, done) =>
      connect(target, (...[error, socket]: buildConnector.CallbackArgs) => {
        if (error) return done(error, null);
        line = { remoteAddress: addressOf(socket), replies: 0 };
        return done(null, socket);
      }),
  });
  const dispatch = client.dispatch.bind(client);
  client.dispatch = (request: Dispatcher.DispatchOptions & { opaque?: Passage }, handler) => {
    // Read when the reply begins: the connection may only be opened for this request.
    if (request.opaque) Object.defineProperty(request.opaque, 'line', { get: () => line, configurable: true });
    return dispatch(request, handler);
  };
  return client;
}

function addressOf({ remoteAddress = '', remotePort, remoteFamily }: Socket): string {
  return remoteFamily === 'IPv6' ? `[${remoteAddress}]:${remotePort}` : `${remoteAddress}:${remotePort}`;
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

export function refusedAddress(host: string, reason: string): EgressError {
  return new EgressError('refused-address', `${host}: ${reason}; give a public address`);
}
