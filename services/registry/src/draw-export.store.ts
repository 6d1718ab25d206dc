import type { DataSource } from 'typeorm';
import type { DrawExportHeader, DrawExportRow, DrawnFrom, RecordRewrite } from '@studio/shared/contract/draws';
import type { EpochView } from '@studio/shared/contract/scores';
import { TRANSACTION_BOUND_MS } from '@studio/shared/database/grants';
import type { Policy } from '@studio/shared/domain/policy';

/** Of an epoch that the auditor has not settled, the last two are null. */
export interface DrawnEpoch {
  epoch: number;
  state: EpochView['state'];
  commitment: string;
  policy: Policy;
  secret: string | null;
  settledAt: string | null;
}

export interface DrawPage {
  epoch: number;
  /** Audits and verdicts after this moment are left out: the export never changes. */
  settledAt: string;
  /** Job id that the page follows. */
  after: string;
  limit: number;
}

/** One form for every time: all microseconds, so that text sorts as time does. */
const utc = (column: string): string => `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;

/**
 * In the order of the index, whatever the statistics say: they know nothing of an epoch that has just been closed, and the
 * planner, expecting a handful of its rows, would read and sort all of them for each page.
 */
export const IN_INDEX_ORDER = ['enable_sort', 'enable_bitmapscan', 'enable_seqscan']
  .map((setting) => `set_config('${setting}', 'off', true)`)
  .join(', ');

/**
 * References' results have no award and no draw: they are left out. A replay's job is found by its idempotency key, as
 * the auditor finds it (replay.store.ts there): the reply that names its job may have been lost.
 */
export const PAGE = `
  SELECT d.job_id, d.hotkey, d.kind, d.engine, d.attempt_no AS attempt, d.points, d.latency_us::float8 AS latency_us,
         d.policy_version, d.q, d.u, d.record, d.drawn, audit.why AS audited, audit.outcome,
         CASE WHEN d.q IS NULL THEN (
           SELECT target.job_id FROM studio.job_facts j
             JOIN studio.audit_replays r ON r.request_key = j.idempotency_key::uuid
             JOIN studio.audits target ON target.id = r.audit_id
            WHERE j.id = d.job_id) END AS replay_of,
         ${utc('d.finished_at')} AS finished_at, ${utc('d.taken_at')} AS taken_at
    FROM (SELECT * FROM studio.draws WHERE epoch = $1 AND job_id > $2 AND award_id IS NOT NULL
           ORDER BY job_id LIMIT $4) d
    LEFT JOIN LATERAL (
      SELECT a.why, v.outcome FROM studio.audits a JOIN studio.verdicts v ON v.audit_id = a.id
       WHERE a.job_id = d.job_id AND a.round = 1 AND v.decided_at <= $3::timestamptz LIMIT 1) audit ON true
   ORDER BY d.job_id`;

/** Since shortly before the epoch opened: a transaction that began then may have ended within it. */
const REWRITES = `
  SELECT hotkey, ${utc('at')} AS at, why
    FROM (SELECT hotkey, created_at AS at, 'quarantine' AS why FROM studio.quarantines
           UNION
          SELECT hotkey, created_at, 'correction' FROM studio.corrections) rewrites
    JOIN studio.epochs e ON e.epoch = $1
   WHERE at >= e.opened_at - interval '${TRANSACTION_BOUND_MS} milliseconds' AND at <= e.closing_at
   ORDER BY hotkey, at, why`;

interface StoredRow extends Omit<DrawExportRow, 'record'> {
  record: { jobsSeen: number; audits: number; passes: number; cusum: number } | null;
}

/** Reads what the auditor drew. Every statement is short, whatever the epoch's size. */
export class DrawExportStore {
  constructor(private readonly db: DataSource) {}

  async find(epoch: number): Promise<DrawnEpoch | null> {
    const [row] = await this.db.query<DrawnEpoch[]>(
      `SELECT e.epoch, e.state, e.commitment, p.body AS policy, s.secret, s.settled_at::text AS "settledAt"
         FROM studio.epochs e JOIN studio.policies p ON p.version = e.policy_version
         LEFT JOIN studio.settlements s ON s.epoch = e.epoch
        WHERE e.epoch = $1`,
      [epoch],
    );
    return row ?? null;
  }

  async counted(epoch: number): Promise<Pick<DrawExportHeader, 'rows' | 'rewrites'>> {
    const [counted] = await this.db.query<{ rows: number }[]>(
      'SELECT count(*)::int AS rows FROM studio.draws WHERE epoch = $1 AND award_id IS NOT NULL',
      [epoch],
    );
    return { rows: counted?.rows ?? 0, rewrites: await this.db.query<RecordRewrite[]>(REWRITES, [epoch]) };
  }

  async page({ epoch, settledAt, after, limit }: DrawPage): Promise<DrawExportRow[]> {
    const rows = await this.db.transaction(async (tx) => {
      await tx.query(`SELECT ${IN_INDEX_ORDER}`);
      return tx.query<StoredRow[]>(PAGE, [epoch, after, settledAt, limit]);
    });
    return rows.map((row) => ({ ...row, record: row.record && toDrawnFrom(row.record) }));
  }
}

function toDrawnFrom({ jobsSeen, audits, passes, cusum }: NonNullable<StoredRow['record']>): DrawnFrom {
  return { jobs_seen: jobsSeen, audits, passes, cusum };
}
