/**
 * Every training result is compared with recent ones: two adapters of different photographs do not come out alike
 * (measured cosines 0.47–0.79), so an adapter that equals another photograph's was not trained. Suspicion alone convicts
 * nobody: the job is audited, and the replay decides.
 */
import type { Logger } from 'pino';
import { cosine } from '@studio/ref-sep/adapter-similarity';
import { adapterFromTensors, AdapterError } from '@studio/ref-sep/adapter-tensors';
import type { Adapter } from '@studio/ref-sep/adapter';
import { readSafetensors, SafetensorsError } from '@studio/shared/protocol/safetensors';
import type { ArtifactStore } from '@studio/shared/platform/artifacts';
import type { AdapterPosition, AdapterRow, AdapterStore } from './adapter.store';
import type { Suspicion } from './audit-case';
import { DIFFERENT_PHOTOGRAPH, imageDifference, thumbnail, type Thumbnail } from './training-image';

/** Adapters kept in memory: 34 kB each at rank 16 in the reference engine. */
const REMEMBERED = 500;
/** Adapters of one pass. */
const BATCH = 16;
/** Comparisons between two turns of the event loop: about 0.3 ms each at rank 16. */
const TURN = 16;

const BEGINNING: AdapterPosition = { takenAt: '-infinity', jobId: '00000000-0000-0000-0000-000000000000' };

interface Remembered extends AdapterRow {
  adapter: Adapter;
}

export class CopyRule {
  private recent: Remembered[] = [];
  private position: AdapterPosition | undefined;

  constructor(
    private readonly store: AdapterStore,
    private readonly artifacts: Pick<ArtifactStore, 'read'>,
    private readonly log: Pick<Logger, 'warn'>,
    /** Hears of suspects: their audits are due. */
    private readonly onSuspects: () => void,
    /** Hears that adapters were checked: an epoch may be waiting for them. */
    private readonly onChecked: () => void,
  ) {}

  /** @returns whether more adapters are known to wait. */
  async run(): Promise<boolean> {
    this.position ??= await this.remember(await this.store.beforeUnchecked(REMEMBERED));
    const rows = await this.store.after(this.position, BATCH);
    for (const row of rows) {
      const adapter = await this.load(row);
      if (!row.checked) await this.check(row, adapter);
      this.position = { takenAt: row.takenAt, jobId: row.jobId };
      if (adapter) this.recent = [...this.recent, { ...row, adapter }].slice(-REMEMBERED);
    }
    if (rows.length > 0) this.onChecked();
    return rows.length === BATCH;
  }

  /** After a start: what was there before the first adapter that is still to be checked. */
  private async remember(rows: readonly AdapterRow[]): Promise<AdapterPosition> {
    this.recent = [];
    for (const row of rows) {
      const adapter = await this.load(row);
      if (adapter) this.recent.push({ ...row, adapter });
    }
    return rows.at(-1) ?? BEGINNING;
  }

  /** Undefined for what this rule cannot compare; the checks before delivery have seen to everything else. */
  private async load(row: AdapterRow): Promise<Adapter | undefined> {
    if (row.engine !== 'ref-sep-v1') return undefined;
    const file = await this.artifacts.read(row.loraSha256);
    try {
      if (file) return adapterFromTensors(readSafetensors(file));
      this.log.warn({ job: row.jobId, lora: row.loraSha256 }, 'adapter is not in the artifact store: not compared');
    } catch (error) {
      if (!(error instanceof SafetensorsError || error instanceof AdapterError)) throw error;
      this.log.warn({ err: error, job: row.jobId }, 'adapter cannot be read: not compared');
    }
    return undefined;
  }

  private async check(row: AdapterRow, adapter: Adapter | undefined): Promise<void> {
    const suspects: { jobId: string; suspicion: Suspicion }[] = [];
    for (const [index, other] of (adapter ? this.recent : []).entries()) {
      if (index % TURN === TURN - 1) await new Promise((resolve) => setImmediate(resolve));
      if (!adapter || other.imageHash === row.imageHash) continue;
      const likeness = Math.abs(cosine(adapter, other.adapter));
      if (likeness < row.threshold) continue;
      // Whatever the order of reading: who finished later had something to copy from.
      const [original, copy] = finishedBefore(row, other) ? [row, other] : [other, row];
      const difference = await this.imageDifference(row, other);
      if (!copy.suspectable || (difference !== null && difference < DIFFERENT_PHOTOGRAPH)) continue;
      suspects.push({
        jobId: copy.jobId,
        suspicion: { copyOf: original.jobId, cosine: likeness, imageDifference: difference },
      });
    }
    await this.store.checked(row.jobId, suspects);
    if (suspects.length > 0) this.onSuspects();
  }

  /** Null when one of the images is gone: then only the replay can tell. */
  private async imageDifference(a: AdapterRow, b: AdapterRow): Promise<number | null> {
    const [one, other] = await Promise.all([this.thumbnailOf(a), this.thumbnailOf(b)]);
    return one && other ? imageDifference(one, other) : null;
  }

  private async thumbnailOf({ imageSha256 }: AdapterRow): Promise<Thumbnail | undefined> {
    const image = await this.artifacts.read(imageSha256);
    return image ? thumbnail(image) : undefined;
  }
}

/** Times as Postgres writes them, which Date reads to the millisecond; the job id settles the rest. */
function finishedBefore(a: AdapterRow, b: AdapterRow): boolean {
  const [first, second] = [Date.parse(a.finishedAt), Date.parse(b.finishedAt)];
  return first === second ? a.jobId < b.jobId : first < second;
}
