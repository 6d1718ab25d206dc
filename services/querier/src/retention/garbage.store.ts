/** Rows that nothing needs any more: artifacts, and places for uploads. */
import { RETENTION_LOCK } from '@studio/shared/database/locks';
import type { DataSource } from 'typeorm';
import type { Updated } from '../sql';
import { holdsRetention, timeBefore } from './job-archive.store';
import { firstIdAt } from './time-ids';

/** A use is noted within the hour (sql.ts) before the job that it is for; a day is room for clocks and slow requests as well. */
const USE_MARGIN_MS = 24 * 3_600_000;

/** Every file that a job names. */
const FILES_OF_OLD_JOBS = `
  SELECT DISTINCT f.sha256 FROM studio.jobs j
   CROSS JOIN LATERAL (
     SELECT unnest(ARRAY[j.input->'image'->>'sha256', j.input->'lora'->>'sha256', j.result->'lora'->>'sha256']) AS sha256
     UNION ALL SELECT i.image->>'sha256' FROM jsonb_array_elements(j.result->'images') AS i(image)) f
   WHERE j.id < $2 AND f.sha256 IS NOT NULL`;

export class GarbageStore {
  constructor(private readonly db: DataSource) {}

  /**
   * Forgets files that no job has named for `keepMs` and a day. A job younger than `keepMs` has noted its files' use since, so
   * only the few older ones that are still here are looked at.
   * @returns how many were forgotten; their bytes go with `unnamed`.
   */
  async forgetArtifacts(keepMs: number, limit: number): Promise<number> {
    return this.db.transaction(async (tx) => {
      if (!(await holdsRetention(tx))) return 0;
      const unused = await timeBefore(tx, keepMs + USE_MARGIN_MS);
      const [, count] = await tx.query<Updated<unknown>>(
        `WITH named AS MATERIALIZED (${FILES_OF_OLD_JOBS})
         DELETE FROM studio.artifacts a
          WHERE a.used_at < $1 AND a.sha256 IN (
            SELECT o.sha256 FROM studio.artifacts o
             WHERE o.used_at < $1
               AND NOT EXISTS (SELECT 1 FROM named n WHERE n.sha256 = o.sha256)
               AND NOT EXISTS (SELECT 1 FROM studio.upload_slots s WHERE s.sha256 = o.sha256)
             ORDER BY o.used_at LIMIT $3)`,
        [unused, firstIdAt(await timeBefore(tx, keepMs)), limit],
      );
      return count;
    });
  }

  /** Places whose names open nothing any more. @returns how many were removed. */
  async forgetSlots(lifeSeconds: number, limit: number): Promise<number> {
    const [, count] = await this.db.query<Updated<unknown>>(
      `DELETE FROM studio.upload_slots WHERE writing IN (
         SELECT writing FROM studio.upload_slots WHERE created_at < studio.now() - $1 * interval '1 s'
          ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
      [lifeSeconds, limit],
    );
    return count;
  }

  /** Which of these files nothing names: no artifact, no archive, no part of an upload. */
  async unnamed(files: readonly string[]): Promise<string[]> {
    const rows = await this.db.query<{ sha256: string }[]>(
      `SELECT f.sha256 FROM unnest($1::text[]) AS f(sha256)
        WHERE NOT EXISTS (SELECT 1 FROM studio.artifacts a WHERE a.sha256 = f.sha256)
          AND NOT EXISTS (SELECT 1 FROM studio.job_archives r WHERE r.sha256 = f.sha256)
          AND NOT EXISTS (SELECT 1 FROM studio.upload_parts p WHERE p.sha256 = f.sha256)`,
      [files],
    );
    return rows.map(({ sha256 }) => sha256);
  }

  /** Runs `work` unless another replica is at it. */
  async alone(work: () => Promise<void>): Promise<void> {
    const runner = this.db.createQueryRunner();
    try {
      const [lock] = (await runner.query('SELECT pg_try_advisory_lock($1) AS held', [RETENTION_LOCK])) as {
        held: boolean;
      }[];
      if (!lock?.held) return;
      await work().finally(() => runner.query('SELECT pg_advisory_unlock($1)', [RETENTION_LOCK]));
    } finally {
      await runner.release();
    }
  }
}
