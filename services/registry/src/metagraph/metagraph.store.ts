import type { DataSource, EntityManager } from 'typeorm';
import type { MetagraphView } from '@studio/shared/contract/scores';
import { METAGRAPH_LOCK } from '@studio/shared/database/locks';
import type { Metagraph } from './metagraph-form';

export interface StoredMetagraph extends MetagraphView {
  /** Changes with every reading. */
  readAt: Date;
}

export interface StoreOutcome {
  /** `refused`: more than half of the members would be gone, nothing was stored. */
  outcome: 'stored' | 'refused';
  before: number;
  left: number;
  joined: number;
  /** Registered miners that were withdrawn now, being no members, and such that have another operator now. */
  withdrawn: number;
  moved: number;
}

/** The member's row beside a miner `m`; no row without a metagraph. `$1`: whether one is used at all. */
export const MEMBER_OF_M = 'LEFT JOIN studio.neurons n ON $1::boolean AND n.hotkey = m.hotkey AND n.member';
/** Who may take part: everybody without a metagraph, its members with one, references in any case. */
export const TAKES_PART = '(NOT $1::boolean OR m.trusted OR n.hotkey IS NOT NULL)';

/** Who belongs to the subnet, as last read. Rows of those who left stay, so that a miner's history stays readable. */
export class MetagraphStore {
  /** @param used whether this registry works with a metagraph; without one, stored ones of earlier times count for nothing. */
  constructor(
    private readonly db: DataSource,
    readonly used: boolean,
  ) {}

  /** Null where none is used; nobody is a member before the first reading. */
  async current(): Promise<StoredMetagraph | null> {
    if (!this.used) return null;
    return (await storedMetagraph(this.db)) ?? { block: null, uids: {}, readAt: new Date(0) };
  }

  /**
   * Replaces the members, all or nothing. Registered miners that are none are withdrawn, which frees their endpoints for
   * their owners' next hotkeys; the operators of the others become their coldkeys.
   * @param acceptLoss store it although more than half of the members are gone.
   */
  async store(source: string, { block, neurons }: Metagraph, acceptLoss: boolean): Promise<StoreOutcome> {
    return this.db.transaction(async (tx) => {
      await tx.query('SELECT pg_advisory_xact_lock($1)', [METAGRAPH_LOCK]);
      const rows = JSON.stringify(neurons);
      const change = await changeTo(tx, rows);
      if (change.left * 2 > change.before && !acceptLoss) {
        return { outcome: 'refused', ...change, withdrawn: 0, moved: 0 };
      }
      await replaceMembers(tx, rows);
      await tx.query(
        `INSERT INTO studio.metagraph (source, block) VALUES ($1, $2)
         ON CONFLICT (one) DO UPDATE SET source = EXCLUDED.source, block = EXCLUDED.block, read_at = studio.now()`,
        [source, block],
      );
      return { outcome: 'stored', ...change, ...(await followMembers(tx)) };
    });
  }
}

async function followMembers(tx: EntityManager): Promise<{ withdrawn: number; moved: number }> {
  const [, withdrawn] = await tx.query<[unknown[], number]>(
    `UPDATE studio.miners m SET withdrawn_at = studio.now(), updated_at = studio.now()
      WHERE m.withdrawn_at IS NULL AND NOT m.trusted
        AND NOT EXISTS (SELECT 1 FROM studio.neurons n WHERE n.hotkey = m.hotkey AND n.member)`,
  );
  const [, moved] = await tx.query<[unknown[], number]>(
    `UPDATE studio.miners m SET operator = n.coldkey FROM studio.neurons n
      WHERE n.hotkey = m.hotkey AND n.member AND m.operator <> n.coldkey`,
  );
  return { withdrawn, moved };
}

/** As one statement, so that block and members belong together. Null before the first reading. */
export async function storedMetagraph(db: Pick<DataSource | EntityManager, 'query'>): Promise<StoredMetagraph | null> {
  const [row] = await db.query<{ block: string | null; read_at: Date; uids: Record<string, number> }[]>(
    `SELECT g.block, g.read_at,
            (SELECT coalesce(jsonb_object_agg(n.hotkey, n.uid), '{}') FROM studio.neurons n WHERE n.member) AS uids
       FROM studio.metagraph g`,
  );
  return row ? { block: row.block === null ? null : Number(row.block), uids: row.uids, readAt: row.read_at } : null;
}

async function changeTo(tx: EntityManager, rows: string): Promise<{ before: number; left: number; joined: number }> {
  const [change] = await tx.query<{ before: number; left: number; joined: number }[]>(
    `WITH new AS (SELECT hotkey FROM jsonb_to_recordset($1::jsonb) AS r(hotkey text)),
          old AS (SELECT hotkey FROM studio.neurons WHERE member)
     SELECT (SELECT count(*)::int FROM old) AS before,
            (SELECT count(*)::int FROM old WHERE hotkey NOT IN (SELECT hotkey FROM new)) AS left,
            (SELECT count(*)::int FROM new WHERE hotkey NOT IN (SELECT hotkey FROM old)) AS joined`,
    [rows],
  );
  return change ?? { before: 0, left: 0, joined: 0 };
}

/** Rows that say nothing new are left alone: a reading a minute would otherwise rewrite the whole table. */
async function replaceMembers(tx: EntityManager, rows: string): Promise<void> {
  await tx.query(
    `UPDATE studio.neurons SET member = false, updated_at = studio.now()
      WHERE member AND hotkey NOT IN (SELECT hotkey FROM jsonb_to_recordset($1::jsonb) AS r(hotkey text))`,
    [rows],
  );
  await tx.query(
    `INSERT INTO studio.neurons AS n (hotkey, uid, coldkey, stake)
     SELECT hotkey, uid, coldkey, stake
       FROM jsonb_to_recordset($1::jsonb) AS r(hotkey text, uid int, coldkey text, stake text)
     ON CONFLICT (hotkey) DO UPDATE SET uid = EXCLUDED.uid, coldkey = EXCLUDED.coldkey, stake = EXCLUDED.stake,
       member = true, updated_at = studio.now()
     WHERE (n.uid, n.coldkey, n.stake, n.member) IS DISTINCT FROM (EXCLUDED.uid, EXCLUDED.coldkey, EXCLUDED.stake, true)`,
    [rows],
  );
}
