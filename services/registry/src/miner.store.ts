import type { DataSource, EntityManager } from 'typeorm';
import type { MinerRegistration, MinerView, RoutableMiner } from '@studio/shared/contract/miners';
import { StudioError } from '@studio/shared/domain/errors';
import { MEMBER_OF_M, TAKES_PART } from './metagraph/metagraph.store';

const UNIQUE_VIOLATION = '23505';

/** A signature is accepted for 10 s on either side of its time, so 20 s after it was first seen nothing can repeat it. */
const NONCE_LIFE = '1 minute';

/** Whose signed request it is; the nonce is recorded in the same transaction as what the request changes. */
export interface SignedBy {
  hotkey: string;
  nonce: string;
}

interface MinerRow {
  hotkey: string;
  operator: string;
  endpoint: string;
  dialect: MinerView['dialect'];
  offers: MinerView['offers'];
  trusted: boolean;
  registered_at: Date;
  updated_at: Date;
  withdrawn_at: Date | null;
  uid: number | null;
}

const VIEW = `
  SELECT m.hotkey, m.operator, m.endpoint, m.dialect, m.offers, m.trusted, m.registered_at, m.updated_at,
         m.withdrawn_at, n.uid
    FROM studio.miners m ${MEMBER_OF_M}`;

export interface MinerStoreOptions {
  /** Hotkeys of references. */
  trusted: readonly string[];
  /** Only members of the metagraph, and references, take part. */
  membersOnly: boolean;
}

/** Miners as they registered, and the nonces that their requests have used up. */
export class MinerStore {
  constructor(
    private readonly db: DataSource,
    private readonly options: MinerStoreOptions,
  ) {}

  /** Milliseconds by the database's clock: the one by which a signature is fresh or stale, whatever this host believes. */
  async nowMs(): Promise<number> {
    const [row] = await this.db.query<{ now: Date }[]>('SELECT studio.now() AS now');
    return row?.now.getTime() ?? NaN;
  }

  /**
   * Registers, or changes, or brings back a withdrawn miner.
   * @throws StudioError SIGNATURE_REFUSED for a used nonce, NOT_A_MEMBER for a hotkey that the metagraph lacks,
   * INVALID_INPUT for an endpoint that another miner has.
   */
  async register(by: SignedBy, registration: MinerRegistration): Promise<MinerView> {
    try {
      return await this.signed(by, async (tx) => {
        const coldkey = await this.admit(tx, by.hotkey);
        await this.put(tx, by.hotkey, { ...registration, operator: coldkey ?? registration.operator ?? by.hotkey });
        return (await this.view(by.hotkey, tx)) as MinerView;
      });
    } catch (error) {
      if ((error as { code?: string }).code !== UNIQUE_VIOLATION) throw error;
      const message = 'another miner is registered at this endpoint: use your own, or withdraw the other first';
      throw new StudioError('INVALID_INPUT', `endpoint: ${message}`, [{ path: 'endpoint', message }], { cause: error });
    }
  }

  /** @throws StudioError SIGNATURE_REFUSED for a used nonce, NOT_FOUND for a miner that was never registered. */
  async withdraw(by: SignedBy): Promise<void> {
    await this.signed(by, async (tx) => {
      const [, changed] = await tx.query<[unknown[], number]>(
        `UPDATE studio.miners SET withdrawn_at = coalesce(withdrawn_at, studio.now()), updated_at = studio.now()
          WHERE hotkey = $1`,
        [by.hotkey],
      );
      if (changed === 0) throw new StudioError('NOT_FOUND', `no miner ${by.hotkey} is registered`);
    });
  }

  /** For requests that change nothing: reading with a signature uses its nonce up as well. */
  async useNonce(by: SignedBy): Promise<void> {
    await this.signed(by, async () => undefined);
  }

  async find(hotkey: string): Promise<MinerView | null> {
    return this.view(hotkey, this.db);
  }

  async active(): Promise<MinerView[]> {
    const rows = await this.db.query<MinerRow[]>(
      `${VIEW} WHERE m.withdrawn_at IS NULL AND ${TAKES_PART} ORDER BY m.hotkey COLLATE "C"`,
      [this.options.membersOnly],
    );
    return rows.map(toView);
  }

