import type { EntityManager } from 'typeorm';
import type { LedgerEntryMessage } from '@studio/shared/contract/ledger';
import { AUDIT_INTAKE_LOCK, EPOCH_CLOSE_LOCK } from '@studio/shared/database/locks';
import type { Policy } from '@studio/shared/domain/policy';
import { JOB_KINDS } from '@studio/shared/domain/task-kinds';
import { restorationEntry } from './ledger-entries';
import { standingOf, type CountedQuarantine, type CountedVerdict, type Standing } from './standing';

/** Why verdicts no longer stand. `id`: the appeal's audit, or the amnesty. */
export interface Cause {
  type: 'appeal' | 'amnesty';
  id: string;
  reason: string;
}

/** What a correction came to. */
export interface Corrected {
  verdicts: number;
  miners: number;
  /** Quarantines lifted, both kinds of one counted once each. */
  quarantines: number;
  restorations: number;
  /** Millionths, as a decimal string. */
  points: string;
}

interface CorrectedVerdict {
  jobId: string;
  hotkey: string;
}

/**
 * Takes invalid verdicts back, in the caller's transaction: nothing is changed, everything is added. The verdict gets a
 * correction, a quarantine that it carried is lifted, and awards that fell for either are restored. The lock keeps closing
 * epochs from reversing by what is being corrected.
 * @param where SQL over the verdict `v` and its audit `a` that says which, with parameters from $4 on.
 */
export async function correctVerdicts(
  tx: EntityManager,
  cause: Cause,
  where: string,
  values: readonly unknown[],
  policy: Policy,
): Promise<Corrected> {
  await tx.query('SELECT pg_advisory_xact_lock($1)', [EPOCH_CLOSE_LOCK]);
  // The records are counted anew below: a batch taken in meanwhile would be missing from the count.
  await tx.query('SELECT pg_advisory_xact_lock($1)', [AUDIT_INTAKE_LOCK]);
  const corrected: CorrectedVerdict[] = await tx.query(
    `INSERT INTO studio.corrections (job_id, audit_id, hotkey, kind, cause, cause_id, reason)
     SELECT v.job_id, v.audit_id, v.hotkey, v.kind, $1, $2, $3
       FROM studio.verdicts v JOIN studio.audits a ON a.id = v.audit_id
      WHERE a.round = 1 AND v.outcome = 'invalid' AND ${where}
     ON CONFLICT (job_id) DO NOTHING
     RETURNING job_id AS "jobId", hotkey`,
    [cause.type, cause.id, cause.reason, ...values],
  );
  const hotkeys = [...new Set(corrected.map(({ hotkey }) => hotkey))].sort();
  const total = { quarantines: 0, restorations: 0, points: 0n };
  for (const hotkey of hotkeys) {
    const standing = await readStanding(tx, hotkey, policy);
    await lift(tx, standing.fallen, cause);
    await writeRecord(tx, hotkey, standing);
    const restored = await restore(tx, hotkey, cause);
    total.quarantines += standing.fallen.length;
    total.restorations += restored.length;
    total.points += restored.reduce((sum, { points }) => sum + BigInt(points), 0n);
  }
  return { verdicts: corrected.length, miners: hotkeys.length, ...total, points: total.points.toString() };
}

async function readStanding(tx: EntityManager, hotkey: string, { audit }: Policy): Promise<Standing> {
  const verdicts: CountedVerdict[] = await tx.query(
    `SELECT v.kind, v.outcome = 'invalid' AS failed, c.job_id IS NOT NULL AS corrected,
            (extract(epoch FROM v.decided_at) * 1000)::float8 AS at
       FROM studio.verdicts v JOIN studio.audits a ON a.id = v.audit_id AND a.round = 1
       LEFT JOIN studio.corrections c ON c.audit_id = v.audit_id
      WHERE v.hotkey = $1 AND v.outcome <> 'inconclusive' ORDER BY v.decided_at, v.audit_id`,
    [hotkey],
  );
  const quarantines: CountedQuarantine[] = await tx.query(
    `SELECT array_agg(q.id) AS ids, (extract(epoch FROM q.created_at) * 1000)::float8 AS at,
            bool_or(l.quarantine_id IS NOT NULL) AS lifted
       FROM studio.quarantines q LEFT JOIN studio.quarantine_lifts l ON l.quarantine_id = q.id
      WHERE q.hotkey = $1 GROUP BY q.created_at`,
    [hotkey],
  );
  return standingOf(verdicts, quarantines, audit);
}

async function lift(tx: EntityManager, quarantines: readonly string[], { type, id }: Cause): Promise<void> {
  await tx.query(
    `INSERT INTO studio.quarantine_lifts (quarantine_id, cause, cause_id) SELECT *, $2, $3::uuid FROM unnest($1::uuid[])
     ON CONFLICT DO NOTHING`,
    [quarantines, type, id],
  );
}

/** The projection, computed anew: what draws are decided from (miner_trust). */
async function writeRecord(tx: EntityManager, hotkey: string, { records, since }: Standing): Promise<void> {
  for (const kind of [...JOB_KINDS].sort()) {
    const { audits, passes, cusum } = records.get(kind) ?? { audits: 0, passes: 0, cusum: 0 };
    await tx.query(
      `INSERT INTO studio.miner_trust AS t (hotkey, kind, jobs_seen, audits, passes, cusum)
       SELECT $1, $2, count(*), $3, $4, $5 FROM studio.draws d
        WHERE d.hotkey = $1 AND d.kind = $2 AND d.q IS NOT NULL
          AND d.taken_at > COALESCE(to_timestamp($6::float8 / 1000), '-infinity')
       ON CONFLICT (hotkey, kind) DO UPDATE SET jobs_seen = EXCLUDED.jobs_seen, audits = EXCLUDED.audits,
                                                passes = EXCLUDED.passes, cusum = EXCLUDED.cusum`,
      [hotkey, kind, audits, passes, cusum, since ?? null],
    );
  }
}

/** Reversals without a standing reason: their conviction is corrected, or it was quarantine that has been lifted. */
async function restore(tx: EntityManager, hotkey: string, { type, reason }: Cause): Promise<LedgerEntryMessage[]> {
  const rows: { payload: LedgerEntryMessage }[] = await tx.query(
    `SELECT o.payload FROM studio.ledger_outbox o
      WHERE o.closing IS NOT NULL AND o.payload->>'hotkey' = $1 AND o.payload->>'type' = 'reversal'
        AND (EXISTS (SELECT 1 FROM studio.corrections c WHERE c.job_id = o.conviction)
             OR (o.conviction IS NULL AND o.payload->>'reason' LIKE 'quarantined:%'))
        AND NOT EXISTS (SELECT 1 FROM studio.standing_quarantines q
                         WHERE q.hotkey = $1 AND o.closing >= q.from_epoch AND o.closing < q.until_epoch)
      ORDER BY o.ord`,
    [hotkey],
  );
  const entries = rows.map(({ payload }) => restorationEntry(payload, `${type}: ${reason}`));
  const added: { entry_id: string }[] = await tx.query(
    `INSERT INTO studio.ledger_outbox (entry_id, payload)
     SELECT (value->>'id')::uuid, value FROM jsonb_array_elements($1::jsonb) WITH ORDINALITY ORDER BY ordinality
     ON CONFLICT (entry_id) DO NOTHING RETURNING entry_id`,
    [JSON.stringify(entries)],
  );
  const isNew = new Set(added.map((row) => row.entry_id));
  return entries.filter(({ id }) => isNew.has(id));
}
