/**
 * API keys: `studio_<prefix>_<secret>`, 256 random bits, shown once, SHA-256 at rest, found by prefix. Whatever is done to a key is
 * written down in the same statement, in a table whose rows cannot be changed. Who may use one: access/client-access.ts.
 */
import type { KeyEventView, KeyView, Scope } from '@studio/shared/contract/client-keys';
import { SCOPES } from '@studio/shared/contract/client-keys';
import { StudioError } from '@studio/shared/domain/errors';
import { createHash, randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { DataSource } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';

const PREFIX_BYTES = 6;
const SECRET_BYTES = 32;

/** Who does it, and where from: for the record. */
export interface Actor {
  who: string;
  origin: string;
}

export interface KeyLimits {
  requestsPerMinute: number | null;
  queuedJobs: number | null;
}

export interface NewKey extends Partial<KeyLimits> {
  clientId?: string;
  scopes?: readonly Scope[];
  by?: Actor;
}

export interface StoredKey {
  keyId: string;
  clientId: string;
  hash: Buffer;
  scopes: Scope[];
  requestsPerMinute: number | null;
}

const VIEW = `id, client_id, name, prefix, scopes, requests_per_minute, queued_jobs, created_at, revoked_at`;
const EVENT = (action: KeyEventView['action']): string =>
  `INSERT INTO studio.client_key_events (key_id, client_id, action, detail, who, origin)
   SELECT id, client_id, '${action}', jsonb_build_object('name', name, 'scopes', scopes,
          'requests_per_minute', requests_per_minute, 'queued_jobs', queued_jobs), $1, $2 FROM changed`;

export class ClientKeyStore {
  /** `onChanged` hears, after the commit, of keys that are not any more what they were. */
  constructor(
    private readonly db: DataSource,
    private readonly onChanged: () => void = () => undefined,
  ) {}

  /** @returns the new key; nobody can show it again. */
  async create(name: string, options: NewKey = {}): Promise<{ key: string; clientId: string; view: KeyView }> {
    const {
      clientId = uuidv7(),
      scopes = SCOPES,
      requestsPerMinute = null,
      queuedJobs = null,
      by = ourselves(),
    } = options;
    const prefix = randomBytes(PREFIX_BYTES).toString('hex');
    const key = `studio_${prefix}_${randomBytes(SECRET_BYTES).toString('hex')}`;
    const [view] = await this.db.query<[KeyView]>(
      `WITH changed AS (
         INSERT INTO studio.client_keys (id, client_id, name, prefix, hash, scopes, requests_per_minute, queued_jobs)
         VALUES ($3, $4, $5, $6, $7, $8, $9, $10) RETURNING ${VIEW}),
       noted AS (${EVENT('created')})
       SELECT ${VIEW} FROM changed`,
      [by.who, by.origin, uuidv7(), clientId, name, prefix, keyHash(key), scopes, requestsPerMinute, queuedJobs],
    );
    // Another limit of the client's may have become the strictest; nothing of it is kept anywhere.
    return { key, clientId, view };
  }

  /** Undefined for an unknown key and a revoked one. */
  async find(prefix: string): Promise<StoredKey | undefined> {
    const [row] = await this.db.query<StoredKey[]>(
      `SELECT id AS "keyId", client_id AS "clientId", hash, scopes, requests_per_minute AS "requestsPerMinute"
         FROM studio.client_keys WHERE prefix = $1 AND revoked_at IS NULL`,
      [prefix],
    );
    return row;
  }

  list(): Promise<KeyView[]> {
    return this.db.query<KeyView[]>(`SELECT ${VIEW} FROM studio.client_keys ORDER BY id`);
  }

  /** A second time changes nothing, and is no event. @throws StudioError NOT_FOUND */
  async revoke(id: string, by: Actor): Promise<KeyView> {
    const [view] = await this.db.query<KeyView[]>(
      `WITH changed AS (
         UPDATE studio.client_keys SET revoked_at = studio.now() WHERE id = $3 AND revoked_at IS NULL RETURNING ${VIEW}),
       noted AS (${EVENT('revoked')})
       SELECT ${VIEW} FROM changed
       UNION ALL SELECT ${VIEW} FROM studio.client_keys WHERE id = $3 AND NOT EXISTS (SELECT 1 FROM changed)`,
      [by.who, by.origin, id],
    );
    return this.changed(view);
  }

  /** A limit that is undefined stays. @throws StudioError NOT_FOUND also for a revoked key */
  async limit(id: string, { requestsPerMinute, queuedJobs }: Partial<KeyLimits>, by: Actor): Promise<KeyView> {
    const [view] = await this.db.query<KeyView[]>(
      `WITH changed AS (
         UPDATE studio.client_keys
            SET requests_per_minute = CASE WHEN $4 THEN $5::int ELSE requests_per_minute END,
                queued_jobs = CASE WHEN $6 THEN $7::int ELSE queued_jobs END
          WHERE id = $3 AND revoked_at IS NULL RETURNING ${VIEW}),
       noted AS (${EVENT('limited')})
       SELECT ${VIEW} FROM changed`,
      [by.who, by.origin, id, requestsPerMinute !== undefined, requestsPerMinute, queuedJobs !== undefined, queuedJobs],
    );
    return this.changed(view);
  }

  /** What was done to keys, or to one; newest first. */
  events(key: string | null, before: number | null, limit: number): Promise<KeyEventView[]> {
    return this.db.query<KeyEventView[]>(
      `SELECT id::int, key_id, client_id, action, detail, who, origin, at FROM studio.client_key_events
        WHERE ($1::uuid IS NULL OR key_id = $1) AND ($2::bigint IS NULL OR id < $2) ORDER BY id DESC LIMIT $3`,
      [key, before, limit],
    );
  }

  private changed(view: KeyView | undefined): KeyView {
    if (!view)
      throw new StudioError('NOT_FOUND', 'no such key that is not revoked: look its id up in the list of keys');
    this.onChanged();
    return view;
  }
}

export function keyHash(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}

function ourselves(): Actor {
  return { who: `process ${process.pid}`, origin: hostname() };
}
