import { v4 as uuidv4, v7 as uuidv7 } from 'uuid';
import type { DataSource, EntityManager } from 'typeorm';
import { CANARY_PLAN_LOCK } from '@studio/shared/database/locks';
import type { Engine, JobKind } from '@studio/shared/domain/job';
import { completePolicy, epochMs, type Policy } from '@studio/shared/domain/policy';
import { sliceMsOf, type LaneRecord, type PlannedCanary, type Planning } from './canary-planner';

/** Clients' jobs of the last epoch are counted up to so many floors: by then no canary is needed. */
const FORECAST_FLOORS = 8;

/** Plans each slice of the open epoch once, whichever replica comes first. */
export class CanaryPlanStore {
  constructor(private readonly source: DataSource) {}

  /** Whether a slice is to be planned, as far as can be told without keeping other replicas out. */
  async isDue(): Promise<boolean> {
    return (await groundToPlan(this.source)) !== undefined;
  }

  /**
   * `decide` sees the lanes that `canMake` lets through.
   * @returns how many canaries were planned; 0 also where another replica was first.
   */
  async plan(
    canMake: (lane: { kind: JobKind; engine: Engine }) => boolean,
    decide: (planning: Planning) => PlannedCanary[],
  ): Promise<number> {
    return this.source.transaction(async (tx) => {
      const ground = (await isFirst(tx)) ? await groundToPlan(tx) : undefined;
      if (!ground) return 0;
      const { epoch, elapsedMs, policy } = ground;
      const { canary } = policy.audit;
      const lengthMs = epochMs(policy);
      const sliceMs = sliceMsOf(lengthMs);
      const lanes = (await laneRecords(tx, epoch, canary.floorPerEpoch)).filter(canMake);
      const planned = decide({ lanes, policy: canary, epochMs: lengthMs, leftMs: lengthMs - elapsedMs, sliceMs });
      await insert(tx, epoch, planned);
      await tx.query(
        `INSERT INTO studio.canary_plan (planned_until) VALUES (studio.now() + $1 * interval '1 millisecond')
         ON CONFLICT (one) DO UPDATE SET planned_until = EXCLUDED.planned_until`,
        [sliceMs],
      );
      return planned.length;
    });
  }
}

/** Before anything is read: what another replica has just planned has to be seen. */
async function isFirst(tx: EntityManager): Promise<boolean> {
  const rows: { held: boolean }[] = await tx.query('SELECT pg_try_advisory_xact_lock($1) AS held', [CANARY_PLAN_LOCK]);
  return rows[0]?.held === true;
}

interface Ground {
  epoch: number;
  policy: Policy;
  elapsedMs: number;
}

/** Undefined where there is nothing to plan: no open epoch, no floor, or the slice is planned. */
async function groundToPlan(tx: Pick<EntityManager, 'query'>): Promise<Ground | undefined> {
  const rows: (Ground & { plannedForMs: number | null })[] = await tx.query(
    `SELECT e.epoch, p.body AS policy, extract(epoch FROM studio.now() - e.opened_at)::float8 * 1000 AS "elapsedMs",
            extract(epoch FROM w.planned_until - studio.now())::float8 * 1000 AS "plannedForMs"
       FROM studio.epochs e JOIN studio.policies p ON p.version = e.policy_version
       LEFT JOIN studio.canary_plan w ON true
      WHERE e.state = 'open'`,
  );
  const [row] = rows;
  if (!row) return undefined;
  const { epoch, elapsedMs, plannedForMs } = row;
  const policy = completePolicy(row.policy);
  // Further ahead than a slice is no plan of ours: the clock was set back.
  const isPlanned = plannedForMs !== null && plannedForMs > 0 && plannedForMs <= sliceMsOf(epochMs(policy));
  return isPlanned || policy.audit.canary.floorPerEpoch <= 0 ? undefined : { epoch, policy, elapsedMs };
}

type LaneRow = Omit<LaneRecord, 'references'>;

async function laneRecords(tx: EntityManager, epoch: number, floor: number): Promise<LaneRecord[]> {
  const lanes: LaneRow[] = await tx.query(LANES, [epoch, floor, FORECAST_FLOORS * floor]);
  const references: { hotkey: string; kind: JobKind; engine: Engine }[] = await tx.query(
    `SELECT m.hotkey, o.kind, o.engine
       FROM studio.miners m CROSS JOIN LATERAL jsonb_to_recordset(m.offers) AS o(kind text, engine text)
      WHERE m.withdrawn_at IS NULL AND m.trusted ORDER BY m.hotkey`,
  );
  return lanes.map((lane) => ({
    ...lane,
    references: references
      .filter(({ kind, engine }) => kind === lane.kind && engine === lane.engine)
      .map(({ hotkey }) => hotkey),
  }));
}

async function insert(tx: EntityManager, epoch: number, planned: readonly PlannedCanary[]): Promise<void> {
  if (planned.length === 0) return;
  const rows = planned.map((canary) => ({ ...canary, id: uuidv7(), requestKey: uuidv4(), answerKey: uuidv4() }));
  await tx.query(
    `INSERT INTO studio.canaries (id, epoch, hotkey, kind, engine, due_at, request_key, reference, answer_key)
     SELECT id, $2, hotkey, kind, engine, studio.now() + "inMs" * interval '1 millisecond', "requestKey", reference, "answerKey"
       FROM jsonb_to_recordset($1::jsonb) AS n(id uuid, hotkey text, kind text, engine text, "inMs" float8,
            "requestKey" uuid, reference text, "answerKey" uuid)`,
    [JSON.stringify(rows), epoch],
  );
}

/** Per miner and offer: $1 the epoch, $2 how far its jobs are counted, $3 how far those of the epoch before. */
const LANES = `
  SELECT m.hotkey, o.kind, o.engine,
         (SELECT count(*)::int FROM (
            SELECT 1 FROM studio.draws d
             WHERE d.hotkey = m.hotkey AND d.kind = o.kind AND d.epoch = $1 AND d.engine = o.engine LIMIT $2) now) AS done,
         (SELECT count(*)::int FROM (
            SELECT 1 FROM studio.draws d
             WHERE d.hotkey = m.hotkey AND d.kind = o.kind AND d.epoch = $1::int - 1 AND d.engine = o.engine
               AND d.q IS NOT NULL AND NOT EXISTS (SELECT 1 FROM studio.canaries own WHERE own.job_id = d.job_id)
             LIMIT $3) before) AS before,
         coalesce(c.open, 0) AS open, coalesce(c.asked, 0) AS asked, coalesce(c.aimed, 0) AS aimed
    FROM studio.miners m CROSS JOIN LATERAL jsonb_to_recordset(m.offers) AS o(kind text, engine text)
    LEFT JOIN (
      SELECT hotkey, kind, engine, count(*) FILTER (WHERE state <> 'ended')::int AS open,
             count(*) FILTER (WHERE epoch = $1 AND outcome = 'asked')::int AS asked,
             count(*) FILTER (WHERE epoch = $1)::int AS aimed
        FROM studio.canaries WHERE epoch = $1 OR state <> 'ended' GROUP BY hotkey, kind, engine) c
      ON c.hotkey = m.hotkey AND c.kind = o.kind AND c.engine = o.engine
   WHERE m.withdrawn_at IS NULL AND NOT m.trusted
     AND NOT EXISTS (SELECT 1 FROM studio.standing_quarantines q
                      WHERE q.hotkey = m.hotkey AND q.kind = o.kind AND $1 >= q.from_epoch AND $1 < q.until_epoch)
   ORDER BY m.hotkey, o.kind, o.engine`;
