import {
  RetentionPolicy,
  StorageType,
  NatsError,
  nanos,
  type JetStreamClient,
  type JetStreamManager,
  type NatsConnection,
  type StreamInfo,
} from 'nats';
import type { ScoreEvent } from '@studio/shared/contract/scores';
import {
  SCORES_STREAM,
  SCORES_STREAM_SUBJECTS,
  scoreEventSubject,
  snapshotEventSubject,
} from '@studio/shared/contract/subjects';
import type { Logger } from '@studio/shared/platform/logger';
import type { RelayLog, RelayStore } from './relay.store';

/** Events per transaction: published in one go, far below the transaction bound of 15 s. */
const BATCH = 500;
const PUBLISH_TIMEOUT_MS = 5_000;
const DUPLICATE_WINDOW_MS = 120_000;

export interface ScoreRelayOptions {
  store: RelayStore;
  /** The connection to the account SCORES. */
  link: { get(): Promise<NatsConnection> };
  /** Copies of the stream in a cluster. */
  replicas?: number;
  log: Pick<Logger, 'info' | 'warn'>;
  /** Told when the broker had lost what it once acknowledged. */
  onAmnesia?: () => void;
}

/**
 * Copies the log of score events from Postgres into the stream SCORES, in order.
 *
 * The stream holds every event from the first one and nothing else, hence *its own sequence equals `seq`*. So
 * `expectedLastSequence = seq − 1` fences a slow or second publisher, and a broker that has lost acknowledged messages
 * (kill −9, a restored copy, a wiped store) is simply one whose last sequence is lower: publishing goes on from there.
 */
export class ScoreRelay {
  /** Sequence of the stream as this process left it; at any other one its tail is compared with the log first. */
  private left = -1;
  private toldOfCopies = false;

  constructor(private readonly options: ScoreRelayOptions) {}

  /** One sweep. @returns true when more events wait. */
  async run(): Promise<boolean> {
    // Before the lock is taken: a replica that cannot reach the broker may not keep it from one that can.
    const nats = await this.options.link.get();
    return (await this.options.store.exclusively((log) => this.relay(nats, log))) ?? false;
  }

  private async relay(nats: NatsConnection, log: RelayLog): Promise<boolean> {
    const manager = await nats.jetstreamManager({ checkAPI: false });
    const from = await this.streamEnd(manager, log);
    const events = await log.events(from, BATCH);
    await publishAll(nats.jetstream({ timeout: PUBLISH_TIMEOUT_MS }), events);
    const end = events.at(-1)?.seq ?? from;
    this.left = end;
    if (end !== log.publishedSeq) await log.markPublished(end);
    return end < log.lastSeq && events.length > 0;
  }

  /** Number of the last event that the stream really has; makes the stream, or makes it anew, where it must be. */
  private async streamEnd(manager: JetStreamManager, log: RelayLog): Promise<number> {
    const info = await streamInfo(manager);
    if (info) await this.copies(manager, info);
    const end = info && lastSequence(info);
    if (end === this.left) return end;
    if (end !== null && (await isOurLog(manager, log, end))) {
      if (end < log.publishedSeq) this.amnesia(log.publishedSeq, end);
      return end;
    }
    if (end !== null) {
      this.options.log.warn({ end, lastSeq: log.lastSeq }, 'the stream is not a copy of the log: making it anew');
      await manager.streams.delete(SCORES_STREAM);
    }
    await createStream(manager, this.options.replicas ?? 1);
    if (log.publishedSeq > 0) this.amnesia(log.publishedSeq, 0);
    return 0;
  }

  /** As many copies as are asked for, tried at each sweep: a cluster that just begins may have too few servers yet. */
  private async copies(manager: JetStreamManager, { config }: StreamInfo): Promise<void> {
    const { replicas = config.num_replicas, log } = this.options;
    if (config.num_replicas === replicas) return;
    const change = { from: config.num_replicas, to: replicas };
    try {
      await manager.streams.update(SCORES_STREAM, { num_replicas: replicas });
      log.info(change, 'the stream gets another number of copies');
    } catch (error) {
      // Fewer copies than wished for are better than no events.
      if (!this.toldOfCopies)
        log.warn({ ...change, err: error }, 'NATS refuses this number of copies: going on without');
      this.toldOfCopies = true;
    }
  }

  private amnesia(publishedSeq: number, end: number): void {
    this.options.log.warn({ publishedSeq, end }, 'the broker has lost acknowledged events: publishing them again');
    this.options.onAmnesia?.();
  }
}

/** Infinity for one with holes: nothing of ours ends there. */
function lastSequence({ state }: StreamInfo): number {
  return state.messages === state.last_seq ? state.last_seq : Infinity;
}

/** Null where there is no stream. */
async function streamInfo(manager: JetStreamManager): Promise<StreamInfo | null> {
  try {
    return await manager.streams.info(SCORES_STREAM);
  } catch (error) {
    if (error instanceof NatsError && error.api_error?.code === 404) return null;
    throw error;
  }
}

/** Compares the tail: a stream that outlived another database would otherwise be continued in the middle. */
async function isOurLog(manager: JetStreamManager, log: RelayLog, end: number): Promise<boolean> {
  if (end === 0) return true;
  if (end > log.lastSeq) return false;
  const [event] = await log.events(end - 1, 1);
  const tail = await manager.streams.getMessage(SCORES_STREAM, { seq: end });
  return event !== undefined && Buffer.from(tail.data).toString() === encode(event);
}

async function createStream(manager: JetStreamManager, replicas: number): Promise<void> {
  await manager.streams.add({
    name: SCORES_STREAM,
    subjects: SCORES_STREAM_SUBJECTS,
    storage: StorageType.File,
    num_replicas: replicas,
    retention: RetentionPolicy.Limits,
    duplicate_window: nanos(DUPLICATE_WINDOW_MS),
    // A prefix is never rewritten: only the whole stream can go.
    deny_delete: true,
    deny_purge: true,
  });
}

/** All in flight at once: the server takes one connection's messages in order, and refuses all after a refused one. */
async function publishAll(stream: JetStreamClient, events: readonly ScoreEvent[]): Promise<void> {
  const acks = events.map((event) =>
    stream.publish(subjectOf(event), encode(event), {
      msgID: String(event.seq),
      expect: { lastSequence: event.seq - 1 },
    }),
  );
  const failed = (await Promise.allSettled(acks)).find((ack) => ack.status === 'rejected');
  if (failed) throw failed.reason;
}

function subjectOf(event: ScoreEvent): string {
  return event.hotkey === undefined ? snapshotEventSubject(event.epoch) : scoreEventSubject(event.epoch, event.hotkey);
}

function encode(event: ScoreEvent): string {
  return JSON.stringify(event);
}
