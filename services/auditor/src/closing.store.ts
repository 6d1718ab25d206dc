import type { DataSource } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { EPOCH_CLOSE_LOCK } from '@studio/shared/database/locks';
import { floorDraws } from '@studio/shared/domain/audit-sampling';
import type { JobKind } from '@studio/shared/domain/job';
import { completePolicy, type Policy } from '@studio/shared/domain/policy';
import { reversalId } from './ledger-entries';
import type { Conviction, OpenAward, Reversal } from './reversals';

export interface ClosingEpoch {
  epoch: number;
  policy: Policy;
  /** The wait for drawn audits has lasted `closeBoundMs`. */
  overdue: boolean;
}

/** What still has to happen before the reversals of an epoch are known. */
export interface Unsettled {
  audits: number;
  adapters: number;
  /** Whether the walk over pictures has yet to reach the epoch's end. */
  pictures: boolean;
}

/** Rows of one INSERT: far below the statement's bound, and a crash between two chunks is mended by closing again. */
const REVERSAL_CHUNK = 500;

/** What the auditor reads and writes to settle an epoch. Every step may be repeated, by any replica. */
export class ClosingStore {
  constructor(private readonly source: DataSource) {}

  /** The epoch that the registry is closing and the auditor has not settled; there is one at most. */
  async closing(): Promise<ClosingEpoch | undefined> {
    const rows: ClosingEpoch[] = await this.source.query(
      `SELECT e.epoch, p.body AS policy,
              studio.now() >= e.closing_at + (p.body->>'closeBoundMs')::float8 * interval '1 millisecond' AS overdue
         FROM studio.epochs e JOIN studio.policies p ON p.version = e.policy_version
        WHERE e.state = 'closing' AND NOT EXISTS (SELECT 1 FROM studio.settlements s WHERE s.epoch = e.epoch)
        ORDER BY e.epoch LIMIT 1`,
    );
    return rows[0] && { ...rows[0], policy: completePolicy(rows[0].policy) };
  }

  /**
   * Audits on top of the draw, so that every (miner, kind) of the epoch has `floor`: the undrawn jobs of lowest u.
   * Again, it finds the floor reached. The lock keeps two replicas from each adding what is missing.
   * @returns how many were added.
   */
  async addFloorAudits(epoch: number, floor: number): Promise<number> {
    return this.source.transaction(async (tx) => {
      await tx.query('SELECT pg_advisory_xact_lock($1)', [EPOCH_CLOSE_LOCK]);
      const groups: { have: number; undrawn: { jobId: string; u: string }[] }[] = await tx.query(FLOOR_CANDIDATES, [
        epoch,
        floor,
      ]);
      const jobs = groups.flatMap(({ have, undrawn }) =>
        floorDraws(
          undrawn.map(({ jobId, u }) => ({ jobId, u: BigInt(u) })),
          have,
          floor,
        ),
      );
      if (jobs.length === 0) return 0;
      await tx.query(
        `INSERT INTO studio.audits (id, job_id, hotkey, operator, kind, engine, epoch, why, due_at)
         SELECT n.id, d.job_id, d.hotkey, d.operator, d.kind, d.engine, d.epoch, 'floor', studio.now()
           FROM unnest($1::uuid[], $2::uuid[]) AS n(id, job_id) JOIN studio.draws d ON d.job_id = n.job_id
         ON CONFLICT (job_id, round) DO NOTHING`,
        [jobs.map(() => uuidv7()), jobs.map(({ jobId }) => jobId)],
      );
      return jobs.length;
    });
  }

  async unsettled(epoch: number): Promise<Unsettled> {
    const rows: Unsettled[] = await this.source.query(
      `SELECT (SELECT count(*)::int FROM studio.audits WHERE state <> 'decided' AND round = 1 AND epoch <= $1) AS audits,
              (SELECT count(*)::int FROM studio.adapters a JOIN studio.draws d ON d.job_id = a.job_id
                WHERE a.checked_at IS NULL AND d.epoch <= $1) AS adapters,
              ${PICTURES_WAIT} AS pictures`,
      [epoch],
    );
    return rows[0] ?? { audits: 0, adapters: 0, pictures: false };
  }

  /** Invalid verdicts that stand and take effect at this close, their awards not final. */
  async convictions(epoch: number, finalityEpochs: number): Promise<(Conviction & { hotkey: string })[]> {
    return this.source.query(
      `SELECT v.job_id AS "jobId", v.hotkey, d.q, (v.evidence->>'kappa')::float8 AS kappa, v.reason
         FROM studio.verdicts v JOIN studio.draws d ON d.job_id = v.job_id
         JOIN studio.audits a ON a.id = v.audit_id AND a.round = 1
        WHERE v.outcome = 'invalid' AND NOT EXISTS (SELECT 1 FROM studio.corrections c WHERE c.job_id = v.job_id)
          AND v.decided_in BETWEEN $1::int - $2::int AND $1::int
          AND d.epoch BETWEEN $1::int - $2::int AND $1::int AND d.award_id IS NOT NULL`,
      [epoch, finalityEpochs],
    );
  }

  /** Miners in quarantine during this epoch: hotkey → why. */
  async quarantined(epoch: number): Promise<Map<string, string>> {
    const rows: { hotkey: string; reason: string }[] = await this.source.query(
      `SELECT hotkey, min(reason) AS reason FROM studio.standing_quarantines
        WHERE from_epoch <= $1 AND until_epoch > $1 GROUP BY hotkey`,
      [epoch],
    );
    return new Map(rows.map(({ hotkey, reason }) => [hotkey, reason]));
  }

