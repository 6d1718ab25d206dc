import type { DataSource } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';

/** Appeals taken up in one look. */
const BATCH = 100;

/** Miners' appeals (filed at the registry) become second-round audits. */
export class AppealStore {
  constructor(private readonly source: DataSource) {}

  /** Safe to repeat and to run on two replicas at once. @returns how many were taken up. */
  async takeUp(): Promise<number> {
    const waiting: { jobId: string }[] = await this.source.query(
      `SELECT p.job_id AS "jobId" FROM studio.appeals p
        WHERE NOT EXISTS (SELECT 1 FROM studio.audits s WHERE s.job_id = p.job_id AND s.round = 2)
        ORDER BY p.filed_at LIMIT $1`,
      [BATCH],
    );
    if (waiting.length === 0) return 0;
    const added: unknown[] = await this.source.query(
      `INSERT INTO studio.audits (id, job_id, round, hotkey, operator, kind, engine, epoch, why, due_at)
       SELECT n.id, f.job_id, 2, f.hotkey, f.operator, f.kind, f.engine, f.epoch, 'appeal', studio.now()
         FROM unnest($1::uuid[], $2::uuid[]) AS n(id, job_id)
         JOIN studio.audits f ON f.job_id = n.job_id AND f.round = 1
       ON CONFLICT (job_id, round) DO NOTHING RETURNING id`,
      [waiting.map(() => uuidv7()), waiting.map(({ jobId }) => jobId)],
    );
    return added.length;
  }
}
