/** Which miners there are, as the registry last said. Jobs keep flowing to them while the registry is away. */
import type { MinerDialect, RoutableMiner, RoutableMiners } from '@studio/shared/contract/miners';
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

/** A miner that speaks another dialect may register, but nothing is sent to it in a language it does not know. */
const SPOKEN: readonly MinerDialect[] = ['native'];

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

  /** `onChange` hears that miners may have come. */
  constructor(
    private readonly ask: AskRegistry,
    log: Pick<Logger, 'error'>,
    private readonly onChange: () => void = () => undefined,
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

  /** Who may be asked for (kind, engine) under this rule: a reference only where the rule names it. */
  offers(kind: JobKind, engine: Engine, { onlyHotkey, excludeOperators }: RoutingRule): Offer[] {
    return this.all().flatMap((miner) => {
      const allowed = onlyHotkey === undefined ? !miner.trusted : miner.hotkey === onlyHotkey;
      const spoken = SPOKEN.includes(miner.dialect);
      const excluded = excludeOperators?.includes(miner.operator) || miner.quarantined.includes(kind);
      const offer = miner.offers.find((item) => item.kind === kind && item.engine === engine);
      return allowed && spoken && !excluded && offer ? [{ miner, slots: offer.slots }] : [];
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
