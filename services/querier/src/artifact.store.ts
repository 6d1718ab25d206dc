import type { DataSource } from 'typeorm';
import type { ArtifactRow } from './result.store';
import { OR_RENEW, USE_NOTED_MS, type Updated } from './sql';

/** A LoRA is rendered with many times: without this, each inference would cost its submit a statement of its own. */
const MAX_CACHED = 1_000;

/** Rows of `artifacts`: what a stored file is. The bytes are in the ArtifactStore of platform/. */
export class ArtifactRows {
  /** What a row says never changes: its name is the hash of its content. */
  private readonly cache = new Map<string, ArtifactRow>();
  /** When its use was last noted by this process. */
  private readonly noted = new Map<string, number>();

  constructor(
    private readonly db: DataSource,
    private readonly nowMs: () => number = Date.now,
  ) {}

  /** The file has to be stored before: a row without a file would promise something we cannot give. */
  async add({ sha256, bytes, contentType, facts }: ArtifactRow): Promise<void> {
    await this.db.query(
      `INSERT INTO studio.artifacts (sha256, bytes, content_type, facts) VALUES ($1, $2, $3, $4::jsonb)
       ${OR_RENEW}`,
      [sha256, bytes, contentType, JSON.stringify(facts)],
    );
  }

  async find(sha256: string): Promise<ArtifactRow | undefined> {
    const cached = this.cache.get(sha256);
    if (cached) return cached;
    const [row] = await this.db.query<(Omit<ArtifactRow, 'bytes'> & { bytes: string })[]>(
      `SELECT sha256, bytes, content_type AS "contentType", facts FROM studio.artifacts WHERE sha256 = $1`,
      [sha256],
    );
    return row && this.remember({ ...row, bytes: Number(row.bytes) });
  }

  /** For a job that will name it: from now on it is not removed as unused. Undefined when it is gone. */
  async use(sha256: string): Promise<ArtifactRow | undefined> {
    const now = this.nowMs();
    if (now - (this.noted.get(sha256) ?? -Infinity) < USE_NOTED_MS) return this.find(sha256);
    const [[row]] = await this.db.query<Updated<Omit<ArtifactRow, 'bytes'> & { bytes: string }>>(
      `UPDATE studio.artifacts SET used_at = studio.now() WHERE sha256 = $1
       RETURNING sha256, bytes, content_type AS "contentType", facts`,
      [sha256],
    );
    if (!row) this.forget(sha256);
    else this.noted.set(sha256, now);
    return row && this.remember({ ...row, bytes: Number(row.bytes) });
  }

  private remember(row: ArtifactRow): ArtifactRow {
    const [oldest] = this.cache.keys();
    if (this.cache.size >= MAX_CACHED && oldest !== undefined) this.forget(oldest);
    this.cache.set(row.sha256, row);
    return row;
  }

  private forget(sha256: string): void {
    this.cache.delete(sha256);
    this.noted.delete(sha256);
  }
}
