import type { DataSource } from 'typeorm';
import type { ArtifactRow } from './result.store';

/** Rows of `artifacts`: what a stored file is. The bytes are in the ArtifactStore of platform/. */
export class ArtifactRows {
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
    const [row] = await this.db.query<(Omit<ArtifactRow, 'bytes'> & { bytes: string })[]>(
      `SELECT sha256, bytes, content_type AS "contentType", facts FROM studio.artifacts WHERE sha256 = $1`,
      [sha256],
    );
    return row && { ...row, bytes: Number(row.bytes) };
  }
}
