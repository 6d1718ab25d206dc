import type { DataSource } from 'typeorm';
import type { LaneTurns } from '@studio/shared/domain/fairness';
import type { Engine, JobKind } from '@studio/shared/domain/job';
import { DEFAULT_POLICY } from '@studio/shared/domain/policy';
import { MEMBER_OF_M, TAKES_PART } from './metagraph/metagraph.store';

export interface LaneRow extends LaneTurns {
  kind: JobKind;
  engine: Engine;
}

/**
 * Everybody's turns. `$1` members only, `$2` milliseconds back from now, `$3` slots of who has proven none yet.
 * A miner takes part in a lane from its registration on, unless it is quarantined for the kind.
 */
const TURNS = `
  WITH turns AS (
    SELECT hotkey, kind, engine, count(*)::int AS jobs FROM studio.attempts
     WHERE sent_at > studio.now() - $2::float8 * interval '1 millisecond' GROUP BY hotkey, kind, engine
  ), policy AS (
    SELECT (p.body->'routing'->>'rampStart')::int AS ramp_start
      FROM studio.epochs e JOIN studio.policies p ON p.version = e.policy_version WHERE e.state = 'open'
  )
  SELECT m.hotkey, o.kind, o.engine, coalesce(t.jobs, 0) AS jobs,
         least(o.slots, coalesce(s.proven, (SELECT ramp_start FROM policy), $3::int)) AS slots,
         least($2::float8, 1000 * extract(epoch FROM studio.now() - m.registered_at)::float8) AS "presentMs"
    FROM studio.miners m ${MEMBER_OF_M}
   CROSS JOIN LATERAL jsonb_to_recordset(m.offers) AS o(kind text, engine text, slots int)
    LEFT JOIN studio.miner_slots s ON s.hotkey = m.hotkey AND s.kind = o.kind AND s.engine = o.engine
    LEFT JOIN turns t ON t.hotkey = m.hotkey AND t.kind = o.kind AND t.engine = o.engine
   WHERE m.withdrawn_at IS NULL AND NOT m.trusted AND ${TAKES_PART}
     AND NOT EXISTS (SELECT 1 FROM studio.standing_quarantines q JOIN studio.epochs e ON e.state = 'open'
                      WHERE q.hotkey = m.hotkey AND q.kind = o.kind
                        AND e.epoch >= q.from_epoch AND e.epoch < q.until_epoch)
   ORDER BY o.kind, o.engine, m.hotkey`;

/** Who got how many turns, from the attempts alone: they are what everybody can check. */
export class FairnessStore {
  constructor(
    private readonly db: DataSource,
    private readonly membersOnly: boolean,
  ) {}

  async turns(spanMs: number): Promise<LaneRow[]> {
    return this.db.query<LaneRow[]>(TURNS, [this.membersOnly, spanMs, DEFAULT_POLICY.routing.rampStart]);
  }
}
