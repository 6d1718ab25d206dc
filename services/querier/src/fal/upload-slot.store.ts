import { createHash } from 'node:crypto';
import type { DataSource } from 'typeorm';
import type { Updated } from '../sql';

export interface UploadSlot {
  clientId: string;
  /** Names of the place: as long as passwords, and kept as one. */
  writing: string;
  reading: string;
}

export interface UploadPart {
  part: number;
  sha256: string;
  bytes: number;
}

const digest = (name: string): Buffer => createHash('sha256').update(name).digest();

/** Places that clients asked for. A name is kept by its SHA-256: whoever reads the table can use none. */
export class UploadSlotStore {
  /** @param ttlSeconds for the upload, and after it for the name of the file. */
  constructor(
    private readonly db: DataSource,
    private readonly ttlSeconds: number,
  ) {}

  async open({ clientId, writing, reading }: UploadSlot): Promise<void> {
    await this.db.query('INSERT INTO studio.upload_slots (writing, reading, client_id) VALUES ($1, $2, $3)', [
      digest(writing),
      digest(reading),
      clientId,
    ]);
  }

  async isOpen(writing: string): Promise<boolean> {
    const rows = await this.db.query<unknown[]>(
      `SELECT 1 FROM studio.upload_slots WHERE writing = $1 AND sha256 IS NULL AND ${this.isYoung('$2')}`,
      [digest(writing), this.ttlSeconds],
    );
    return rows.length > 0;
  }

  /** @returns false when another upload was first. */
  async fill(writing: string, sha256: string): Promise<boolean> {
    const [, count] = await this.db.query<Updated<unknown>>(
      'UPDATE studio.upload_slots SET sha256 = $2 WHERE writing = $1 AND sha256 IS NULL',
      [digest(writing), sha256],
    );
    return count > 0;
  }

  /** The last one of a number counts. */
  async keepPart(writing: string, { part, sha256, bytes }: UploadPart): Promise<void> {
    await this.db.query(
      `INSERT INTO studio.upload_parts (writing, part, sha256, bytes) VALUES ($1, $2, $3, $4)
       ON CONFLICT (writing, part) DO UPDATE SET sha256 = excluded.sha256, bytes = excluded.bytes`,
      [digest(writing), part, sha256, bytes],
    );
  }

  async parts(writing: string): Promise<UploadPart[]> {
    return this.db.query<UploadPart[]>(
      'SELECT part, sha256, bytes::float8 AS bytes FROM studio.upload_parts WHERE writing = $1',
      [digest(writing)],
    );
  }

  /** The artifact behind a name. */
  async find(reading: string): Promise<string | undefined> {
    const [row] = await this.db.query<{ sha256: string | null }[]>(
      `SELECT sha256 FROM studio.upload_slots WHERE reading = $1 AND ${this.isYoung('$2')}`,
      [digest(reading), this.ttlSeconds],
    );
    return row?.sha256 ?? undefined;
  }

  /** The same, of this client alone. */
  async findOf(clientId: string, reading: string): Promise<string | undefined> {
    const [row] = await this.db.query<{ sha256: string | null }[]>(
      `SELECT sha256 FROM studio.upload_slots WHERE reading = $1 AND client_id = $3 AND ${this.isYoung('$2')}`,
      [digest(reading), this.ttlSeconds, clientId],
    );
    return row?.sha256 ?? undefined;
  }

  private isYoung(seconds: string): string {
    return `created_at > studio.now() - ${seconds} * interval '1 second'`;
  }
}
