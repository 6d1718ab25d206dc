import { Readable } from 'node:stream';
import type { DrawExportHeader } from '@studio/shared/contract/draws';
import { StudioError } from '@studio/shared/domain/errors';
import type { DrawExportStore } from './draw-export.store';

/** About 500 KiB of lines; a reader that is slow holds two pages in memory. */
const PAGE = 1_000;

/** Below every job id. */
const BEGINNING = '00000000-0000-0000-0000-000000000000';

/** The draws of closed epochs, for whoever wants to verify them. Between two pages a reader holds nothing of the database. */
export class DrawExport {
  private readonly closing = new AbortController();
  /** Readers take turns, one page each: all of them together never have more than one of the pool's connections. */
  private reading: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly store: Pick<DrawExportStore, 'find' | 'counted' | 'page'>,
    private readonly pageRows = PAGE,
  ) {}

  /** Ends every reader, so that the server can close. */
  close(): void {
    this.closing.abort();
  }

  /**
   * The lines after the job id `after`, the header before them.
   * @throws StudioError NOT_FOUND or NOT_FINISHED before the first line.
   */
  async open(epoch: number, after = BEGINNING): Promise<Readable> {
    const found = await this.store.find(epoch);
    if (found === null)
      throw new StudioError('NOT_FOUND', `there is no epoch ${epoch}: GET /v1/epochs/current names it`);
    const { state, commitment, policy, secret, settledAt } = found;
    if (state !== 'closed' || secret === null || settledAt === null) {
      throw new StudioError(
        'NOT_FINISHED',
        `epoch ${epoch} is ${state}: its draws are published once it is closed, which GET /v1/epochs/${epoch} tells`,
      );
    }
    const header = { epoch, commitment, secret, policy, ...(await this.turn(() => this.store.counted(epoch))) };
    return Readable.from(this.lines(header, settledAt, after), { highWaterMark: 1, signal: this.closing.signal });
  }

  private async *lines(header: DrawExportHeader, settledAt: string, start: string): AsyncGenerator<string> {
    yield `${JSON.stringify(header)}\n`;
    for (let after = start; ;) {
      const position = { epoch: header.epoch, settledAt, after, limit: this.pageRows };
      const rows = await this.turn(() => this.store.page(position));
      const last = rows.at(-1);
      if (!last) return;
      yield rows.map((row) => `${JSON.stringify(row)}\n`).join('');
      after = last.job_id;
    }
  }

  private turn<T>(read: () => Promise<T>): Promise<T> {
    const result = this.reading.then(read);
    this.reading = result.catch(() => undefined);
    return result;
  }
}