  /** Awards of these miners that are not final at this close; those reversed at an earlier close are left out. */
  async openAwards(hotkeys: readonly string[], epoch: number, finalityEpochs: number): Promise<OpenAward[]> {
    const rows: AwardRow[] = await this.source.query(
      `SELECT d.job_id AS "jobId", d.hotkey, d.kind, d.epoch, d.points, d.policy_version AS "policyVersion",
              (extract(epoch FROM d.finished_at) * 1000)::float8 AS at, (d.u IS NULL OR a.id IS NOT NULL) AS compared
         FROM studio.draws d LEFT JOIN studio.audits a ON a.job_id = d.job_id AND a.round = 1
        WHERE d.hotkey = ANY($1) AND d.epoch BETWEEN $2::int - $3::int AND $2::int AND d.award_id IS NOT NULL`,
      [hotkeys, epoch, finalityEpochs],
    );
    const earlier: { entry_id: string }[] = await this.source.query(
      'SELECT entry_id FROM studio.ledger_outbox WHERE entry_id = ANY($1::uuid[]) AND closing < $2',
      [rows.map(({ jobId }) => reversalId(jobId)), epoch],
    );
    const gone = new Set(earlier.map((row) => row.entry_id));
    return rows
      .filter(({ jobId }) => !gone.has(reversalId(jobId)))
      .map((row) => ({ ...row, points: BigInt(row.points) }));
  }

  /** @returns how many were not there yet. */
  async addReversals(epoch: number, reversals: readonly Reversal[]): Promise<number> {
    let added = 0;
    for (let from = 0; from < reversals.length; from += REVERSAL_CHUNK) {
      added += await this.addChunk(epoch, reversals.slice(from, from + REVERSAL_CHUNK));
    }
    return added;
  }

  /** Under the lock that corrections take: a reversal whose reason has just been corrected is left out. */
  private async addChunk(epoch: number, reversals: readonly Reversal[]): Promise<number> {
    return this.source.transaction(async (tx) => {
      await tx.query('SELECT pg_advisory_xact_lock($1)', [EPOCH_CLOSE_LOCK]);
      const rows: unknown[] = await tx.query(
        `INSERT INTO studio.ledger_outbox (entry_id, payload, closing, conviction)
         SELECT (n.entry->>'id')::uuid, n.entry, $2, n.conviction
           FROM jsonb_to_recordset($1::jsonb) AS n(entry jsonb, conviction uuid)
          WHERE CASE WHEN n.conviction IS NOT NULL
                  THEN NOT EXISTS (SELECT 1 FROM studio.corrections c WHERE c.job_id = n.conviction)
                  ELSE EXISTS (SELECT 1 FROM studio.standing_quarantines q WHERE q.hotkey = n.entry->>'hotkey'
                                  AND q.from_epoch <= $2 AND q.until_epoch > $2) END
         ON CONFLICT (entry_id) DO NOTHING RETURNING entry_id`,
        [JSON.stringify(reversals), epoch],
      );
      return rows.length;
    });
  }

  /** Whether the ledger has acknowledged everything about epochs up to this one. */
  async acknowledged(epoch: number): Promise<boolean> {
    const rows: { open: boolean }[] = await this.source.query(
      `SELECT EXISTS (SELECT 1 FROM studio.ledger_outbox
                       WHERE acked_at IS NULL AND (payload->>'epoch')::int <= $1) AS open`,
      [epoch],
    );
    return rows[0]?.open === false;
  }

  /** Reveals the epoch's draw secret: the registry may take the snapshot. */
  async settle(epoch: number): Promise<void> {
    await this.source.query(
      `INSERT INTO studio.settlements (epoch, secret)
       SELECT epoch, encode(secret, 'hex') FROM studio.draw_secrets WHERE epoch = $1
       ON CONFLICT (epoch) DO NOTHING`,
      [epoch],
    );
  }
}

interface AwardRow extends Omit<OpenAward, 'points'> {
  kind: JobKind;
  points: string;
}

/**
 * Draws are taken in epoch by epoch: the first inference that the walk has not reached tells. Two scalars, not a join: only so
 * does the index lead to that place instead of through all draws before it.
 */
const PICTURES_WAIT = `
  COALESCE((SELECT d.epoch <= $1 FROM studio.draws d
             WHERE (d.taken_at, d.job_id) > ((SELECT taken_at FROM studio.picture_walk),
                                             (SELECT job_id FROM studio.picture_walk))
               AND d.kind = 'lora-inference'
             ORDER BY d.taken_at, d.job_id LIMIT 1), false)`;

/** Per (miner, kind) of the epoch: its audits so far, and the $2 lowest u among its undrawn jobs. */
const FLOOR_CANDIDATES = `
  SELECT ranked.hotkey, ranked.kind,
         max(ranked.have)::int AS have,
         COALESCE(jsonb_agg(jsonb_build_object('jobId', job_id, 'u', u::text)) FILTER (WHERE audit_id IS NULL), '[]')
           AS undrawn
    FROM (SELECT d.hotkey, d.kind, d.job_id, d.u, a.id AS audit_id,
                 count(a.id) OVER (PARTITION BY d.hotkey, d.kind) AS have,
                 row_number() OVER (PARTITION BY d.hotkey, d.kind, (a.id IS NULL) ORDER BY d.u, d.job_id) AS rank
            FROM studio.draws d LEFT JOIN studio.audits a ON a.job_id = d.job_id AND a.round = 1
           WHERE d.epoch = $1 AND d.u IS NOT NULL) ranked
   WHERE ranked.rank <= $2
   GROUP BY ranked.hotkey, ranked.kind`;
