import type { DataSource } from 'typeorm';
import type {
  AccountAttempt,
  AccountMeasurement,
  AccountQuarantine,
  AccountVerdict,
  CorrectionCause,
} from '@studio/shared/contract/miners';
import type { Engine, JobKind } from '@studio/shared/domain/job';
import type { AddressClaim } from '@studio/shared/domain/address-owners';
import { DEFAULT_POLICY } from '@studio/shared/domain/policy';
import { toAccountVerdict, type VerdictRow } from './account-verdict';

/** A good miner's misses may lie far back: so many of its attempts are searched for them and no more. */
const MISSED_AMONG = 10_000;

/** What one lane's slots and attempts say; offers and fair shares are added by MinerAccounts. */
export interface LaneFacts {
  kind: JobKind;
  engine: Engine;
  /** Null for a lane in which no slot has been recorded. */
  proven: number | null;
  open: number;
  jobs: number;
}

type AttemptRow = Omit<AccountAttempt, 'sent_at' | 'finished_at'> & { sent_at: Date; finished_at: Date | null };

const ATTEMPT = `
  a.job_id, a.attempt_no AS attempt, a.kind, a.engine, a.state, a.blame, a.reason, a.hedge, a.sent_at, a.finished_at,
  a.raw_us / 1000.0::float8 AS raw_ms, a.credit_us / 1000.0::float8 AS credit_ms, a.net_us / 1000.0::float8 AS net_ms,
  a.network, a.void`;

/** What a miner may read of itself. Reads only; the tables belong to the querier, the auditor and the ledger. */
export class MinerAccountStore {
  constructor(private readonly db: DataSource) {}

  async jobs(hotkey: string, limit: number): Promise<AccountAttempt[]> {
    const rows = await this.db.query<AttemptRow[]>(
      `SELECT ${ATTEMPT}, l.points FROM studio.attempts a
         LEFT JOIN studio.ledger l ON a.state = 'accepted' AND l.job_id = a.job_id AND l.type = 'award' AND l.hotkey = a.hotkey
        WHERE a.hotkey = $1 ORDER BY a.sent_at DESC, a.attempt_no DESC LIMIT $2`,
      [hotkey, limit],
    );
    return rows.map(toAttempt);
  }

  async missed(hotkey: string, limit: number): Promise<AccountAttempt[]> {
    const rows = await this.db.query<AttemptRow[]>(
      `SELECT ${ATTEMPT}, NULL AS points FROM (
         SELECT * FROM (SELECT job_id, attempt_no, kind, engine, state, blame, reason, hedge, sent_at, finished_at, raw_us,
                               credit_us, net_us, network, void
                          FROM studio.attempts WHERE hotkey = $1 ORDER BY sent_at DESC LIMIT ${MISSED_AMONG}) recent
          WHERE state IN ('busy', 'failed', 'invalid', 'timeout')) a
        ORDER BY a.sent_at DESC, a.attempt_no DESC LIMIT $2`,
      [hotkey, limit],
    );
    return rows.map(toAttempt);
  }

  /** Every lane that has slots on record, attempts under way or attempts of the last hour. */
  async lanes(hotkey: string): Promise<LaneFacts[]> {
    return this.db.query<LaneFacts[]>(
      `SELECT kind, engine, max(proven) AS proven, sum(open)::int AS open, sum(jobs)::int AS jobs
         FROM (SELECT kind, engine, proven, 0 AS open, 0 AS jobs FROM studio.miner_slots WHERE hotkey = $1
               UNION ALL
               SELECT kind, engine, NULL, 1, 0 FROM studio.attempts WHERE hotkey = $1 AND state = 'open'
               UNION ALL
               SELECT kind, engine, NULL, 0, 1 FROM studio.attempts
                WHERE hotkey = $1 AND sent_at > studio.now() - interval '1 hour') facts
        GROUP BY kind, engine`,
      [hotkey],
    );
  }

  /** Slots that a miner is believed to have before it has proven any. */
  async rampStart(): Promise<number> {
    const [row] = await this.db.query<{ ramp_start: number | null }[]>(
      `SELECT (p.body->'routing'->>'rampStart')::int AS ramp_start
         FROM studio.epochs e JOIN studio.policies p ON p.version = e.policy_version WHERE e.state = 'open'`,
    );
    return row?.ramp_start ?? DEFAULT_POLICY.routing.rampStart;
  }

