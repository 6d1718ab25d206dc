import { randomBytes, randomUUID } from 'node:crypto';
import { Pool } from 'pg';
import type { RoutableMiner, RoutableMiners } from '../contract/miners';
import { SUBJECTS } from '../contract/subjects';
import { requestJson } from '../platform/nats';
import { signEpistula, type SignedForm } from '../protocol/epistula';
import { hotkeyFromSeed, type Hotkey } from '../protocol/hotkey';
import { signRequest } from '../protocol/signatures';
import { AuditorSide } from './auditor-side';
import { openTestNats, openTestScores, type TestNats, type TestScores } from './nats';
import { createDatabase, type TestDatabase } from './postgres';
import { openTestRedis, type TestRedis } from './redis';

/** A request to the registry as its sender signs and sends it; every part can be made wrong. */
export interface SignedSending {
  form?: SignedForm;
  method?: 'GET' | 'PUT' | 'POST' | 'DELETE';
  key: Hotkey;
  /** As signed; `sent` replaces it on the way. */
  path?: string;
  body?: object;
  sent?: string;
  nowMs?: number;
  nonce?: string;
  recipient?: string;
  /** Changes the finished headers. */
  headers?: (signed: Record<string, string>) => Record<string, string>;
}

export const ADMIN_KEY = randomBytes(32).toString('hex');

/** Everything that a registry stands on, for tests that start one, or several in turn, on the same servers. */
export class RegistryGround {
  readonly identity: Hotkey;
  private readonly seed = randomBytes(32).toString('hex');

  private constructor(
    readonly database: TestDatabase,
    readonly nats: TestNats,
    readonly scores: TestScores,
    readonly redis: TestRedis,
    readonly auditor: AuditorSide,
    /** Superuser: rows that other services would write. */
    readonly owner: Pool,
    private readonly ask: typeof fetch,
  ) {
    this.identity = hotkeyFromSeed(this.seed);
  }

  /** @param ask the test's `fetch`: libraries have none of their own. */
  static async open(ask: typeof fetch): Promise<RegistryGround> {
    const [database, nats, scores, redis] = await Promise.all([
      createDatabase(),
      openTestNats(),
      openTestScores(),
      openTestRedis(),
    ]);
    const owner = new Pool({ connectionString: database.urls.owner, max: 2 });
    // The database goes before the pool does.
    owner.on('error', () => undefined);
    return new RegistryGround(database, nats, scores, redis, new AuditorSide(database), owner, ask);
  }

  /** Variables for RegistryEnv. */
  env(more: Record<string, string> = {}): Record<string, string> {
    return {
      POSTGRES_URL: this.database.urls.registry,
      NATS_URL: this.nats.url,
      REDIS_URL: this.redis.url,
      HTTP_PORT: '0',
      ADMIN_PORT: '0',
      ADMIN_KEY,
      ORCHESTRATOR_SEED: this.seed,
      ...this.scores.env,
      ...more,
    };
  }

  /** @param base URL of the registry under test. */
  async send(base: string, sending: SignedSending): Promise<Response> {
    const { form = 'native', method = 'PUT', key, nowMs = Date.now(), nonce = randomUUID() } = sending;
    const { path = `/v1/miners/${key.address}`, recipient = this.identity.address } = sending;
    const body = sending.body ? JSON.stringify(sending.body) : '';
    const signed =
      form === 'native'
        ? signRequest({ method, path, body, nowMs, nonce, recipient }, key)
        : signEpistula(form, { body, nowMs, nonce, recipient }, key);
    const text = sending.sent ?? body;
    return this.ask(`${base}${path}`, {
      method,
      headers: { ...(sending.headers?.(signed) ?? signed), 'content-type': 'application/json' },
      body: method === 'GET' || text === '' ? undefined : text,
    });
  }

  async routable(): Promise<RoutableMiner[]> {
    const { subject } = SUBJECTS.routableMiners;
    return (await requestJson<RoutableMiners>(this.nats.connection, subject, {}, { timeoutMs: 5_000 })).miners;
  }

  async close(): Promise<void> {
    await Promise.all([this.auditor.close(), this.owner.end()]);
    await Promise.all([this.database.drop(), this.nats.close(), this.scores.close(), this.redis.close()]);
  }
}

/** Polls, because what is awaited is another process's sweep; the test's own timeout is the bound. */
export async function until<T>(look: () => Promise<T | undefined | null | false>): Promise<T> {
  for (;;) {
    const found = await look();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
