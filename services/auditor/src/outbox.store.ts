import type { DataSource, EntityManager } from 'typeorm';
import type { LedgerEntryMessage } from '@studio/shared/contract/ledger';
import { LEDGER_RELAY_LOCK } from '@studio/shared/database/locks';

/** A refused entry needs a person. Tried again this often, in case the fault was on the other side. */
const REFUSED_AGAIN_S = 30;

/** What a relayed batch came to. */
export interface Delivery {
  acknowledged: string[];
  refused: { id: string; refusal: string }[];
}

export interface OutboxState {
  open: number;
  refused: number;
}

/** The auditor's entries on their way to the ledger, in the order they were written. */
export class OutboxStore {
  constructor(private readonly source: DataSource) {}

  /**
   * Hands the next entries to `send` and notes what became of them. The lock keeps other replicas out: two relays could
   * send a reversal before its award. Lost between sending and noting, a batch is sent again; the registry knows the ids.
   * @returns undefined when there was nothing to send, or another replica is at it.
   */
  async relay(
    limit: number,
    send: (entries: LedgerEntryMessage[]) => Promise<Delivery>,
  ): Promise<Delivery | undefined> {
    return this.source.transaction(async (tx) => {
      const locks: { held: boolean }[] = await tx.query('SELECT pg_try_advisory_xact_lock($1) AS held', [
        LEDGER_RELAY_LOCK,
      ]);
      if (!locks[0]?.held) return undefined;
      const rows: { payload: LedgerEntryMessage }[] = await tx.query(
        `SELECT payload FROM studio.ledger_outbox
          WHERE acked_at IS NULL
            AND (refused_at IS NULL OR refused_at < studio.now() - interval '${REFUSED_AGAIN_S} seconds')
          ORDER BY ord LIMIT $1`,
        [limit],
      );
      if (rows.length === 0) return undefined;
      const delivery = await send(rows.map((row) => row.payload));
      await note(tx, delivery);
      return delivery;
    });
  }

  /** Entries not acknowledged yet, and those among them that the registry refused. */
  async state(): Promise<OutboxState> {
    const rows: OutboxState[] = await this.source.query(
      `SELECT count(*)::int AS open, count(refused_at)::int AS refused
         FROM studio.ledger_outbox WHERE acked_at IS NULL`,
    );
    return rows[0] ?? { open: 0, refused: 0 };
  }
}

async function note(tx: EntityManager, { acknowledged, refused }: Delivery): Promise<void> {
  await tx.query('UPDATE studio.ledger_outbox SET acked_at = studio.now() WHERE entry_id = ANY($1::uuid[])', [
    acknowledged,
  ]);
  if (refused.length === 0) return;
  await tx.query(
    `UPDATE studio.ledger_outbox o SET refused_at = studio.now(), refusal = n.refusal
       FROM jsonb_to_recordset($1::jsonb) AS n(id uuid, refusal text) WHERE o.entry_id = n.id`,
    [JSON.stringify(refused)],
  );
}
