import type { DataSource, EntityManager } from 'typeorm';
import type { ScoreEvent } from '@studio/shared/contract/scores';
import { SCORE_RELAY_LOCK } from '@studio/shared/database/locks';
import { SCORE_EVENT_COLUMNS, toScoreEvent, type ScoreEventRow } from './score.store';

/** What the relay reads and writes while it holds the lock. */
export interface RelayLog {
  /** Number up to which the stream was once complete. */
  publishedSeq: number;
  /** Newest number there is. */
  lastSeq: number;
  events(after: number, limit: number): Promise<ScoreEvent[]>;
  markPublished(seq: number): Promise<void>;
}

export class RelayStore {
  constructor(private readonly db: DataSource) {}

  /**
   * Runs `work` while no other replica publishes. The lock ends with the transaction, whatever becomes of this process;
   * a process that slept past it is stopped by the stream, which expects another sequence by then.
   * @returns null when another replica holds the lock.
   */
  async exclusively<T>(work: (log: RelayLog) => Promise<T>): Promise<T | null> {
    return this.db.transaction(async (tx) => {
      const [lock] = await tx.query<{ held: boolean }[]>('SELECT pg_try_advisory_xact_lock($1) AS held', [
        SCORE_RELAY_LOCK,
      ]);
      return lock?.held ? work(await relayLog(tx)) : null;
    });
  }
}

async function relayLog(tx: EntityManager): Promise<RelayLog> {
  const [row] = await tx.query<{ published_seq: string; last_seq: string }[]>(
    'SELECT r.published_seq, c.last_seq FROM studio.score_relay r, studio.score_counter c',
  );
  return {
    publishedSeq: Number(row?.published_seq ?? 0),
    lastSeq: Number(row?.last_seq ?? 0),
    events: async (after, limit) => {
      const rows = await tx.query<ScoreEventRow[]>(
        `SELECT ${SCORE_EVENT_COLUMNS} FROM studio.score_events WHERE seq > $1 ORDER BY seq LIMIT $2`,
        [after, limit],
      );
      return rows.map(toScoreEvent);
    },
    markPublished: async (seq) => {
      await tx.query('UPDATE studio.score_relay SET published_seq = $1', [seq]);
    },
  };
}
