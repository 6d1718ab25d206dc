/**
 * A submit whose reply could not be written is sent again by fal's client, with no key to know it by: for a moment the same
 * request from the same client gets the request that nobody heard of.
 */
import { canonicalHash } from '@studio/shared/protocol/canonical';
import type { Redis } from 'ioredis';
import type { StoredJob } from '../job.store';

/** fal's client gives up sooner. */
const OFFERED_MS = 30_000;

export class Adoptions {
  /** Still on their way into the database. */
  private readonly coming = new Map<string, Promise<string | undefined>>();

  /** @param redis where other replicas look; without it only this one knows. */
  constructor(private readonly redis: Pick<Redis, 'set' | 'getdel'>) {}

  key(clientId: string, path: string, body: unknown): string {
    return `adoption:${canonicalHash({ clientId, path, body: body ?? null })}`;
  }

  /** Nobody heard of this job, or of the one that this will be. */
  offer(key: string, job: Promise<StoredJob>): void {
    const id = job.then(({ id }) => id).catch(() => undefined);
    this.coming.set(key, id);
    setTimeout(() => this.coming.delete(key), OFFERED_MS).unref();
    void id.then(async (known) => {
      if (known !== undefined) await this.redis.set(key, known, 'PX', OFFERED_MS).catch(() => undefined);
    });
  }

  /** The id of a job to adopt, once. */
  async take(key: string): Promise<string | undefined> {
    const own = this.coming.get(key);
    this.coming.delete(key);
    // In this order: what is offered here is told to the others as soon as it is known.
    const known = await own;
    const shared = await this.redis.getdel(key).catch(() => null);
    return known ?? shared ?? undefined;
  }
}
