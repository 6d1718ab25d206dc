import { StudioError } from '@studio/shared/domain/errors';
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { DataSource } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';

const PREFIX_BYTES = 6;
const SECRET_BYTES = 32;
const KEY_FORM = /^studio_([0-9a-f]{12})_[0-9a-f]{64}$/;

/** How long a revoked key still works; a look-up for every request would be the hot path's second statement. */
const CACHE_MS = 30_000;

/** API keys: `studio_<prefix>_<secret>`, 256 random bits, shown once, SHA-256 at rest, found by prefix. */
export class ClientKeyStore {
  private readonly verified = new Map<string, { clientId: string; until: number }>();

  constructor(
    private readonly db: DataSource,
    private readonly clock: () => number = () => performance.now(),
  ) {}

  /** @returns the new key; nobody can show it again. */
  async create(name: string, clientId: string = uuidv7()): Promise<{ key: string; clientId: string }> {
    const prefix = randomBytes(PREFIX_BYTES).toString('hex');
    const key = `studio_${prefix}_${randomBytes(SECRET_BYTES).toString('hex')}`;
    await this.db.query(
      'INSERT INTO studio.client_keys (id, client_id, name, prefix, hash) VALUES ($1, $2, $3, $4, $5)',
      [uuidv7(), clientId, name, prefix, digest(key)],
    );
    return { key, clientId };
  }

  /** @param authorization the header, `Key <key>` or `Bearer <key>`. @throws StudioError UNAUTHENTICATED */
  async authenticate(authorization: string | undefined): Promise<string> {
    if (!authorization) throw refused('missing: send the header `Authorization: Key <your key>`');
    const key = /^(?:Key|Bearer) (\S+)$/i.exec(authorization)?.[1];
    const prefix = key && KEY_FORM.exec(key)?.[1];
    if (!key || !prefix) throw refused('not of the form `Key studio_…`: copy the whole key');
    const hash = digest(key);
    const cached = this.verified.get(hash.toString('base64'));
    if (cached && cached.until > this.clock()) return cached.clientId;
    return this.lookUp(prefix, hash);
  }

  private async lookUp(prefix: string, hash: Buffer): Promise<string> {
    const [row] = await this.db.query<{ client_id: string; hash: Buffer }[]>(
      'SELECT client_id, hash FROM studio.client_keys WHERE prefix = $1 AND revoked_at IS NULL',
      [prefix],
    );
    if (!row || !timingSafeEqual(row.hash, hash)) throw refused('unknown or revoked: ask for a new one');
    this.remember(hash.toString('base64'), row.client_id);
    return row.client_id;
  }

  private remember(hash: string, clientId: string): void {
    const now = this.clock();
    // Only valid keys get here, so the map grows with clients, not with guesses.
    for (const [known, { until }] of this.verified) if (until <= now) this.verified.delete(known);
    this.verified.set(hash, { clientId, until: now + CACHE_MS });
  }
}

function digest(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}

function refused(why: string): StudioError {
  return new StudioError('UNAUTHENTICATED', `the API key is ${why}`);
}
