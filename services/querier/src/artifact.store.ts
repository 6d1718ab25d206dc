import type { DataSource } from 'typeorm';
import type { ArtifactRow } from './result.store';

/** A LoRA is rendered with many times: without this, each inference would cost its submit a statement of its own. */
const MAX_CACHED = 1_000;

/** Rows of `artifacts`: what a stored file is. The bytes are in the ArtifactStore of platform/. */
export class ArtifactRows {
  /** Never stale: a row is never changed, and its name is the hash of its content. */
  private readonly cache = new Map<string, ArtifactRow>();

  constructor(private readonly db: DataSource) {}

  /** The file has to be stored before: a row without a file would promise something we cannot give. */
  async add({ sha256, bytes, contentType, facts }: ArtifactRow): Promise<void> {
    await this.db.query(
      `INSERT INTO studio.artifacts (sha256, bytes, content_type, facts) VALUES ($1, $2, $3, $4::jsonb)
       ON CONFLICT DO NOTHING`,
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

  private remember(row: ArtifactRow): ArtifactRow {
    const [oldest] = this.cache.keys();
    if (this.cache.size >= MAX_CACHED && oldest !== undefined) this.cache.delete(oldest);
    this.cache.set(row.sha256, row);
    return row;
  }
}
