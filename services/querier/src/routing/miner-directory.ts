/** Which miners there are, as the registry last said. Jobs keep flowing to them while the registry is away. */
import type { RoutableMiner, RoutableMiners } from '@studio/shared/contract/miners';
import { SUBJECTS } from '@studio/shared/contract/subjects';
import type { Engine, JobKind, RoutingRule } from '@studio/shared/domain/job';
import type { Logger } from '@studio/shared/platform/logger';
import { requestJson } from '@studio/shared/platform/nats';
import { Sweeper } from '@studio/shared/platform/sweeper';
import type { NatsConnection, Subscription } from 'nats';

/** Longest that a change stays unseen when its hint was lost. */
const REFRESH_MS = 10_000;
const REQUEST_MS = 2_000;
/** Pause between asking again because a job found nobody. */
const RECHECK_MS = 500;

export interface Offer {
  miner: RoutableMiner;
  slots: number;
}

export type AskRegistry = () => Promise<RoutableMiners>;

export class MinerDirectory {
  private miners: readonly RoutableMiner[] | undefined;
  private askedAt = -Infinity;
  private asking: Promise<void> | undefined;
  private subscriptions: Subscription[] = [];
  private readonly sweeper: Sweeper;

  /**
   * `onChange` hears that miners may have come. `isBlocked`: whom not to ask although it is registered, because its
   * address belongs to another operator.
   */
  constructor(
    private readonly ask: AskRegistry,
    log: Pick<Logger, 'error'>,
    private readonly onChange: () => void = () => undefined,
    private readonly isBlocked: (hotkey: string) => boolean = () => false,
  ) {
    this.sweeper = new Sweeper({ name: 'miner directory', everyMs: REFRESH_MS, run: () => this.refresh(), log });
  }

  start(nats: NatsConnection): void {
    this.subscriptions = [SUBJECTS.minersChanged, SUBJECTS.trustChanged].map(({ subject }) =>
      nats.subscribe(subject, { callback: () => this.sweeper.hint() }),
    );
    this.sweeper.start();
  }

  async stop(): Promise<void> {
    for (const subscription of this.subscriptions) subscription.unsubscribe();
    await this.sweeper.stop();
  }

  /** False until the registry has answered once: nothing may be concluded from an empty list then. */
  get isKnown(): boolean {
    return this.miners !== undefined;
  }

  find(hotkey: string): RoutableMiner | undefined {
    return this.miners?.find((miner) => miner.hotkey === hotkey);
  }

  all(): readonly RoutableMiner[] {
    return this.miners ?? [];
  }

  /** Everybody who may be asked for (kind, engine) at all, references included. */
  every(kind: JobKind, engine: Engine): Offer[] {
    return this.all().flatMap((miner) => {
      const offer = miner.offers.find((item) => item.kind === kind && item.engine === engine);
      const barred = miner.quarantined.includes(kind) || this.isBlocked(miner.hotkey);
      return offer && !barred ? [{ miner, slots: offer.slots }] : [];
    });
  }

  /** Who may be asked under this rule: a reference only where the rule names it. */
  offers(kind: JobKind, engine: Engine, { onlyHotkey, excludeOperators }: RoutingRule): Offer[] {
    return this.every(kind, engine).filter(({ miner }) => {
      const allowed = onlyHotkey === undefined ? !miner.trusted : miner.hotkey === onlyHotkey;
      return allowed && !excludeOperators?.includes(miner.operator);
    });
  }

  /** As `offers`, after asking the registry once more when there is nobody: a miner may have registered just now. */
  async offersNow(kind: JobKind, engine: Engine, routing: RoutingRule): Promise<Offer[]> {
    const offers = this.offers(kind, engine, routing);
    if (offers.length > 0 || performance.now() - this.askedAt < RECHECK_MS) return offers;
    await this.refresh().catch(() => undefined);
    return this.offers(kind, engine, routing);
  }

  private refresh(): Promise<void> {
    this.asking ??= this.load().finally(() => (this.asking = undefined));
    return this.asking;
  }

  private async load(): Promise<void> {
    this.askedAt = performance.now();
    const { miners } = await this.ask();
    this.miners = miners;
    this.onChange();
  }
}

export function askRegistry(nats: NatsConnection): AskRegistry {
  return () => requestJson<RoutableMiners>(nats, SUBJECTS.routableMiners.subject, {}, { timeoutMs: REQUEST_MS });
}
