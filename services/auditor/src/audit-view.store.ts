import type { DataSource } from 'typeorm';
import type { Evidence, Judgment } from './judgment';

/** One audit, as operators read it. */
export interface AuditView {
  id: string;
  job_id: string;
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
}

export class AuditViewStore {
  constructor(private readonly source: DataSource) {}

  /** Audits by id, which is by time; those after `after`. */
  async page({ epoch, after, limit }: { epoch?: number; after?: string; limit: number }): Promise<AuditView[]> {
    return this.source.query(
      `SELECT a.id, a.job_id, a.hotkey, a.kind, a.engine, a.epoch, a.why, a.suspicion, a.state, a.due_at,
              v.outcome, v.reason, v.evidence, v.decided_at
         FROM studio.audits a LEFT JOIN studio.verdicts v ON v.audit_id = a.id
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
