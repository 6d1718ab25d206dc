import type { DataSource } from 'typeorm';

/**
 * Jobs that a worker holds, or would take up now. Workers are scaled by it (deploy/k8s): with what runs, or the jobs that
 * are under way would count for nothing and their workers be taken away. Jobs that wait for a callback or a later time need nobody.
 * One text, because KEDA asks the same question of Postgres itself; `npm run k8s:check` holds the two equal.
 */
export const WORKER_DEMAND_SQL = `SELECT count(*) AS demand FROM studio.jobs
 WHERE state IN ('queued', 'running', 'awaiting-callback')
   AND (state = 'running' OR wake_at <= studio.now() AND deadline_at > studio.now())`;

export class WorkerDemandStore {
  constructor(private readonly db: DataSource) {}

  async count(): Promise<number> {
    const [row] = await this.db.query<{ demand: string }[]>(WORKER_DEMAND_SQL);
    return Number(row?.demand ?? 0);
  }
}
