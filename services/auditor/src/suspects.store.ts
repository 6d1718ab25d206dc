import type { EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import type { Suspicion } from './audit-case';

/** A job whose result looks copied. */
export interface Suspect {
  jobId: string;
  suspicion: Suspicion;
}

/**
 * The audits that suspicion calls for, in the transaction that notes what was compared. A suspect that is being audited
 * already gets the suspicion added. The wait that a drawn audit has is not for a suspect.
 */
export async function addSuspects(tx: EntityManager, suspects: readonly Suspect[]): Promise<void> {
  // Sorted: two replicas that found the same suspects do not wait for each other.
  for (const { jobId, suspicion } of [...suspects].sort((a, b) => (a.jobId < b.jobId ? -1 : 1))) {
    await tx.query(
      `INSERT INTO studio.audits AS a (id, job_id, hotkey, operator, kind, engine, epoch, why, suspicion, due_at)
       SELECT $1, d.job_id, d.hotkey, d.operator, d.kind, d.engine, d.epoch, 'copy', $3, studio.now()
         FROM studio.draws d WHERE d.job_id = $2
       ON CONFLICT (job_id, round) DO UPDATE SET suspicion = EXCLUDED.suspicion
        WHERE a.suspicion IS NULL AND a.state <> 'decided'`,
      [uuidv7(), jobId, JSON.stringify(suspicion)],
    );
  }
}
