import type { DataSource, EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { EPOCH_CLOSE_LOCK } from '@studio/shared/database/locks';
import { isQuarantined, step } from '@studio/shared/domain/cusum';
import type { Policy } from '@studio/shared/domain/policy';
import { JOB_KINDS } from '@studio/shared/domain/task-kinds';
import { correctVerdicts, type Corrected } from './correction.store';
import type { Judgment } from './judgment';

export interface Recorded {
  /** Hotkeys that the verdict, or its replicas', put into quarantine. */
  quarantined: string[];
  /** An appeal that was right. */
  corrected: Corrected | null;
}

/**
 * Writes a verdict with all that follows from it, in one transaction: the audit's end, the miner's record, a quarantine.
 * What it does to the ledger waits for the close of the epoch (epoch-closer.ts).
 */
export class VerdictStore {
  constructor(private readonly source: DataSource) {}

  /** @returns undefined when the audit already has its verdict: another replica was first, and its verdict stands. */
  async record(judgment: Judgment): Promise<Recorded | undefined> {
    return this.source.transaction(async (tx) => {
      // First, as an amnesty takes it: the two never wait for each other.
      if (judgment.round === 2) await tx.query('SELECT pg_advisory_xact_lock($1)', [EPOCH_CLOSE_LOCK]);
      const open: unknown[] = await tx.query(
        `SELECT 1 FROM studio.audits WHERE id = $1 AND state <> 'decided' FOR UPDATE`,
        [judgment.auditId],
      );
      if (open.length === 0) return undefined;
      await tx.query(`UPDATE studio.audits SET state = 'decided' WHERE id = $1`, [judgment.auditId]);
      const cases = [{ ...judgment, auditId: judgment.auditId }];
      for (const replica of judgment.replicas) {
        const auditId = await addReplicaAudit(tx, replica, judgment.auditId);
        if (auditId) cases.push({ ...replica, auditId, round: 1, policy: judgment.policy, replicas: [] });
      }
      // By hotkey, as every writer of the miners' records takes them: no two transactions wait for each other.
      cases.sort((a, b) => (a.target.hotkey < b.target.hotkey ? -1 : 1));
      const quarantined: string[] = [];
      for (const one of cases) {
        await insertVerdict(tx, one);
        // An appeal is no further sample of its miner: it corrects the first verdict, or nothing.
        if (one.round === 1 && (await remember(tx, one))) quarantined.push(one.target.hotkey);
      }
      return { quarantined, corrected: await correctFirst(tx, judgment) };
    });
  }
}

/** An appeal's valid verdict takes back the invalid one of the first round. */
async function correctFirst(tx: EntityManager, judgment: Judgment): Promise<Corrected | null> {
  const { round, outcome, auditId, target, policy, reason } = judgment;
  if (round === 1 || outcome !== 'valid') return null;
  const cause = { type: 'appeal' as const, id: auditId, reason };
  return correctVerdicts(tx, cause, 'v.job_id = $4', [target.jobId], policy);
}

/** A replica's audit is born decided: the comparison it failed is the audit. Undefined when it has one already. */
async function addReplicaAudit(
  tx: EntityManager,
  { target, evidence }: Judgment['replicas'][number],
  replicaOf: string,
): Promise<string | undefined> {
  const rows: { id: string }[] = await tx.query(
    `INSERT INTO studio.audits (id, job_id, hotkey, operator, kind, engine, epoch, why, state, due_at, suspicion)
     SELECT $1, d.job_id, d.hotkey, d.operator, d.kind, d.engine, d.epoch, 'replica', 'decided', studio.now(), $3
       FROM studio.draws d WHERE d.job_id = $2
     ON CONFLICT (job_id, round) DO NOTHING RETURNING id`,
    [uuidv7(), target.jobId, JSON.stringify({ replicaOf, digest: evidence.digest })],
  );
  return rows[0]?.id;
}

async function insertVerdict(
  tx: EntityManager,
  { auditId, target, outcome, reason, evidence }: Judgment,
): Promise<void> {
  await tx.query(
    // An audit is always decided before its epoch settles: its own epoch is the one at whose close it takes effect.
    `INSERT INTO studio.verdicts (audit_id, job_id, attempt_no, hotkey, kind, epoch, decided_in, outcome, reason, evidence)
     VALUES ($1, $2, $3, $4, $5, $6, $6, $7, $8, $9)`,
    [
      auditId,
      target.jobId,
      target.attemptNo,
      target.hotkey,
      target.kind,
      target.epoch,
      outcome,
      reason,
      JSON.stringify(evidence),
    ],
  );
}

/** @returns whether the miner was quarantined. An inconclusive audit changes nothing. */
async function remember(tx: EntityManager, { target, outcome, policy, reason }: Judgment): Promise<boolean> {
  if (outcome === 'inconclusive') return false;
  const { hotkey, kind } = target;
  await tx.query(
    `INSERT INTO studio.miner_trust (hotkey, kind) SELECT $1, kind FROM unnest($2::text[]) kind
     ON CONFLICT (hotkey, kind) DO NOTHING`,
    [hotkey, [...JOB_KINDS].sort()],
  );
  const rows: { kind: string; cusum: number }[] = await tx.query(
    'SELECT kind, cusum FROM studio.miner_trust WHERE hotkey = $1 ORDER BY kind FOR UPDATE',
    [hotkey],
  );
  const failed = outcome === 'invalid';
  const cusum = step(rows.find((row) => row.kind === kind)?.cusum ?? 0, failed, policy.audit);
  await tx.query(
    `UPDATE studio.miner_trust SET audits = audits + 1, passes = passes + $3, cusum = $4
      WHERE hotkey = $1 AND kind = $2`,
    [hotkey, kind, failed ? 0 : 1, cusum],
  );
  if (!failed || !isQuarantined(cusum, policy.audit)) return false;
  return quarantine(tx, target, policy, `${kind}: too many invalid results, lately: ${reason}`);
}

/**
 * Both kinds: who cheats at one is not trusted with the other. The record starts anew, so that the miner comes back on
 * probation. One quarantine at a time: results that were under way do not prolong it.
 */
async function quarantine(
  tx: EntityManager,
  { hotkey, epoch }: Judgment['target'],
  { quarantineEpochs }: Policy,
  reason: string,
): Promise<boolean> {
  const added: unknown[] = await tx.query(
    `INSERT INTO studio.quarantines (id, hotkey, kind, from_epoch, until_epoch, reason)
     SELECT n.id, $1, n.kind, $2::int, $2::int + $3::int, $4 FROM unnest($5::uuid[], $6::text[]) AS n(id, kind)
      WHERE NOT EXISTS (SELECT 1 FROM studio.standing_quarantines q WHERE q.hotkey = $1 AND q.until_epoch > $2::int)
     RETURNING id`,
    [hotkey, epoch, quarantineEpochs, reason, JOB_KINDS.map(() => uuidv7()), [...JOB_KINDS]],
  );
  if (added.length === 0) return false;
  await tx.query('UPDATE studio.miner_trust SET jobs_seen = 0, audits = 0, passes = 0, cusum = 0 WHERE hotkey = $1', [
    hotkey,
  ]);
  return true;
}
