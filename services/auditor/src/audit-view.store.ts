import type { DataSource } from 'typeorm';
import type { Evidence, Judgment } from './judgment';

/** One audit, as operators read it. */
export interface AuditView {
  id: string;
  job_id: string;
  /** 2: an appeal. */
  round: 1 | 2;
  hotkey: string;
  kind: string;
  engine: string;
  epoch: number;
  why: string;
  suspicion: unknown;
  state: string;
  due_at: Date;
  outcome: Judgment['outcome'] | null;
  reason: string | null;
  evidence: Evidence | null;
  decided_at: Date | null;
  /** Why the verdict no longer stands: an appeal or an amnesty. */
  corrected: { cause: 'appeal' | 'amnesty'; cause_id: string; reason: string } | null;
}

export class AuditViewStore {
  constructor(private readonly source: DataSource) {}

  /** Audits by id, which is by time; those after `after`. */
  async page({ epoch, after, limit }: { epoch?: number; after?: string; limit: number }): Promise<AuditView[]> {
    return this.source.query(
      `SELECT a.id, a.job_id, a.round, a.hotkey, a.kind, a.engine, a.epoch, a.why, a.suspicion, a.state, a.due_at,
              v.outcome, v.reason, v.evidence, v.decided_at,
              CASE WHEN c.job_id IS NOT NULL
                THEN jsonb_build_object('cause', c.cause, 'cause_id', c.cause_id, 'reason', c.reason) END AS corrected
         FROM studio.audits a LEFT JOIN studio.verdicts v ON v.audit_id = a.id
         LEFT JOIN studio.corrections c ON c.audit_id = a.id
        WHERE ($1::int IS NULL OR a.epoch = $1) AND ($2::uuid IS NULL OR a.id > $2)
        ORDER BY a.id LIMIT $3`,
      [epoch ?? null, after ?? null, limit],
    );
  }

  async countOpen(): Promise<number> {
    const rows: { open: number }[] = await this.source.query(
      `SELECT count(*)::int AS open FROM studio.audits WHERE state <> 'decided'`,
    );
    return rows[0]?.open ?? 0;
  }

  /** Throws when the database does not answer. */
  async ping(): Promise<void> {
    await this.source.query('SELECT 1');
  }
}
