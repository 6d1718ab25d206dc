import { randomBytes } from 'node:crypto';
import type { DataSource } from 'typeorm';

/** The registry opens an epoch only once its commitment exists: two in advance leave an epoch's time for an outage. */
const EPOCHS_AHEAD = 2;
/** The first epoch there is. */
const FIRST_EPOCH = 1;
/** As long as the HMAC's hash: guessing it is as hard as guessing the hash. */
const SECRET_BYTES = 32;

/** The secrets that decide the draws, and what is published of them in advance. */
export class CommitmentStore {
  constructor(private readonly source: DataSource) {}

  /**
   * Secret and commitment (SHA-256, hex) for the newest epoch and those ahead of it. Safe to repeat and to run on two
   * replicas at once: a secret is never replaced, and a commitment is always computed from the stored secret.
   */
  async ensure(): Promise<void> {
    const rows: { newest: number | null }[] = await this.source.query('SELECT max(epoch) AS newest FROM studio.epochs');
    const newest = rows[0]?.newest ?? FIRST_EPOCH;
    const epochs = Array.from({ length: EPOCHS_AHEAD + 1 }, (_, ahead) => newest + ahead);
    const known: { epoch: number }[] = await this.source.query(
      'SELECT epoch FROM studio.draw_commitments WHERE epoch = ANY($1::int[])',
      [epochs],
    );
    const missing = epochs.filter((epoch) => !known.some((row) => row.epoch === epoch));
    if (missing.length === 0) return;
    await this.source.query(
      `INSERT INTO studio.draw_secrets (epoch, secret) SELECT * FROM unnest($1::int[], $2::bytea[])
       ON CONFLICT (epoch) DO NOTHING`,
      [missing, missing.map(() => randomBytes(SECRET_BYTES))],
    );
    await this.source.query(
      `INSERT INTO studio.draw_commitments (epoch, commitment)
       SELECT epoch, encode(sha256(secret), 'hex') FROM studio.draw_secrets WHERE epoch = ANY($1::int[])
       ON CONFLICT (epoch) DO NOTHING`,
      [missing],
    );
  }
}
