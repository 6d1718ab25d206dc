import { AckPolicy, DeliverPolicy, NatsError, nanos, type JetStreamManager } from 'nats';
import { SCORES_STREAM, scoresDeliverSubject } from '@studio/shared/contract/subjects';
import type { ValidatorSession, ValidatorSessionRequest } from '@studio/shared/contract/validator-session';
import { StudioError } from '@studio/shared/domain/errors';
import type { MetagraphStore } from './metagraph/metagraph.store';
import type { ScoresDoor } from './scores-door';

/** A validator asks again after a few of these without a word: a broker that lost its store is noticed in so many. */
const HEARTBEAT_MS = 5_000;

/** Nobody listens to it: longer than any reconnect, short enough that a thousand who came once leave nothing behind. */
const INACTIVE_MS = 60_000;

/** 2 MB/s, some 6,000 events: nobody who asks for the whole log takes the connection of the others. */
const RATE_LIMIT_BPS = 16_000_000;

const API_TIMEOUT_MS = 5_000;

/** A renewal comes every few minutes, a bad network brings some more; more than these are a fault, or an attempt. */
const SESSIONS_PER_MINUTE = 12;
const MINUTE_MS = 60_000;

/**
 * Lets validators listen to the stream SCORES. Each gets a consumer of its own, made here, which pushes to its own
 * subject, and a token that allows to listen to that subject and to say nothing: a validator that could ask JetStream
 * for anything could have the answer sent to any subject, `$JS.API.STREAM.DELETE.SCORES` among them.
 */
export class ValidatorSessions {
  /** By hotkey, in the current minute, by this replica. */
  private readonly taken = new Map<string, number>();
  private minute = 0;

  constructor(
    private readonly door: ScoresDoor | null,
    private readonly metagraphs: Pick<MetagraphStore, 'current'>,
  ) {}

  /**
   * Before the signature is looked at: strangers cost neither the curve nor a stored nonce.
   * @throws StudioError NOT_FOUND, NOT_A_MEMBER, DEPENDENCY_DOWN
   */
  async admit(hotkey: string): Promise<void> {
    if (this.door === null) {
      throw new StudioError('NOT_FOUND', 'this registry has no NATS for validators: read GET /v1/scores/events');
    }
    const metagraph = await this.metagraphs.current();
    if (metagraph === null || Object.hasOwn(metagraph.uids, hotkey)) return;
    if (metagraph.readAt.getTime() === 0) {
      throw new StudioError('DEPENDENCY_DOWN', 'the metagraph has not been read yet: try again in a moment');
    }
    const remedy = 'read GET /v1/scores/events, which is open to all, or register it on the chain';
    throw new StudioError('NOT_A_MEMBER', `${hotkey} is not in the metagraph of this subnet: ${remedy}`);
  }

  /** Counts a request whose signature is genuine. @throws StudioError TOO_MANY_REQUESTS */
  count(hotkey: string, nowMs = Date.now()): void {
    const minute = Math.floor(nowMs / MINUTE_MS);
    if (minute !== this.minute) this.taken.clear();
    this.minute = minute;
    const taken = this.taken.get(hotkey) ?? 0;
    if (taken >= SESSIONS_PER_MINUTE) {
      const message = `${hotkey} has had ${SESSIONS_PER_MINUTE} sessions in this minute: one lasts for many, wait for the next`;
      throw new StudioError('TOO_MANY_REQUESTS', message);
    }
    this.taken.set(hotkey, taken + 1);
  }

  /**
   * Makes the consumer anew, from where the validator says, and a token. What the consumer sent before may come again.
   * @throws StudioError DEPENDENCY_DOWN while NATS or the stream is away.
   */
  async open(hotkey: string, { nkey, after }: ValidatorSessionRequest): Promise<ValidatorSession> {
    const { tokens, servers, sessionMs } = this.door!;
    await this.putConsumer(hotkey, after + 1);
    // Whole seconds are what a token knows.
    const expiresAtS = Math.floor((Date.now() + sessionMs) / 1_000);
    return {
      jwt: await tokens.sign(hotkey, nkey, expiresAtS),
      expires_at: new Date(expiresAtS * 1_000).toISOString(),
      expires_in_s: Math.floor(sessionMs / 1_000),
      servers,
      deliver_subject: scoresDeliverSubject(hotkey),
      heartbeat_ms: HEARTBEAT_MS,
    };
  }

  private async putConsumer(hotkey: string, start: number): Promise<void> {
    try {
      const nats = await this.door!.link.get();
      const { consumers } = await nats.jetstreamManager({ checkAPI: false, timeout: API_TIMEOUT_MS });
      await deleteIfAny(consumers, hotkey);
      await consumers.add(SCORES_STREAM, {
        durable_name: hotkey,
        deliver_subject: scoresDeliverSubject(hotkey),
        ack_policy: AckPolicy.None,
        deliver_policy: DeliverPolicy.StartSequence,
        // The stream's own sequence equals the number of the event: the relay keeps it so.
        opt_start_seq: start,
        idle_heartbeat: nanos(HEARTBEAT_MS),
        inactive_threshold: nanos(INACTIVE_MS),
        rate_limit_bps: RATE_LIMIT_BPS,
        // Where it stands is worth nothing after a restart of the server: the validator knows better.
        mem_storage: true,
      });
    } catch (cause) {
      const remedy = 'read GET /v1/scores/events meanwhile, and try again';
      throw new StudioError('DEPENDENCY_DOWN', `NATS has no stream of scores now: ${remedy}`, [], { cause });
    }
  }
}

async function deleteIfAny(consumers: JetStreamManager['consumers'], hotkey: string): Promise<void> {
  try {
    await consumers.delete(SCORES_STREAM, hotkey);
  } catch (error) {
    if (!(error instanceof NatsError && error.api_error?.code === 404)) throw error;
  }
}
