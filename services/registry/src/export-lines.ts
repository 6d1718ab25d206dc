/** The lines of an export, made anew from the database: it only grows, so they have the same bytes each time. */
import type { DrawExportHeader } from '@studio/shared/contract/draws';
import { EXPORT_FORMAT, type ExportHeader, type ExportLine } from '@studio/shared/contract/exports';
import { canonicalJson } from '@studio/shared/protocol/canonical';
import type { DrawExportStore } from './draw-export.store';
import { hourEnd, type ExportRange } from './export-range';
import type { ExportStore } from './export.store';
import type { ScoreStore } from './score.store';
import type { SnapshotStore } from './snapshot.store';

/** About 100 KiB of lines, and 10 ms of the event loop; a reader that is slow holds two pages in memory. */
const PAGE = 250;

/** Below every job id. */
const BEGINNING = '00000000-0000-0000-0000-000000000000';

export interface LineSources {
  scores: Pick<ScoreStore, 'events'>;
  snapshots: Pick<SnapshotStore, 'find'>;
  draws: Pick<DrawExportStore, 'find' | 'counted' | 'page'>;
  store: Pick<ExportStore, 'policiesUntil' | 'newestEpochBefore' | 'timeouts'>;
}

export class ExportLines {
  /**
   * Readers take turns, one page each, composed within the turn: all of them together never have more than one of the pool's
   * connections, and between two pages the event loop is free for as long as the database takes.
   */
  private reading: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly sources: LineSources,
    private readonly pageRows = PAGE,
  ) {}

  /**
   * Lines without their ends, page by page.
   * @param fromSeq begins with this event; by default with the header.
   */
  async *pages(range: ExportRange, fromSeq?: number): AsyncGenerator<string[]> {
    if (fromSeq === undefined) yield [await this.turn(() => this.header(range))];
    yield* this.events(fromSeq ?? range.fromSeq, range.toSeq);
    if (range.kind === 'epoch') yield* this.recordsOf(Number(range.name));
  }

  private async header({ kind, name, fromSeq, toSeq }: ExportRange): Promise<string> {
    const { store } = this.sources;
    const epoch = kind === 'epoch' ? Number(name) : await store.newestEpochBefore(hourEnd(name));
    const policies = await store.policiesUntil(epoch);
    const header: ExportHeader = { format: EXPORT_FORMAT, kind, name, from_seq: fromSeq, to_seq: toSeq, policies };
    return line({ header });
  }

  private async *events(fromSeq: number, toSeq: number): AsyncGenerator<string[]> {
    for (let after = fromSeq - 1; after < toSeq;) {
      const limit = Math.min(this.pageRows, toSeq - after);
      const start = after;
      const lines = await this.turn(async () =>
        (await this.sources.scores.events(start, limit)).map((event) => line({ event })),
      );
      if (lines.length === 0) throw new Error(`the log of score events ends at ${after}, before ${toSeq}`);
      yield lines;
      after += lines.length;
    }
  }

  /** Draws and snapshot of a closed epoch. */
  private async *recordsOf(epoch: number): AsyncGenerator<string[]> {
    const { draws, snapshots } = this.sources;
    const drawn = await this.turn(() => draws.find(epoch));
    const snapshot = await this.turn(() => snapshots.find(epoch));
    if (drawn?.secret == null || drawn.settledAt === null || snapshot === null) {
      throw new Error(`epoch ${epoch} is not closed`);
    }
    const { commitment, secret, policy, settledAt } = drawn;
    const header: DrawExportHeader = {
      epoch,
      commitment,
      secret,
      policy,
      ...(await this.turn(() => draws.counted(epoch))),
    };
    yield [line({ draws: header })];
    yield* this.drawsOf(epoch, settledAt);
    // Its text is canonical already, and has to stay to the byte.
    yield [`{"snapshot":${snapshot.body}}`];
  }

  private async *drawsOf(epoch: number, settledAt: string): AsyncGenerator<string[]> {
    const { draws, store } = this.sources;
    for (let after = BEGINNING; ;) {
      const position = { epoch, settledAt, after, limit: this.pageRows };
      const page = await this.turn(async () => {
        const rows = await draws.page(position);
        const timeouts = await store.timeouts(rows.map(({ job_id: id }) => id));
        const lines = rows.map((row) => line({ draw: { ...row, timeout_ms: timeouts.get(row.job_id) ?? null } }));
        return { lines, last: rows.at(-1)?.job_id };
      });
      if (page.last === undefined) return;
      yield page.lines;
      after = page.last;
    }
  }

  private turn<T>(read: () => Promise<T>): Promise<T> {
    const result = this.reading.then(read);
    this.reading = result.catch(() => undefined);
    return result;
  }
}

function line(content: ExportLine): string {
  return canonicalJson(content);
}
