/** What Postgres knows of turns: the attempts under way, which hold slots, and the slots that miners have proven. */
import type { DataSource } from 'typeorm';
import type { TimedHold } from './lane-store';
import type { LaneRows } from './turn-board';
import type { Lane } from './turns';

/** Beyond T_max: for the result's checks, and for the next worker to take the attempt up after its own died. */
const SLACK_MS = 60_000;

export interface ProvenRow extends Lane {
  hotkey: string;
  proven: number;
}

export class TurnStore implements LaneRows {
  constructor(private readonly db: DataSource) {}

  async openHolds({ kind, engine }: Lane, nowMs: number): Promise<TimedHold[]> {
    const rows = await this.db.query<{ hotkey: string; name: string; leftMs: number }[]>(
      `SELECT a.hotkey, a.job_id || ':' || a.attempt_no AS name,
              greatest(0, j.timeout_ms - extract(epoch FROM studio.now() - a.sent_at) * 1000)::float8 AS "leftMs"
         FROM studio.attempts a JOIN studio.jobs j ON j.id = a.job_id
        WHERE a.state = 'open' AND a.kind = $1 AND a.engine = $2`,
      [kind, engine],
    );
    return rows.map(({ hotkey, name, leftMs }) => ({
      hotkey,
      name,
      expiresAtMs: nowMs + Math.round(leftMs) + SLACK_MS,
    }));
  }

  async provenSlots({ kind, engine }: Lane): Promise<Map<string, number>> {
    const rows = await this.db.query<{ hotkey: string; proven: number }[]>(
      'SELECT hotkey, proven FROM studio.miner_slots WHERE kind = $1 AND engine = $2',
      [kind, engine],
    );
    return new Map(rows.map(({ hotkey, proven }) => [hotkey, proven]));
  }

  async saveProven(rows: readonly ProvenRow[]): Promise<void> {
    if (rows.length === 0) return;
    await this.db.query(
      `INSERT INTO studio.miner_slots AS s (hotkey, kind, engine, proven)
       SELECT hotkey, kind, engine, proven
         FROM jsonb_to_recordset($1::jsonb) AS g(hotkey text, kind text, engine text, proven int)
        ORDER BY hotkey, kind, engine
       ON CONFLICT (hotkey, kind, engine) DO UPDATE SET proven = EXCLUDED.proven, updated_at = studio.now()
        WHERE s.proven <> EXCLUDED.proven`,
      [JSON.stringify(rows)],
    );
  }
}
