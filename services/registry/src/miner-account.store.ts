import type { DataSource } from 'typeorm';
import type {
  AccountAttempt,
  AccountMeasurement,
  AccountQuarantine,
  AccountVerdict,
} from '@studio/shared/contract/miners';
import type { Engine, JobKind } from '@studio/shared/domain/job';
import type { AddressClaim } from '@studio/shared/domain/address-owners';
import { DEFAULT_POLICY } from '@studio/shared/domain/policy';

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
    return this.db.query<AccountQuarantine[]>(
      `SELECT q.kind, q.from_epoch, q.until_epoch, CASE WHEN e.state = 'closed' THEN q.reason END AS reason
         FROM studio.quarantines q LEFT JOIN studio.epochs e ON e.epoch = q.from_epoch
        WHERE q.hotkey = $1 ORDER BY q.from_epoch DESC, q.kind LIMIT 100`,
      [hotkey],
    );
  }

  /** Epochs close in order, and none is decided before its award: a closed epoch of the verdict means a closed draw. */
  async verdicts(hotkey: string, limit: number): Promise<AccountVerdict[]> {
    const rows = await this.db.query<(Omit<AccountVerdict, 'decided_at'> & { decided_at: Date })[]>(
      `SELECT v.job_id, v.attempt_no AS attempt, v.kind, v.epoch, v.outcome, v.reason, v.decided_at
         FROM studio.verdicts v
         JOIN studio.epochs decided ON decided.epoch = v.decided_in AND decided.state = 'closed'
        WHERE v.hotkey = $1 ORDER BY v.decided_at DESC LIMIT $2`,
      [hotkey, limit],
    );
    return rows.map((row) => ({ ...row, decided_at: row.decided_at.toISOString() }));
  }
}

type MeasurementRow = Omit<AccountMeasurement, 'address_since' | 'measured_at'> & {
  address_since: Date | null;
  measured_at: Date;
};

function toAttempt(row: AttemptRow): AccountAttempt {
  return { ...row, sent_at: row.sent_at.toISOString(), finished_at: row.finished_at?.toISOString() ?? null };
}
