/**
 * What makes room. Always: places for uploads whose time is over. With RETENTION_DAYS: finished jobs go to files, then the
 * artifacts that nothing names any more, then the bytes of both. Every replica may run it; one at a time works.
 */
import { PUT_RENEWS_MS, type ArtifactStore } from '@studio/shared/platform/artifacts';
import type { Logger } from '@studio/shared/platform/logger';
import { Sweeper } from '@studio/shared/platform/sweeper';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { GarbageStore } from './garbage.store';
import type { ArchivedJob, JobArchiveStore, StoredArchive } from './job-archive.store';

const compress = promisify(gzip);

/** About 3 MB of text and 0.3 s of one core; a transaction that other writers do not wait for. */
const ARCHIVE_BATCH = 1_000;
const GARBAGE_BATCH = 1_000;
/** Between two batches, so that no more than about a third of one connection and one core is used. */
const PAUSE_MS = 500;
/** Nothing here is urgent: ages are counted in days. */
const SWEEP_MS = 10 * 60_000;
/** Names asked about at once. */
const FILES_BATCH = 500;
/** In each run the names are listed that begin with the next so many hex digits: all of them within two days. */
const PREFIX_DIGITS = 2;
const ARCHIVE_TYPE = 'application/gzip';
const DAY_MS = 24 * 3_600_000;

const BEGINNING = '00000000-0000-0000-0000-000000000000';

export interface RetentionOptions {
  /** Undefined: jobs and artifacts are kept for ever. */
  keepMs: number | undefined;
  /** Life of an upload's place, and after it of its file's name. */
  slotSeconds: number;
  nowMs?: () => number;
  batch?: number;
  prefixDigits?: number;
}

export class Retention {
  private after = BEGINNING;
  private prefix = 0;

  constructor(
    private readonly jobs: JobArchiveStore,
    private readonly garbage: GarbageStore,
    private readonly artifacts: ArtifactStore,
    private readonly options: RetentionOptions,
  ) {}

  /** One batch. @returns whether more is known to wait. */
  async run(): Promise<boolean> {
    const { keepMs, slotSeconds, batch } = this.options;
    const slots = await this.garbage.forgetSlots(slotSeconds, GARBAGE_BATCH);
    if (keepMs === undefined) return slots === GARBAGE_BATCH;
    if (await this.archive(keepMs)) return true;
    if ((await this.garbage.forgetArtifacts(keepMs, batch ?? GARBAGE_BATCH)) > 0) return true;
    await this.garbage.alone(() => this.removeFiles());
    return false;
  }

  private async archive(keepMs: number): Promise<boolean> {
    const query = { keepMs, after: this.after, limit: this.options.batch ?? ARCHIVE_BATCH };
    const last = await this.jobs.archive(query, (jobs) => this.write(jobs));
    this.after = last ?? BEGINNING;
    return last !== undefined;
  }

  /** The same jobs give the same file: repeated after a crash, it has the same name. */
  private async write(jobs: ArchivedJob[]): Promise<StoredArchive> {
    const text = jobs.map((job) => `${JSON.stringify(job)}\n`).join('');
    const bytes = await compress(text);
    return this.artifacts.put(bytes, { contentType: ARCHIVE_TYPE, maxBytes: bytes.byteLength });
  }

  /** Also those that a crash between bytes and row left, whatever wrote them. */
  private async removeFiles(): Promise<void> {
    const digits = this.options.prefixDigits ?? PREFIX_DIGITS;
    const prefix = digits === 0 ? '' : this.prefix.toString(16).padStart(digits, '0');
    this.prefix = (this.prefix + 1) % 16 ** digits;
    const names: string[] = [];
    for await (const name of this.artifacts.list(prefix)) {
      names.push(name);
      if (names.length === FILES_BATCH) await this.removeUnnamed(names.splice(0));
    }
    await this.removeUnnamed(names);
  }

  private async removeUnnamed(names: string[]): Promise<void> {
    if (names.length === 0) return;
    const before = new Date((this.options.nowMs ?? Date.now)() - 2 * PUT_RENEWS_MS);
    for (const name of await this.garbage.unnamed(names)) await this.artifacts.remove(name, before);
  }
}

export function retentionSweeper(retention: Retention, log: Pick<Logger, 'error'>): Sweeper {
  const sweeper: Sweeper = new Sweeper({
    name: 'retention',
    everyMs: SWEEP_MS,
    restMs: PAUSE_MS,
    log,
    run: async () => {
      // A hint, not `true`: the pause between batches is meant.
      if (await retention.run()) sweeper.hint();
    },
  });
  return sweeper;
}

export const daysToMs = (days: number | undefined): number | undefined =>
  days === undefined ? undefined : days * DAY_MS;
