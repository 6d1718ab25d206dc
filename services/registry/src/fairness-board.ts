import { Gauge, type Registry as Metrics } from 'prom-client';
import type { FairnessLane, FairnessReport } from '@studio/shared/contract/miners';
import { laneFairness } from '@studio/shared/domain/fairness';
import type { FairnessStore, LaneRow } from './fairness.store';

/** Long enough for turns to even out, short enough to show what is wrong today. */
const SPAN_MS = 3_600_000;

/** An hour of attempts is scanned for one report: once for many readers. */
const MAX_AGE_MS = 10_000;

interface Published {
  report: FairnessReport;
  /** `hotkey|kind|engine` → the jobs that equal slots would have brought. */
  fairJobs: ReadonlyMap<string, number>;
}

/** How fair routing was, per kind and engine: for everybody, for each miner's account, and as a gauge. */
export class FairnessBoard {
  private last: { atMs: number; published: Promise<Published> } | undefined;
  private readonly gauge: Gauge<'kind' | 'engine'>;

  constructor(
    private readonly store: FairnessStore,
    metrics: Metrics,
    private readonly now: () => Date = () => new Date(),
  ) {
    this.gauge = new Gauge({
      name: 'registry_routing_gini',
      help: 'Gini coefficient of jobs per proven slot over the last hour; 0 is equal',
      labelNames: ['kind', 'engine'],
      registers: [metrics],
    });
  }

  async report(): Promise<FairnessReport> {
    return (await this.published()).report;
  }

  /** Null for a miner that takes no part in the lane. */
  async fairJobs(hotkey: string, kind: string, engine: string): Promise<number | null> {
    return (await this.published()).fairJobs.get(nameOf({ hotkey, kind, engine })) ?? null;
  }

  /** One sweep: keeps the gauge up to date though nobody asks. */
  async run(): Promise<void> {
    this.last = undefined;
    await this.published();
  }

  private published(): Promise<Published> {
    const atMs = performance.now();
    if (this.last && atMs - this.last.atMs < MAX_AGE_MS) return this.last.published;
    const published = this.compute();
    this.last = { atMs, published };
    // A failure is told to those who wait for it, and to nobody after them.
    published.catch(() => {
      if (this.last?.published === published) this.last = undefined;
    });
    return published;
  }

  private async compute(): Promise<Published> {
    const rows = await this.store.turns(SPAN_MS);
    const fairJobs = new Map<string, number>();
    const lanes = byLane(rows).map((lane) => {
      const { fairJobs: fair, perSlot, ...figures } = laneFairness(lane, SPAN_MS);
      fair.forEach((jobs, hotkey) => fairJobs.set(nameOf({ ...lane[0], hotkey }), jobs));
      const { kind, engine } = lane[0];
      return { kind, engine, miners: lane.length, ...figures, per_slot: perSlot };
    });
    this.show(lanes);
    return { report: { at: this.now().toISOString(), span_ms: SPAN_MS, lanes }, fairJobs };
  }

  private show(lanes: readonly FairnessLane[]): void {
    this.gauge.reset();
    for (const { kind, engine, gini } of lanes) if (gini !== null) this.gauge.set({ kind, engine }, gini);
  }
}

function nameOf({ hotkey, kind, engine }: { hotkey: string; kind: string; engine: string }): string {
  return `${hotkey}|${kind}|${engine}`;
}

/** In the order of the rows. */
function byLane(rows: readonly LaneRow[]): [LaneRow, ...LaneRow[]][] {
  const lanes = new Map<string, [LaneRow, ...LaneRow[]]>();
  for (const row of rows) {
    const lane = lanes.get(`${row.kind}|${row.engine}`);
    if (lane) lane.push(row);
    else lanes.set(`${row.kind}|${row.engine}`, [row]);
  }
  return [...lanes.values()];
}
