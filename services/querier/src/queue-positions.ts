/**
 * How many jobs a worker will look at before each that waits: those of the same kind on the same engine, since the others take no
 * slot from it. Everybody who follows a job asks several times a second; one look at the queue answers all of them.
 */
import type { Engine, JobKind } from '@studio/shared/domain/job';

export interface Lane {
  kind: JobKind;
  engine: Engine;
}

export interface WaitingRow extends Lane {
  id: string;
  ahead: number;
}

const nameOf = ({ kind, engine }: Lane): string => `${kind} ${engine}`;

/** Between two looks while nobody is new. */
const LOOK_MS = 500;
/** Between two looks while new jobs come: their own position is the first that clients see. */
const LOOK_FOR_NEW_MS = 50;

export class QueuePositions {
  private seen = new Map<string, number>();
  private lengths = new Map<string, number>();
  private seenAtMs = -Infinity;
  private looking: Promise<void> | undefined;

  /** @param look every waiting job, or as many of the first as anybody counts. */
  constructor(
    private readonly look: () => Promise<WaitingRow[]>,
    private readonly nowMs: () => number = () => performance.now(),
  ) {}

  /** Of a job that waits; for one behind those that were seen, their number. */
  async of({ id, ...lane }: Lane & { id: string }): Promise<number> {
    const dueMs = this.seen.has(id) ? LOOK_MS : LOOK_FOR_NEW_MS;
    if (this.nowMs() - this.seenAtMs >= dueMs) await (this.looking ??= this.lookAnew());
    return this.seen.get(id) ?? this.append(id, nameOf(lane));
  }

  /** Newer than the last look. */
  private append(id: string, lane: string): number {
    const ahead = this.lengths.get(lane) ?? 0;
    this.seen.set(id, ahead);
    this.lengths.set(lane, ahead + 1);
    return ahead;
  }

  private async lookAnew(): Promise<void> {
    try {
      const startedMs = this.nowMs();
      const rows = await this.look();
      this.seen = new Map(rows.map(({ id, ahead }) => [id, ahead]));
      this.lengths = new Map();
      for (const row of rows) this.lengths.set(nameOf(row), row.ahead + 1);
      this.seenAtMs = startedMs;
    } finally {
      this.looking = undefined;
    }
  }
}
