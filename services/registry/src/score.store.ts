import type { DataSource } from 'typeorm';
import type { ScoreEvent } from '@studio/shared/contract/scores';
import type { JobKind } from '@studio/shared/domain/job';
import { firstEpoch, type Window } from '@studio/shared/domain/score-window';

/** Sum of one miner's entries of one kind inside a window. `valid`: awards that stand. */
export interface KindSum {
  hotkey: string;
  kind: JobKind;
  points: bigint;
  valid: number;
}

export interface WindowSums {
  /** The sums contain every entry up to this number. */
  seq: number;
  sums: KindSum[];
}

export interface ScoreEventRow {
  seq: string;
  type: ScoreEvent['type'];
  epoch: number;
  entry_id: string | null;
  hotkey: string | null;
  kind: JobKind | null;
  job_id: string | null;
  points: string | null;
  reason: string | null;
  policy_version: number | null;
  sha256: string | null;
  created_at: Date;
}

export const SCORE_EVENT_COLUMNS =
  'seq, type, epoch, entry_id, hotkey, kind, job_id, points, reason, policy_version, sha256, created_at';

/** The KindSums of a window; how an entry counts is validStep's rule (score-window.ts). */
export const SUMS_OF_WINDOW = `
  SELECT hotkey, kind, sum(points) AS points, sum(CASE type WHEN 'reversal' THEN -1 ELSE 1 END)::int AS valid
    FROM studio.ledger WHERE epoch BETWEEN $1 AND $2 GROUP BY hotkey, kind`;

/** Whatever a board is made of: two equal states have the same board. */
export interface BoardState {
  epoch: number;
  policyVersion: number;
  lastSeq: number;
  /** When the metagraph was read; null where none is used or was read yet. */
  metagraphAt: Date | null;
  /** When event `lastSeq` was written; null where there is none. */
  changedAt: Date | null;
}

interface SumRow {
  hotkey: string | null;
  kind: JobKind;
  points: string;
  valid: number;
}

/** Reads the log of score events and its sums. Numbers become visible in order: the counter's row lock sees to it. */
export class ScoreStore {
  constructor(private readonly db: DataSource) {}

  async lastSeq(): Promise<number> {
    const [row] = await this.db.query<{ last_seq: string }[]>('SELECT last_seq FROM studio.score_counter');
    return Number(row?.last_seq ?? 0);
  }

  /** In one statement, so that it is of one moment. Null while no epoch is open. */
  async boardState(withMetagraph: boolean): Promise<BoardState | null> {
    const [row] = await this.db.query<(Omit<BoardState, 'lastSeq'> & { lastSeq: string })[]>(
      `SELECT e.epoch, e.policy_version AS "policyVersion", c.last_seq AS "lastSeq",
              (SELECT read_at FROM studio.metagraph WHERE $1::boolean) AS "metagraphAt",
              (SELECT created_at FROM studio.score_events WHERE seq = c.last_seq) AS "changedAt"
         FROM studio.epochs e CROSS JOIN studio.score_counter c WHERE e.state = 'open'`,
      [withMetagraph],
    );
    return row ? { ...row, lastSeq: Number(row.lastSeq) } : null;
  }

  /** Hotkeys in quarantine for any kind in this epoch, in order. */
  async quarantined(epoch: number): Promise<string[]> {
    const rows = await this.db.query<{ hotkey: string }[]>(
      `SELECT DISTINCT hotkey FROM studio.standing_quarantines WHERE $1 >= from_epoch AND $1 < until_epoch ORDER BY hotkey`,
      [epoch],
    );
    return rows.map(({ hotkey }) => hotkey);
  }

  async events(after: number, limit: number): Promise<ScoreEvent[]> {
    const rows = await this.db.query<ScoreEventRow[]>(
      `SELECT ${SCORE_EVENT_COLUMNS} FROM studio.score_events WHERE seq > $1 ORDER BY seq LIMIT $2`,
      [after, limit],
    );
    return rows.map(toScoreEvent);
  }

  /** One statement, so that the sums and their number belong together. */
  async sums(window: Window): Promise<WindowSums> {
    const rows = await this.db.query<(SumRow & { last_seq: string })[]>(
      `SELECT c.last_seq, s.* FROM studio.score_counter c LEFT JOIN (${SUMS_OF_WINDOW}) s ON true`,
      windowBounds(window),
    );
    return { seq: Number(rows[0]?.last_seq ?? 0), sums: rows.flatMap(toKindSum) };
  }
}

/** First and last epoch as SQL parameters. */
export function windowBounds(window: Window): [first: number, last: number] {
  return [Math.max(firstEpoch(window), 0), window.epoch];
}

export function toKindSum({ hotkey, kind, points, valid }: SumRow): KindSum[] {
  return hotkey === null ? [] : [{ hotkey, kind, points: BigInt(points), valid }];
}

/** The one form of an event, over HTTP and in the stream. */
export function toScoreEvent(row: ScoreEventRow): ScoreEvent {
  const common = { seq: Number(row.seq), type: row.type, epoch: row.epoch, at: row.created_at.toISOString() };
  if (row.type === 'snapshot') return { ...common, sha256: row.sha256 ?? undefined };
  return {
    ...common,
    id: row.entry_id ?? undefined,
    hotkey: row.hotkey ?? undefined,
    kind: row.kind ?? undefined,
    job_id: row.job_id ?? undefined,
    points: row.points ?? undefined,
    reason: row.reason ?? undefined,
    policy_version: row.policy_version ?? undefined,
  };
}