  async measurement(hotkey: string): Promise<AccountMeasurement | null> {
    const [row] = await this.db.query<MeasurementRow[]>(
      `SELECT rtt_min_us::float8 AS rtt_min_us, samples, address, address_since, measured_at
         FROM studio.miner_measurements WHERE hotkey = $1`,
      [hotkey],
    );
    return row
      ? { ...row, address_since: row.address_since?.toISOString() ?? null, measured_at: row.measured_at.toISOString() }
      : null;
  }

  /** Everybody who can be routed to at the address where this miner was last reached, itself included. */
  async claimsAtAddressOf(hotkey: string): Promise<AddressClaim[]> {
    return this.db.query<AddressClaim[]>(
      `SELECT m.hotkey, m.operator, m.trusted, s.address, extract(epoch FROM s.address_since)::float8 * 1000 AS "sinceMs"
         FROM studio.miner_measurements own
         JOIN studio.miner_measurements s ON s.address = own.address
         JOIN studio.miners m ON m.hotkey = s.hotkey AND m.withdrawn_at IS NULL
        WHERE own.hotkey = $1`,
      [hotkey],
    );
  }

  /** A reason names a result that was audited: not while the epoch in which it was drawn runs. */
  async quarantines(hotkey: string): Promise<AccountQuarantine[]> {
    const rows = await this.db.query<QuarantineRow[]>(
      `SELECT q.kind, q.from_epoch, q.until_epoch, CASE WHEN e.state = 'closed' THEN q.reason END AS reason,
              l.cause AS lifted_by, l.created_at AS lifted_at
         FROM studio.quarantines q LEFT JOIN studio.epochs e ON e.epoch = q.from_epoch
         LEFT JOIN studio.quarantine_lifts l ON l.quarantine_id = q.id
        WHERE q.hotkey = $1 ORDER BY q.from_epoch DESC, q.kind LIMIT 100`,
      [hotkey],
    );
    return rows.map(({ lifted_by: cause, lifted_at: at, ...row }) => ({
      ...row,
      lifted: cause && at && { cause, at: at.toISOString() },
    }));
  }

  /** Epochs close in order, and none is decided before its award: a closed epoch of the verdict means a closed draw. */
  async verdicts(hotkey: string, limit: number): Promise<AccountVerdict[]> {
    return (await this.db.query<VerdictRow[]>(VERDICTS, [hotkey, limit])).map(toAccountVerdict);
  }
}

/** First verdicts, each with its appeal and correction. Of test jobs (canaries) only those that went against the miner. */
const VERDICTS = `
  SELECT v.job_id, v.attempt_no AS attempt, v.kind, v.epoch, v.outcome, v.reason, v.decided_at, v.evidence,
         p.filed_at, p.reason AS appeal_reason, w.outcome AS appeal_outcome, w.decided_at AS appeal_decided_at,
         w.reason AS appeal_verdict, c.cause AS corrected_by, c.reason AS correction, c.created_at AS corrected_at
    FROM studio.verdicts v
    JOIN studio.audits a ON a.id = v.audit_id AND a.round = 1
    JOIN studio.epochs decided ON decided.epoch = v.decided_in AND decided.state = 'closed'
    LEFT JOIN studio.appeals p ON p.job_id = v.job_id
    LEFT JOIN studio.audits again ON again.job_id = v.job_id AND again.round = 2
    LEFT JOIN studio.verdicts w ON w.audit_id = again.id
    LEFT JOIN studio.corrections c ON c.audit_id = v.audit_id
   WHERE v.hotkey = $1 AND (a.why <> 'canary' OR v.outcome = 'invalid')
   ORDER BY v.decided_at DESC LIMIT $2`;

type QuarantineRow = Omit<AccountQuarantine, 'lifted'> & { lifted_by: CorrectionCause | null; lifted_at: Date | null };

type MeasurementRow = Omit<AccountMeasurement, 'address_since' | 'measured_at'> & {
  address_since: Date | null;
  measured_at: Date;
};

function toAttempt(row: AttemptRow): AccountAttempt {
  return { ...row, sent_at: row.sent_at.toISOString(), finished_at: row.finished_at?.toISOString() ?? null };
}
