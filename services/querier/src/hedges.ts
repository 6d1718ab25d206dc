/** When this process hedges a slow job, and whether it can still afford to. */
import { earnHedge, hedgeAfterMs, spendHedge } from '@studio/shared/domain/hedging';
import type { Engine, JobKind } from '@studio/shared/domain/job';
import type { RoutingPolicy } from '@studio/shared/domain/policy';
import type { Logger } from '@studio/shared/platform/logger';
import { Sweeper } from '@studio/shared/platform/sweeper';
import type { PolicyStore } from './policy.store';
import type { LatestResultsRow, ResultStore } from './result.store';
import { isSlow, restMs } from './routing/usual-times';

/** A kind's latencies change with its miners and inputs, not from second to second. */
const REFRESH_MS = 10_000;

export class Hedges {
  private latest = new Map<string, LatestResultsRow>();
  private saved = 0;
  private readonly sweeper: Sweeper;

  constructor(
    results: Pick<ResultStore, 'latest'>,
    private readonly policies: Pick<PolicyStore, 'current' | 'latest'>,
    log: Pick<Logger, 'error'>,
  ) {
    const run = async (): Promise<void> => {
      const { routing } = await policies.current();
      const rows = await results.latest(routing.hedgeQuantile);
      this.latest = new Map(rows.map((row) => [key(row.kind, row.engine), row]));
    };
    this.sweeper = new Sweeper({ name: 'hedge times', everyMs: REFRESH_MS, run, log });
  }

  start(): void {
    this.sweeper.start();
  }

  stop(): Promise<void> {
    return this.sweeper.stop();
  }

  /** Milliseconds after an attempt's send at which it counts as slow. */
  afterMs(kind: JobKind, engine: Engine, timeoutMs: number): number {
    return hedgeAfterMs(timeoutMs, this.latest.get(key(kind, engine)), this.policy);
  }

  /** As long as the slot of a turn rests that brought nothing after `elapsedMs`. */
  restMs(kind: JobKind, engine: Engine, timeoutMs: number, elapsedMs: number): number {
    return restMs(timeoutMs, elapsedMs, this.latest.get(key(kind, engine)), this.policy);
  }

  isSlow(kind: JobKind, engine: Engine, timeoutMs: number, rawMs: number): boolean {
    return isSlow(timeoutMs, rawMs, this.latest.get(key(kind, engine)), this.policy);
  }

  /** The latest results of a kind, and how many are enough to go by. */
  usual(kind: JobKind, engine: Engine): { latest: LatestResultsRow | undefined; minSamples: number } {
    return { latest: this.latest.get(key(kind, engine)), minSamples: this.policy.hedgeMinSamples };
  }

  /** One more job was started. */
  earn(): void {
    this.saved = earnHedge(this.saved, this.policy);
  }

  canAfford(): boolean {
    return spendHedge(this.saved) !== undefined;
  }

  spend(): void {
    this.saved = spendHedge(this.saved) ?? this.saved;
  }

  private get policy(): RoutingPolicy {
    return this.policies.latest.routing;
  }
}

function key(kind: JobKind, engine: Engine): string {
  return `${kind}|${engine}`;
}
