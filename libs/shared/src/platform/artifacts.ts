import type { Readable } from 'node:stream';
import type { ArtifactRef } from '../domain/job';

export interface PutOptions {
  contentType: string;
  /** Bytes; one more refuses the whole artifact. */
  maxBytes: number;
}

/** What a download made from a link says of itself: the link's own, where the store keeps no types. */
export interface LinkOptions {
  contentType: string;
  disposition?: string;
  seconds: number;
}

/**
 * A put of bytes that are stored already renews their time when it is older than this. Whoever removes files that nothing names
 * leaves out those put within twice as long: a put is then never undone before its row is written.
 */
export const PUT_RENEWS_MS = 12 * 3_600_000;

/**
 * Where images and LoRA files live. Content-addressed: the name is the SHA-256 of the bytes (64 lowercase hex digits),
 * so that putting twice is putting once and a name never changes its meaning. Postgres holds only the reference.
 */
export interface ArtifactStore {
  /**
   * Durable when it resolves; nothing is left behind when it rejects.
   * @throws StudioError BODY_TOO_LARGE beyond `maxBytes`; whatever the source stream throws.
   */
  put(source: Uint8Array | AsyncIterable<Uint8Array>, options: PutOptions): Promise<ArtifactRef>;
  /**
   * The whole artifact in memory, null when it is not here. For images; a LoRA is streamed.
   * @throws ArtifactCorruptError when the bytes no longer have their hash (`verify: false` skips hashing).
   */
  read(sha256: string, options?: { verify?: boolean }): Promise<Buffer | null>;
  /** Null when it is not here. */
  stream(sha256: string): Promise<{ bytes: number; body: Readable } | null>;
  has(sha256: string): Promise<boolean>;
  /** A link with which anybody fetches the file without us, null where there is no such door: then stream it. */
  link(sha256: string, options: LinkOptions): Promise<string | null>;
  /** Every stored name that begins with `prefix`, in no order. */
  list(prefix: string): AsyncIterable<string>;
  /** Unless it was put at or after `before` (see PUT_RENEWS_MS). @returns whether it is gone by this call. */
  remove(sha256: string, before: Date): Promise<boolean>;
  /** @throws Error with the remedy when the store cannot be used as it is configured, or does not answer. */
  check(): Promise<void>;
}

/** The disk gave back other bytes than were stored: a fault of ours, never of a miner or a client. */
export class ArtifactCorruptError extends Error {
  constructor(readonly sha256: string) {
    super(`artifact ${sha256} no longer has its hash: restore it from a backup, or delete the file and put it again`);
    this.name = 'ArtifactCorruptError';
  }
}

/** The only names that reach a driver. Anything else cannot exist, so that no path from outside becomes a file name. */
export function isArtifactName(name: unknown): name is string {
  return typeof name === 'string' && /^[0-9a-f]{64}$/.test(name);
}
