/** Due audits are replayed: a job like any other goes in by the same door, and its result is compared with the target's. */
import { randomUUID } from 'node:crypto';
import type { NatsConnection } from 'nats';
import type { Logger } from 'pino';
import type { SubmitJobCommand } from '@studio/shared/contract/submit-job';
import { openReplays, type AuditCase, type Replayer, type ReplayRow } from './audit-case';
import { requestJob } from './job-requests';
import { lastVerdict, nextStep } from './next-step';
import type { Comparators } from './comparators/comparators';
import type { OfferingMiner, ReplayStore } from './replay.store';
import type { VerdictStore } from './verdict.store';
import { judgmentOf } from './judgment';
import type { ResultComparator } from './comparators/result-comparator';

/** Replays under way at a time. More would not end sooner: references have few slots, and every pass reads them all. */
const REPLAYS_IN_FLIGHT = 256;
/** Audits handled at a time; beyond the pool's connections they would only queue there. */
const CONCURRENCY = 4;

export interface ReplayEvents {
  /** A verdict was written. */
  decided: () => void;
  /** A miner was quarantined. */
  quarantined: () => void;
  /** A verdict was corrected: restorations wait in the outbox, a quarantine may have ended. */
  corrected: () => void;
}

export class Replays {
  constructor(
    private readonly store: ReplayStore,
    private readonly verdicts: VerdictStore,
    private readonly comparators: Pick<Comparators, 'of'>,
    private readonly nats: NatsConnection,
    private readonly log: Pick<Logger, 'info' | 'warn'>,
    private readonly events: ReplayEvents,
  ) {}

  /** One look at every audit that is due. */
  async run(signal?: AbortSignal): Promise<void> {
    const cases = await this.store.dueCases(REPLAYS_IN_FLIGHT);
    if (cases.length === 0) return;
    const miners = await this.store.offeringMiners();
    await this.forEach(cases, (audit) => this.advance(audit, replayersFor(audit, miners)), signal);
  }

  /** Ends every undecided audit of epochs up to this one with what is known. @returns how many there were. */
  async conclude(epoch: number): Promise<number> {
    const cases = await this.store.undecidedCases(epoch, REPLAYS_IN_FLIGHT);
    await this.forEach(cases, async (audit) => {
      const comparator = await this.comparators.of(audit);
      await this.decide(audit, lastVerdict(audit, comparator), comparator);
    });
    return cases.length;
  }

  private async advance(audit: AuditCase, replayers: readonly Replayer[]): Promise<void> {
    const comparator = await this.comparators.of(audit);
    const step = nextStep(audit, replayers, comparator);
    if (step.do === 'conclude') return this.decide(audit, step.verdict, comparator);
    if (step.do === 'replay') return this.ask(audit, step);
    if (step.forMs !== undefined) await this.store.postpone(audit.id, step.forMs);
    const unanswered = openReplays(audit.replays).filter((replay) => replay.jobId === null);
    for (const replay of unanswered) await this.submit(audit, replay);
  }

  private async decide(
    audit: AuditCase,
    verdict: ReturnType<typeof lastVerdict>,
    comparator: ResultComparator | undefined,
  ): Promise<void> {
    const recorded = await this.verdicts.record(judgmentOf(audit, verdict, comparator));
    if (!recorded) return;
    if (recorded.corrected) {
      this.log.info({ job: audit.jobId, miner: audit.hotkey, ...recorded.corrected }, 'an appeal was right');
      this.events.corrected();
    }
    if (recorded.quarantined.length > 0) {
      this.log.warn({ miners: recorded.quarantined }, 'quarantined');
      this.events.quarantined();
    }
    this.events.decided();
  }

  /** The row comes before the request: intake must know a replay by its key, however early its result is there. */
  private async ask(audit: AuditCase, { judge, routing }: Pick<ReplayRow, 'judge' | 'routing'>): Promise<void> {
    const ordinal = 1 + Math.max(0, ...audit.replays.map((replay) => replay.ordinal));
    const requestKey = randomUUID();
    const mine = await this.store.addReplay(audit.id, { ordinal, judge, requestKey, routing });
    if (mine) await this.submit(audit, { requestKey, routing });
  }

  /** Sent until answered: while no answer comes, the next pass finds the row without a job and sends it again. */
  private async submit(audit: AuditCase, { requestKey, routing }: Pick<ReplayRow, 'requestKey' | 'routing'>) {
    const { kind, engine, input } = audit;
    const command: SubmitJobCommand = { idempotencyKey: requestKey, kind, engine, input, routing };
    const reply = await requestJob(this.nats, command);
    if ('jobId' in reply) return this.store.replaySubmitted(requestKey, reply.jobId);
    this.log.warn({ audit: audit.id, ...reply }, 'replay refused');
    await this.store.replayRefused(requestKey, reply.refusal);
  }

  /** All are tried; the first failure is thrown afterwards, so that the sweeper pauses. */
  private async forEach(
    cases: readonly AuditCase[],
    work: (audit: AuditCase) => Promise<void>,
    signal?: AbortSignal,
  ): Promise<void> {
    const queue = [...cases];
    const failures: unknown[] = [];
    const drain = async (): Promise<void> => {
      for (let audit = queue.shift(); audit && !signal?.aborted; audit = queue.shift()) {
        await work(audit).catch((error: unknown) => failures.push(error));
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, drain));
    if (failures.length > 0) throw failures[0];
  }
}

function replayersFor({ kind, engine }: AuditCase, miners: readonly OfferingMiner[]): Replayer[] {
  return miners.filter(
    (miner) =>
      !miner.quarantined.includes(kind) && miner.offers.some((offer) => offer.kind === kind && offer.engine === engine),
  );
}
