import { randomUUID } from 'node:crypto';
import {
  ErrorCode as NatsCode,
  Events,
  JSONCodec,
  NatsError,
  connect,
  type ConnectionOptions,
  type NatsConnection,
} from 'nats';
import type { Logger } from 'pino';
import { ERRORS, StudioError, type ErrorCode, type FieldProblem } from '../domain/errors';

const json = JSONCodec<unknown>();
/** As text: `NatsError.code` is declared as a string. */
const [NO_RESPONDERS, TIMEOUT]: readonly string[] = [NatsCode.NoResponders, NatsCode.Timeout];

/** For plain connections and for Nest's transport alike (`options` of both `Transport.NATS` and `ClientNats`). */
export function natsOptions(url: string, name: string): ConnectionOptions & { servers: string } {
  return {
    servers: url,
    name,
    // The defaults give up after 10 × 2 s: a service would then live on, deaf.
    maxReconnectAttempts: -1,
    waitOnFirstConnect: true,
    // Notices a half-open connection after two missed pings, 20–30 s; the default of 2 minutes takes 4–6.
    pingInterval: 10_000,
  };
}

/** Resolves when connected, however long the server takes; afterwards reconnects for ever and logs each change. */
export async function connectNats(
  url: string,
  name: string,
  log: Pick<Logger, 'warn' | 'info'>,
): Promise<NatsConnection> {
  const connection = await connect(natsOptions(url, name));
  void reportStatus(connection, log);
  return connection;
}

/** Logs every change until the connection is closed. */
export async function reportStatus(connection: NatsConnection, log: Pick<Logger, 'warn' | 'info'>): Promise<void> {
  for await (const { type, data } of connection.status()) {
    if (type === Events.Disconnect || type === Events.Error) log.warn({ type, data }, 'nats connection lost');
    else if (type === Events.Reconnect) log.info({ type }, 'nats connection is back');
  }
}

/**
 * The wire form of Nest's NATS transport (11.2): a request is `{pattern, data, id}`, an event the same without `id`;
 * a reply is `{response, isDisposed, id}` or `{err, isDisposed, id}`, the last one with `isDisposed: true`.
 */
interface NestReply {
  response?: unknown;
  err?: unknown;
  isDisposed?: boolean;
}

/**
 * Asks a Nest `@MessagePattern` handler and waits for its one reply.
 * @throws StudioError with the handler's own code when it refused; DEPENDENCY_DOWN when nobody answered in time.
 */
export async function requestJson<T>(
  connection: NatsConnection,
  subject: string,
  body: unknown,
  { timeoutMs }: { timeoutMs: number },
): Promise<T> {
  const packet = json.encode({ pattern: subject, data: body, id: randomUUID() });
  let reply: NestReply;
  try {
    const message = await connection.request(subject, packet, { timeout: timeoutMs });
    reply = json.decode(message.data) as NestReply;
  } catch (error) {
    throw unanswered(subject, timeoutMs, error);
  }
  if (reply.err !== undefined && reply.err !== null) throw refusal(subject, reply.err);
  return reply.response as T;
}

/** Sends a hint to whoever listens. Losing it may cost latency, never data: state changes do not go this way. */
export function publishHint(connection: NatsConnection, subject: string, body: unknown): void {
  // A closed connection throws; the sweeper on the other side is the remedy, not the sender.
  if (!connection.isClosed()) connection.publish(subject, json.encode({ pattern: subject, data: body }));
}

/** The body of a hint, sent by `publishHint` or by Nest's `emit`. */
export function hintBody(bytes: Uint8Array): unknown {
  const packet = json.decode(bytes);
  const wrapped = typeof packet === 'object' && packet !== null && 'pattern' in packet && 'data' in packet;
  return wrapped ? packet.data : packet;
}

function unanswered(subject: string, timeoutMs: number, error: unknown): StudioError {
  const code = error instanceof NatsError ? error.code : '';
  const why =
    code === NO_RESPONDERS
      ? 'no service listens'
      : code === TIMEOUT
        ? `no reply within ${timeoutMs} ms`
        : 'the request failed';
  return new StudioError('DEPENDENCY_DOWN', `${subject}: ${why}; it can be sent again`, [], { cause: error });
}

/** Handlers throw `RpcException(StudioError.toBody().error)`; anything else reaches us as Nest's own text. */
function refusal(subject: string, err: unknown): StudioError {
  const { code, message, fields } = (typeof err === 'object' && err !== null ? err : { message: err }) as Record<
    string,
    unknown
  >;
  const text = typeof message === 'string' ? message : 'refused without a message';
  if (!isErrorCode(code)) return new StudioError('INTERNAL', `${subject}: ${text}`, [], { cause: err });
  return new StudioError(code, text, Array.isArray(fields) ? (fields as FieldProblem[]) : []);
}

function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(ERRORS, code);
}
