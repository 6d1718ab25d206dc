import { setTimeout as sleep } from 'node:timers/promises';
import { createUser } from '@nats-io/jwt';
import { connect, ErrorCode, Events, jwtAuthenticator, type Msg, type NatsConnection, type NatsError } from 'nats';
import type { ScoreEvent } from '@studio/shared/contract/scores';
import type { ValidatorSession } from '@studio/shared/contract/validator-session';
import type { Hotkey } from '@studio/shared/protocol/hotkey';
import { EventQueue } from './event-queue';
import { SessionDoor } from './nats-session';

const CONNECT_TIMEOUT_MS = 2_000;
/** Notices a half-open connection after two missed pings. */
const PING_MS = 10_000;
/** The server ends a connection whose token has expired: back at once, with the next one. */
const RECONNECT_MS = 100;

/** The rest of a token's life is for asking again, and for clocks that differ. */
const RENEW_AFTER = 2 / 3;
/** Heartbeats in a row that may be missing. */
const SILENT_BEATS = 3;
const FIRST_PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 30_000;

/** As text: the status is declared so. */
const EXPIRED: string = ErrorCode.AuthenticationExpired;

/** While HTTP is read nobody takes events from here. What is dropped, HTTP has. */
const MAX_QUEUE = 5_000;

export interface LiveFeedOptions {
  registryUrl: string;
  /** Signs for the session: the validator's own. */
  hotkey: Hotkey;
  say: (text: string) => void;
}

/**
 * The stream SCORES, the fast door: it may be late, repeat itself, skip, or be away altogether. It only ever offers
 * events; which of them count is decided by their numbers, and what is missing is read over HTTP.
 *
 * Listens with a token that lives for minutes. A new one is fetched well before the old one ends; when the server then
 * closes the connection, it is back with the new one within milliseconds.
 */
export class LiveFeed {
  private readonly door: SessionDoor;
  /** Made here, for this process: its seed goes nowhere. */
  private readonly nkey = createUser();
  private readonly closing = new AbortController();
  private keeping: Promise<void> | undefined;
  private connection: NatsConnection | undefined;
  /** Aborts with the end of the connection, or with ours. */
  private ended: AbortSignal = this.closing.signal;
  /** Aborts when the session is of no use any more, however long it may last. */
  private stale = new AbortController();
  private jwt = '';
  private heardAt = 0;
  /** Number of the event that is wanted next. */
  private wanted = 1;
  private said = '';
  private readonly queue = new EventQueue();

  constructor(private readonly options: LiveFeedOptions) {
    this.door = new SessionDoor(options.registryUrl, options.hotkey);
  }

  /** Wants event `seq` and all after it, from now on. Returns at once: until the stream is there, no event is offered. */
  open(seq: number): Promise<void> {
    this.wanted = Math.max(this.wanted, seq);
    this.keeping ??= this.keep();
    return Promise.resolve();
  }

  /** The next event offered, undefined after a while without one. */
  next(withinMs: number, signal: AbortSignal): Promise<ScoreEvent | undefined> {
    return this.queue.next(withinMs, signal);
  }

  async close(): Promise<void> {
    this.closing.abort();
    await this.keeping;
    await this.connection?.close();
  }

  /** Session after session, until closed. Each makes the consumer anew, from the event that is wanted then. */
  private async keep(): Promise<void> {
    const { signal } = this.closing;
    for (let pause = FIRST_PAUSE_MS; !signal.aborted;) {
      try {
        const nkey = this.nkey.getPublicKey();
        const session = await this.door.open({ nkey, after: this.wanted - 1 });
        this.jwt = session.jwt;
        await this.listen(session);
        this.sayOnce('listening to the stream');
        await this.untilDue(session);
        pause = FIRST_PAUSE_MS;
      } catch (error) {
        this.sayOnce(`the stream cannot be read (${(error as Error).message}): reading HTTP meanwhile`);
        await rest(pause, signal);
        pause = Math.min(2 * pause, MAX_PAUSE_MS);
      }
    }
  }

  private async listen({ servers, deliver_subject }: ValidatorSession): Promise<void> {
    this.heardAt = performance.now();
    this.stale = new AbortController();
    if (this.connection && !this.connection.isClosed()) return;
    this.connection = await connect({
      servers,
      name: 'validator',
      authenticator: jwtAuthenticator(() => this.jwt, this.nkey.getSeed()),
      maxReconnectAttempts: -1,
      reconnectTimeWait: RECONNECT_MS,
      pingInterval: PING_MS,
      timeout: CONNECT_TIMEOUT_MS,
    });
    const gone = new AbortController();
    void this.connection.closed().then(() => gone.abort());
    void this.watch(this.connection);
    this.ended = AbortSignal.any([gone.signal, this.closing.signal]);
    this.connection.subscribe(deliver_subject, { callback: (error, message) => this.receive(error, message) });
  }

  /**
   * Until it is time to renew; sooner when the broker was away or the consumer has fallen silent: it may be lost.
   * @throws Error when the connection is closed for good: the token ended while no new one could be had.
   */
  private async untilDue({ expires_in_s, heartbeat_ms }: ValidatorSession): Promise<void> {
    const dueAt = performance.now() + expires_in_s * 1_000 * RENEW_AFTER;
    while (!this.ended.aborted) {
      const now = performance.now();
      const silentAt = this.heardAt + SILENT_BEATS * heartbeat_ms;
      if (now >= dueAt || now >= silentAt || this.stale.signal.aborted) return;
      await rest(Math.min(dueAt, silentAt) - now, AbortSignal.any([this.ended, this.stale.signal]));
    }
    throw new Error('the connection was closed');
  }

  /** A connection that ended with its token comes back to the same consumer; any other may come back to none. */
  private async watch(connection: NatsConnection): Promise<void> {
    let expired = false;
    for await (const { type, data } of connection.status()) {
      if (type === Events.Error) expired = data === EXPIRED;
      if (type !== Events.Reconnect) continue;
      if (!expired) this.stale.abort();
      expired = false;
    }
  }

  private receive(error: NatsError | null, message: Msg): void {
    if (error) return;
    this.heardAt = performance.now();
    // A heartbeat: status 100, no data.
    if (message.headers?.code) return;
    try {
      const event = message.json<ScoreEvent>();
      if (event.seq === this.wanted) this.wanted += 1;
      if (this.queue.length === MAX_QUEUE) this.queue.clear();
      this.queue.push(event);
    } catch {
      // Not one of ours; HTTP has what it stood for.
    }
  }

  /** Once per change: a stream that is away for an hour is one line. */
  private sayOnce(text: string): void {
    if (text !== this.said && !this.closing.signal.aborted) this.options.say(text);
    this.said = text;
  }
}

function rest(ms: number, signal: AbortSignal): Promise<void> {
  return sleep(ms, undefined, { signal }).catch(() => undefined);
}
