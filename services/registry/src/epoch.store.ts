import type { DataSource, EntityManager } from 'typeorm';
import type { EpochView } from '@studio/shared/contract/scores';
import { EPOCH_BOUNDARY_LOCK } from '@studio/shared/database/locks';
import { StudioError } from '@studio/shared/domain/errors';
import type { Policy } from '@studio/shared/domain/policy';

export interface Epoch {
  epoch: number;
  state: EpochView['state'];
  policy: Policy;
  commitment: string;
  openedAt: Date;
  closingAt: Date | null;
  closedAt: Date | null;
}

/** The open epoch together with the database's clock, by which its length is measured. */
export interface OpenEpoch extends Epoch {
  nowMs: number;
}

export interface Boundary {
  closing: number;
  open: number;
}

interface EpochRow {
  epoch: number;
  state: EpochView['state'];
  policy: Policy;
  commitment: string;
  opened_at: Date;
  closing_at: Date | null;
  closed_at: Date | null;
  now: Date;
}

const EPOCHS = `
  SELECT e.epoch, e.state, p.body AS policy, e.commitment, e.opened_at, e.closing_at, e.closed_at, studio.now() AS now
    FROM studio.epochs e JOIN studio.policies p ON p.version = e.policy_version`;

/** Epochs and policies. An epoch is moved by: `openFirst` (→ open), `close` (→ closing), SnapshotStore.take (→ closed). */
export class EpochStore {
  constructor(private readonly db: DataSource) {}

  async open(): Promise<OpenEpoch | null> {
    const [row] = await this.db.query<EpochRow[]>(`${EPOCHS} WHERE e.state = 'open'`);
    return row ? { ...toEpoch(row), nowMs: row.now.getTime() } : null;
  }

  async find(epoch: number): Promise<Epoch | null> {
    const [row] = await this.db.query<EpochRow[]>(`${EPOCHS} WHERE e.epoch = $1`, [epoch]);
    return row ? toEpoch(row) : null;
  }

  /** The epoch that is closing and already settled by the auditor, with the secret that it revealed (hex). */
  async settled(): Promise<{ epoch: Epoch; secret: string } | null> {
    const [row] = await this.db.query<(EpochRow & { secret: string })[]>(
      `SELECT x.*, s.secret FROM (${EPOCHS} WHERE e.state = 'closing') x
         JOIN studio.settlements s ON s.epoch = x.epoch ORDER BY x.epoch LIMIT 1`,
    );
    return row ? { epoch: toEpoch(row), secret: row.secret } : null;
  }

  /** The policy that the next epoch will have. */
  async newestPolicy(): Promise<Policy | null> {
    const [row] = await this.db.query<{ body: Policy }[]>(
      'SELECT body FROM studio.policies ORDER BY version DESC LIMIT 1',
    );
    return row?.body ?? null;
  }

  /** Gives a new database its first policy; one that has any keeps it. */
  async bootstrapPolicy(policy: Policy): Promise<void> {
    await this.db.query(
      `INSERT INTO studio.policies (version, body) SELECT $1, $2::jsonb
        WHERE NOT EXISTS (SELECT 1 FROM studio.policies) ON CONFLICT DO NOTHING`,
      [policy.version, JSON.stringify(policy)],
    );
  }

  /**
   * Opens epoch 1 as soon as the auditor has committed to its draw. Later epochs are opened by `close`.
   * @returns true when this call opened it.
   */
  async openFirst(): Promise<boolean> {
    const rows = await this.db.query<unknown[]>(
      `INSERT INTO studio.epochs (epoch, policy_version, commitment)
       SELECT 1, (SELECT max(version) FROM studio.policies), c.commitment FROM studio.draw_commitments c
        WHERE c.epoch = 1 AND NOT EXISTS (SELECT 1 FROM studio.epochs)
       ON CONFLICT DO NOTHING RETURNING epoch`,
    );
    return rows.length > 0;
  }

  /**
   * Moves `expected` from open to closing and opens its successor, in one transaction under the boundary lock: whoever
   * files finished jobs under the open epoch holds that lock shared, so none joins a closing one.
   * @returns null when `expected` is not the open epoch (any more).
   * @throws StudioError EPOCH_NOT_CLOSABLE while another epoch is closing, or before the next draw is committed to.
   */
  async close(expected: number): Promise<Boundary | null> {
    return this.db.transaction(async (tx) => {
      await tx.query('SELECT pg_advisory_xact_lock($1)', [EPOCH_BOUNDARY_LOCK]);
      const next = expected + 1;
      const commitment = await closable(tx, expected);
      if (commitment === null) return null;
      await tx.query(`UPDATE studio.epochs SET state = 'closing', closing_at = studio.now() WHERE epoch = $1`, [
        expected,
      ]);
      await tx.query(
        `INSERT INTO studio.epochs (epoch, policy_version, commitment)
         VALUES ($1, (SELECT max(version) FROM studio.policies), $2)`,
        [next, commitment],
      );
      return { closing: expected, open: next };
    });
  }
}

/** The next epoch's commitment, when `expected` is open and may close. */
async function closable(tx: EntityManager, expected: number): Promise<string | null> {
  const [row] = await tx.query<{ open: number | null; closing: number | null; commitment: string | null }[]>(
    `SELECT (SELECT epoch FROM studio.epochs WHERE state = 'open') AS open,
            (SELECT min(epoch) FROM studio.epochs WHERE state = 'closing') AS closing,
            (SELECT commitment FROM studio.draw_commitments WHERE epoch = $1) AS commitment`,
    [expected + 1],
  );
  if (row?.open !== expected) return null;
  if (row.closing !== null) {
    throw new StudioError(
      'EPOCH_NOT_CLOSABLE',
      `epoch ${row.closing} is still closing: wait until its snapshot is taken`,
    );
  }
  if (row.commitment === null) {
    throw new StudioError(
      'EPOCH_NOT_CLOSABLE',
      `the auditor has not committed to the draw of epoch ${expected + 1} yet: see that it runs, then try again`,
    );
  }
  return row.commitment;
}

function toEpoch(row: EpochRow): Epoch {
  return {
    epoch: row.epoch,
    state: row.state,
    policy: row.policy,
    commitment: row.commitment,
    openedAt: row.opened_at,
    closingAt: row.closing_at,
    closedAt: row.closed_at,
  };
}

export function toEpochView(epoch: Epoch): EpochView {
  return {
    epoch: epoch.epoch,
    state: epoch.state,
    commitment: epoch.commitment,
    opened_at: epoch.openedAt.toISOString(),
    closing_at: epoch.closingAt?.toISOString() ?? null,
    closed_at: epoch.closedAt?.toISOString() ?? null,
  };
}
