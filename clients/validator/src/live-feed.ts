import { connect, consumerOpts, type JetStreamSubscription, type JsMsg, type NatsConnection } from 'nats';
import type { ScoreEvent } from '@studio/shared/contract/scores';
import { SCORES_STREAM, SCORES_STREAM_SUBJECTS } from '@studio/shared/contract/subjects';

const CONNECT_TIMEOUT_MS = 2_000;

/** Notices a half-open connection after two missed pings. */
const PING_MS = 10_000;

/**
 * The stream SCORES, the fast door: it may be late, repeat itself, or be away altogether. It only ever offers events;
 * which of them count is decided by their numbers, and what is missing is read over HTTP.
 */
export class LiveFeed {
  private connection: NatsConnection | undefined;
  private subscription: JetStreamSubscription | undefined;
  private readonly queue: ScoreEvent[] = [];
  private wake: () => void = () => undefined;

  constructor(private readonly url: string) {}

  /** Listens from event `seq` on; does nothing while it listens already. @throws what NATS says when it cannot. */
  async open(seq: number): Promise<void> {
    if (this.subscription && !this.subscription.isClosed()) return;
    if (!this.connection || this.connection.isClosed()) {
      this.connection = await connect({
        servers: this.url,
        name: 'validator',
        maxReconnectAttempts: -1,
        pingInterval: PING_MS,
        timeout: CONNECT_TIMEOUT_MS,
      });
    }
    this.queue.length = 0;
    // The stream's own sequence equals the number of the event: the relay keeps it so.
    const options = consumerOpts().orderedConsumer().startSequence(seq).bindStream(SCORES_STREAM);
    options.callback((error, message) => this.receive(error, message));
    this.subscription = await this.connection.jetstream().subscribe(SCORES_STREAM_SUBJECTS[0] ?? '', options);
  }

  /** The next event offered, undefined after a while without one. */
  async next(withinMs: number, signal: AbortSignal): Promise<ScoreEvent | undefined> {
    if (this.queue.length === 0 && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const end = (): void => {
          clearTimeout(timer);
          signal.removeEventListener('abort', end);
          resolve();
        };
        const timer = setTimeout(end, withinMs);
        signal.addEventListener('abort', end);
        this.wake = end;
      });
    }
    return this.queue.shift();
  }

  async close(): Promise<void> {
    await this.connection?.close();
  }

  private receive(error: unknown, message: JsMsg | null): void {
    if (error || !message) return;
    try {
      this.queue.push(message.json<ScoreEvent>());
    } catch {
      // Not one of ours; HTTP has what it stood for.
    }
    this.wake();
  }
}