  /** Miners as workers may route to them, each with the kinds it is quarantined for in the open epoch. */
  async routable(): Promise<RoutableMiner[]> {
    return this.db.query<RoutableMiner[]>(
      `SELECT m.hotkey, m.operator, m.endpoint, m.dialect, m.offers, m.trusted, n.uid,
              ARRAY(SELECT DISTINCT q.kind FROM studio.standing_quarantines q JOIN studio.epochs e ON e.state = 'open'
                     WHERE q.hotkey = m.hotkey AND e.epoch >= q.from_epoch AND e.epoch < q.until_epoch
                     ORDER BY q.kind) AS quarantined
         FROM studio.miners m ${MEMBER_OF_M}
        WHERE m.withdrawn_at IS NULL AND ${TAKES_PART} ORDER BY m.hotkey COLLATE "C"`,
      [this.options.membersOnly],
    );
  }

  /** Brings the mark of references to what the configuration says now. */
  async markTrusted(): Promise<void> {
    await this.db.query(`UPDATE studio.miners SET trusted = NOT trusted WHERE trusted <> (hotkey = ANY($1::text[]))`, [
      this.options.trusted,
    ]);
  }

  async forgetNonces(): Promise<void> {
    await this.db.query(`DELETE FROM studio.registry_nonces WHERE seen_at < studio.now() - interval '${NONCE_LIFE}'`);
  }

  private async view(hotkey: string, db: Pick<DataSource | EntityManager, 'query'>): Promise<MinerView | null> {
    const [row] = await db.query<MinerRow[]>(`${VIEW} WHERE m.hotkey = $2`, [this.options.membersOnly, hotkey]);
    return row ? toView(row) : null;
  }

  /** @returns the coldkey of a member, null where that is not asked for. @throws StudioError NOT_A_MEMBER, DEPENDENCY_DOWN */
  private async admit(tx: EntityManager, hotkey: string): Promise<string | null> {
    if (!this.options.membersOnly) return null;
    const [member] = await tx.query<{ coldkey: string }[]>(
      'SELECT coldkey FROM studio.neurons WHERE hotkey = $1 AND member',
      [hotkey],
    );
    if (member) return member.coldkey;
    if (this.options.trusted.includes(hotkey)) return null;
    const read = await tx.query<unknown[]>('SELECT 1 FROM studio.metagraph');
    if (read.length === 0) {
      throw new StudioError('DEPENDENCY_DOWN', 'the metagraph has not been read yet: try again in a moment');
    }
    const remedy = 'register it on the chain, or wait: the metagraph is read every minute';
    throw new StudioError('NOT_A_MEMBER', `${hotkey} is not in the metagraph of this subnet: ${remedy}`);
  }

  /** A miner that comes back takes part from now on: the time before counts neither for nor against it. */
  private async put(tx: EntityManager, hotkey: string, registration: MinerRegistration): Promise<void> {
    const { endpoint, dialect, offers, operator } = registration;
    await tx.query(
      `INSERT INTO studio.miners AS m (hotkey, operator, endpoint, dialect, offers, trusted)
       VALUES ($1, $2, $3, $4, $5::jsonb, $6)
       ON CONFLICT (hotkey) DO UPDATE SET operator = EXCLUDED.operator, endpoint = EXCLUDED.endpoint,
         dialect = EXCLUDED.dialect, offers = EXCLUDED.offers, trusted = EXCLUDED.trusted, withdrawn_at = NULL,
         registered_at = CASE WHEN m.withdrawn_at IS NULL THEN m.registered_at ELSE studio.now() END,
         updated_at = studio.now()`,
      [hotkey, operator, endpoint, dialect, JSON.stringify(offers), this.options.trusted.includes(hotkey)],
    );
  }

  /** Records the nonce and does the change in one transaction. @throws StudioError SIGNATURE_REFUSED for a used nonce. */
  signed<T>({ hotkey, nonce }: SignedBy, change: (tx: EntityManager) => Promise<T>): Promise<T> {
    return this.db.transaction(async (tx) => {
      const fresh = await tx.query<unknown[]>(
        'INSERT INTO studio.registry_nonces (hotkey, nonce) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING 1',
        [hotkey, nonce],
      );
      if (fresh.length === 0) {
        throw new StudioError('SIGNATURE_REFUSED', 'this nonce was used before: sign every request with a fresh one');
      }
      return change(tx);
    });
  }
}

function toView(row: MinerRow): MinerView {
  return {
    hotkey: row.hotkey,
    operator: row.operator,
    uid: row.uid,
    endpoint: row.endpoint,
    dialect: row.dialect,
    offers: row.offers,
    trusted: row.trusted,
    registered_at: row.registered_at.toISOString(),
    updated_at: row.updated_at.toISOString(),
    withdrawn_at: row.withdrawn_at?.toISOString() ?? null,
  };
}
