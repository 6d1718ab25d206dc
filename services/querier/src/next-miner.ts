/** Finds a job its next miner, takes the turn and the slot, and makes the attempt durable before anything is sent. */
import { chooseMiner, isEligible, type Exclusions } from '@studio/shared/domain/dispatch-policy';
import type { InferenceInput } from '@studio/shared/domain/job';
import type { Policy } from '@studio/shared/domain/policy';
import { callbackHash, callbackSecret } from './callback-secret';
import type { DialectOf } from './dialects/dialects';
import type { AttemptRecord, ClaimedJob, DispatchStore } from './dispatch.store';
import type { MinerDirectory } from './routing/miner-directory';
import type { SlotHold, TurnCandidate, Turns } from './routing/turns';

export interface NextMinerParts {
  store: DispatchStore;
  directory: MinerDirectory;
  turns: Turns;
  dialectOf: DialectOf;
  urlSecret: string;
  policy: () => Policy;
}

/** `none`: nobody can take it now. `lost`: the job is no longer ours. */
export type Opened = AttemptRecord | 'none' | 'lost';

/** Each refused reservation corrects the copy, so the next choice is better; this many only meet a storm. */
const MAX_CHOICES = 32;

/** Beyond T_max: for the result's checks, and for the next worker to take the attempt up after this one died. */
const HOLD_SLACK_MS = 60_000;

export class NextMiner {
  constructor(private readonly parts: NextMinerParts) {}

  /** @param passedOver miners that are not asked again in this run, besides those that already failed the job. */
  async open(job: ClaimedJob, passedOver: ReadonlySet<string>, hedge: boolean): Promise<Opened> {
    const lora = renderedLora(job);
    if (lora !== null) await this.parts.turns.learnHolders(lora);
    for (let choice = 0; choice < MAX_CHOICES; choice += 1) {
      const chosen = this.choose(job, passedOver);
      if (!chosen) return 'none';
      const hold = holdOf(job, { hotkey: chosen.hotkey, attemptNo: job.attemptNo + 1 });
      if (await this.parts.turns.reserve(chosen, hold, job.timeoutMs + HOLD_SLACK_MS)) {
        return this.record(job, chosen, hold, hedge);
      }
    }
    return 'none';
  }

  /** Everybody who may still have this job, busy or not. */
  candidates(job: ClaimedJob): TurnCandidate[] {
    const { kind, engine, input, routing } = job;
    const { directory, turns, dialectOf } = this.parts;
    const offers = directory
      .offers(kind, engine, routing)
      .filter(({ miner }) => dialectOf(miner.dialect).canExpress(kind, input));
    const exclusions = exclusionsOf(job);
    return turns.candidates(offers, { kind, engine }, renderedLora(job)).filter((item) => isEligible(item, exclusions));
  }

  /** Whether a claim would find no room for the job: nobody of its lane, whom it may ask or not, has a free slot. */
  isLaneFull({ kind, engine, routing: { onlyHotkey } }: ClaimedJob): boolean {
    const lane = { kind, engine };
    const offers = this.parts.directory.offers(kind, engine, onlyHotkey === undefined ? {} : { onlyHotkey });
    return this.parts.turns.candidates(offers, lane, null).every(({ freeSlots }) => freeSlots <= 0);
  }

  private choose(job: ClaimedJob, passedOver: ReadonlySet<string>): TurnCandidate | undefined {
    const candidates = this.candidates(job).filter(({ hotkey }) => !passedOver.has(hotkey));
    const preferred = job.attemptNo === 0 ? job.routing.firstHotkey : undefined;
    return chooseMiner(candidates, exclusionsOf(job), Date.now(), this.parts.policy().routing, preferred);
  }

  private async record(job: ClaimedJob, chosen: TurnCandidate, hold: SlotHold, hedge: boolean): Promise<Opened> {
    const { hotkey, operator } = chosen;
    const { dialect } = chosen.offer.miner;
    const { attemptNo } = hold;
    const opened = await this.parts.store.openAttempt({
      jobId: job.id,
      leaseNo: job.leaseNo,
      attemptNo,
      hotkey,
      operator,
      hedge,
      dialect,
      callbackHash: callbackHash(callbackSecret(this.parts.urlSecret, job.id, attemptNo)).toString('hex'),
    });
    if (!opened) {
      this.parts.turns.settle(hold, 'released');
      return 'lost';
    }
    job.attemptNo = attemptNo;
    return { attemptNo, hotkey, operator, hedge, dialect, state: 'open', blame: 'none', reason: null, elapsedMs: 0 };
  }
}

export function holdOf({ id, kind, engine }: ClaimedJob, of: { hotkey: string; attemptNo: number }): SlotHold {
  return { jobId: id, kind, engine, hotkey: of.hotkey, attemptNo: of.attemptNo };
}

/** Attempts that use up the job's maximum: the miners' own failures, hedges aside. */
export function charged({ attempts }: ClaimedJob): AttemptRecord[] {
  return failures(attempts).filter(({ hedge }) => !hedge);
}

/** Whoever failed the job itself is not asked again, except where nobody else may do it. */
function exclusionsOf({ routing, attempts }: ClaimedJob): Exclusions {
  const failed = failures(attempts).map(({ hotkey }) => hotkey);
  const underWay = attempts.filter(({ state }) => state === 'open').map(({ hotkey }) => hotkey);
  const tried = routing.onlyHotkey === undefined ? [...failed, ...underWay] : [];
  return { tried: new Set(tried), excludeOperators: new Set(routing.excludeOperators) };
}

function failures(attempts: readonly AttemptRecord[]): AttemptRecord[] {
  return attempts.filter(({ state, blame }) => ['failed', 'invalid', 'timeout'].includes(state) && blame === 'miner');
}

function renderedLora({ kind, input }: ClaimedJob): string | null {
  return kind === 'lora-inference' ? (input as InferenceInput).lora.sha256 : null;
}
