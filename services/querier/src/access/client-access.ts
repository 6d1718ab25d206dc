/**
 * Who is asking, and whether they may. A key that was verified is believed for a while, so that no request needs Postgres for
 * it; a hint makes every replica forget them all at once, and where it is lost that while is the bound.
 */
import type { Scope } from '@studio/shared/contract/client-keys';
import { SUBJECTS } from '@studio/shared/contract/subjects';
import { StudioError } from '@studio/shared/domain/errors';
import type { NatsConnection, Subscription } from 'nats';
import { timingSafeEqual } from 'node:crypto';
import { keyHash, type ClientKeyStore, type StoredKey } from '../client-key.store';
import type { RequestRates } from './request-rates';

const KEY_FORM = /^studio_([0-9a-f]{12})_[0-9a-f]{64}$/;

/** How long a revoked key works, or an old limit holds, at a replica that did not hear the hint. */
export const BELIEVED_MS = 10_000;

export class ClientAccess {
  private verified = new Map<string, { caller: StoredKey; until: number }>();
  private subscription: Subscription | undefined;

  constructor(
    private readonly keys: Pick<ClientKeyStore, 'find'>,
    private readonly rates: Pick<RequestRates, 'take'>,
    private readonly clock: () => number = () => performance.now(),
  ) {}

  start(nats: NatsConnection): void {
    this.subscription = nats.subscribe(SUBJECTS.keysChanged.subject, { callback: () => this.forget() });
  }

  stop(): void {
    this.subscription?.unsubscribe();
  }

  /**
   * @param authorization the header, `Key <key>` or `Bearer <key>`.
   * @param scopes what the route needs.
   * @returns the client. @throws StudioError UNAUTHENTICATED, TOO_MANY_REQUESTS, FORBIDDEN
   */
  async admit(authorization: string | undefined, scopes: readonly Scope[]): Promise<string> {
    const { keyId, clientId, scopes: held, requestsPerMinute } = await this.authenticate(authorization);
    // Refusals count too: they cost as much.
    if (requestsPerMinute !== null) await this.rates.take(keyId, requestsPerMinute);
    const lacking = scopes.filter((scope) => !held.includes(scope));
    if (lacking.length === 0) return clientId;
    const message = `this key lacks the scope ${lacking.join(' and ')}: ask for a key that has it`;
    throw new StudioError('FORBIDDEN', message);
  }

  private async authenticate(authorization: string | undefined): Promise<StoredKey> {
    if (!authorization) throw refused('missing: send the header `Authorization: Key <your key>`');
    const key = /^(?:Key|Bearer) (\S+)$/i.exec(authorization)?.[1];
    const prefix = key && KEY_FORM.exec(key)?.[1];
    if (!key || !prefix) throw refused('not of the form `Key studio_…`: copy the whole key');
    const hash = keyHash(key);
    const known = this.verified.get(hash.toString('base64'));
    if (known && known.until > this.clock()) return known.caller;
    return this.lookUp(prefix, hash);
  }

  private async lookUp(prefix: string, hash: Buffer): Promise<StoredKey> {
    const believers = this.verified;
    const until = this.clock() + BELIEVED_MS;
    const caller = await this.keys.find(prefix);
    if (!caller || !timingSafeEqual(caller.hash, hash)) throw refused('unknown or revoked: ask for a new one');
    // What was read before a hint came is not believed after it: then this is a map that nobody looks into.
    remember(believers, hash.toString('base64'), { caller, until }, this.clock());
    return caller;
  }

  private forget(): void {
    this.verified = new Map();
  }
}

/** Only valid keys get here, so the map grows with clients, not with guesses. */
function remember<T extends { until: number }>(map: Map<string, T>, hash: string, entry: T, now: number): void {
  for (const [known, { until }] of map) if (until <= now) map.delete(known);
  map.set(hash, entry);
}

function refused(why: string): StudioError {
  return new StudioError('UNAUTHENTICATED', `the API key is ${why}`);
}
