import type { DataSource } from 'typeorm';
import { HOUSE_CLIENT_ID } from '@studio/shared/contract/submit-job';
import type { Engine, JobKind, RoutingRule } from '@studio/shared/domain/job';
import { completePolicy } from '@studio/shared/domain/policy';
import type { AuditCase, Replayer } from './audit-case';

/** A miner that is there, and what it may be asked for. */
export interface OfferingMiner extends Replayer {
  offers: { kind: JobKind; engine: Engine }[];
  quarantined: JobKind[];
}

/** Reads audits as cases, writes their replays. Everything here may run on two replicas at once. */
export class ReplayStore {
  constructor(private readonly source: DataSource) {}

  /** Audits being replayed, and due ones up to `inFlight` in all, oldest first. */
  async dueCases(inFlight: number): Promise<AuditCase[]> {
    return this.cases(
      `${CASES}
        WHERE a.id IN (
          (SELECT id FROM studio.audits WHERE state = 'replaying' AND due_at <= studio.now())
          UNION ALL
          (SELECT id FROM studio.audits WHERE state = 'waiting' AND due_at <= studio.now() ORDER BY due_at
            LIMIT GREATEST(0, $2 - (SELECT count(*) FROM studio.audits WHERE state = 'replaying'))))
        ORDER BY a.due_at, a.id`,
      [HOUSE_CLIENT_ID, inFlight],
    );
  }

  /** Undecided audits of epochs up to this one; appeals take the time they need. */
  async undecidedCases(epoch: number, limit: number): Promise<AuditCase[]> {
    return this.cases(
      `${CASES} WHERE a.epoch <= $2 AND a.round = 1 AND a.state <> 'decided' ORDER BY a.due_at, a.id LIMIT $3`,
      [HOUSE_CLIENT_ID, epoch, limit],
    );
  }

  private async cases(sql: string, values: unknown[]): Promise<AuditCase[]> {
    const rows: AuditCase[] = await this.source.query(sql, values);
    return rows.map((row) => ({ ...row, policy: completePolicy(row.policy) }));
  }

  /** Every miner that is registered, with the kinds it is quarantined for in the open epoch. */
  async offeringMiners(): Promise<OfferingMiner[]> {
    return this.source.query(
      `SELECT m.hotkey, m.operator, m.trusted, m.offers,
              array(SELECT DISTINCT q.kind FROM studio.standing_quarantines q
                      JOIN studio.epochs e ON e.state = 'open' AND e.epoch >= q.from_epoch AND e.epoch < q.until_epoch
                     WHERE q.hotkey = m.hotkey) AS quarantined
         FROM studio.miners m WHERE m.withdrawn_at IS NULL`,
    );
  }

  /** @returns false when the audit is decided, or another replica was first: the case will be read again. */
  async addReplay(
    auditId: string,
    replay: { ordinal: number; judge: 'trusted' | 'peer'; requestKey: string; routing: RoutingRule },
  ): Promise<boolean> {
    return this.source.transaction(async (tx) => {
      const audit: unknown[] = await tx.query(
        `SELECT 1 FROM studio.audits WHERE id = $1 AND state <> 'decided' FOR UPDATE`,
        [auditId],
      );
      if (audit.length === 0) return false;
      const added: unknown[] = await tx.query(
        `INSERT INTO studio.audit_replays (audit_id, ordinal, judge, request_key, routing)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (audit_id, ordinal) DO NOTHING
         RETURNING ordinal`,
        [auditId, replay.ordinal, replay.judge, replay.requestKey, JSON.stringify(replay.routing)],
      );
      await tx.query(`UPDATE studio.audits SET state = 'replaying' WHERE id = $1`, [auditId]);
      return added.length > 0;
    });
  }

  /** The querier's answer to the request. */
  async replaySubmitted(requestKey: string, jobId: string): Promise<void> {
    await this.source.query('UPDATE studio.audit_replays SET job_id = $2 WHERE request_key = $1 AND job_id IS NULL', [
      requestKey,
      jobId,
    ]);
  }

  /** The querier will not take the request, however often it is sent. */
  async replayRefused(requestKey: string, refusal: string): Promise<void> {
    await this.source.query(
      `UPDATE studio.audit_replays SET refused_at = studio.now(), refusal = $2
        WHERE request_key = $1 AND job_id IS NULL`,
      [requestKey, refusal],
    );
  }

  /** Puts the audit off, so that others come first. */
  async postpone(auditId: string, byMs: number): Promise<void> {
    await this.source.query(
      `UPDATE studio.audits SET due_at = studio.now() + $2 * interval '1 millisecond'
        WHERE id = $1 AND state <> 'decided'`,
      [auditId, Math.ceil(byMs)],
    );
  }
}

/**
 * A replay's job is found by its idempotency key, which is known before the job is. Its result counts once the job has
 * a draw of its own: then its miner, operator and award are settled, and a replica that lied can be held to it.
 */
const REPLAYS = `
  SELECT r.audit_id, jsonb_agg(jsonb_build_object(
           'ordinal', r.ordinal, 'judge', r.judge, 'requestKey', r.request_key, 'routing', r.routing,
           'jobId', j.id, 'state', j.state,
           'failedMsAgo', CASE WHEN j.state IN ('failed', 'expired', 'cancelled') OR (j.id IS NULL AND r.refused_at IS NOT NULL)
             THEN extract(epoch FROM studio.now() - COALESCE(j.finished_at, r.refused_at)) * 1000 END,
           'done', CASE WHEN d.job_id IS NOT NULL THEN jsonb_build_object(
             'hotkey', d.hotkey, 'operator', d.operator, 'attemptNo', d.attempt_no, 'epoch', d.epoch,
             'result', j.result) END
         ) ORDER BY r.ordinal) AS list,
         array_agg(j.id) AS job_ids
    FROM studio.audit_replays r
    LEFT JOIN studio.jobs j ON j.client_id = $1 AND j.idempotency_key = r.request_key::text
    LEFT JOIN studio.draws d ON d.job_id = j.id
   WHERE r.audit_id = a.id
   GROUP BY r.audit_id`;

const CASES = `
  SELECT a.id, a.round, a.why, a.suspicion, a.job_id AS "jobId", d.attempt_no AS "attemptNo", a.hotkey, a.operator, a.kind,
         a.engine, a.epoch, p.body AS policy, d.q, d.u, j.input, j.result, j.private,
         (a.round = 1 AND e.state IS DISTINCT FROM 'open') AS closing,
         array(SELECT DISTINCT t.operator FROM studio.attempts t
                WHERE t.job_id = a.job_id OR t.job_id IN (
                  SELECT s.job_id FROM studio.audit_replays s JOIN studio.audits every ON every.id = s.audit_id
                   WHERE every.job_id = a.job_id AND s.job_id IS NOT NULL)
                   OR t.job_id = ANY (replays.job_ids)) AS "seenBy",
         COALESCE(replays.list, '[]') AS replays
    FROM studio.audits a
    JOIN studio.draws d ON d.job_id = a.job_id
    JOIN studio.jobs j ON j.id = a.job_id
    JOIN studio.policies p ON p.version = d.policy_version
    LEFT JOIN studio.epochs e ON e.epoch = a.epoch
    LEFT JOIN LATERAL (${REPLAYS}) replays ON true`;
