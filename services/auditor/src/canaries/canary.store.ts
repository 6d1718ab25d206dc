import type { DataSource, EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import type { Engine, JobInput, JobKind } from '@studio/shared/domain/job';
import type { MadeRequest } from './canary-maker';

/** A canary whose time has come. */
export interface DueCanary {
  id: string;
  hotkey: string;
  kind: JobKind;
  engine: Engine;
  state: 'planned' | 'answered';
  /** In a client's words; null until it is made. */
  request: Record<string, unknown> | null;
  requestKey: string;
  /** Who is asked for the answer first; null: nobody. */
  reference: string | null;
  answerKey: string;
  /** Of an answered one: the input that the reference had. */
  answerInput: JobInput | null;
}

export interface Ended {
  canaries: number;
  /** Known answers that are there to be compared with. */
  audits: number;
}

/** Longer than making one and waiting for the querier's answer takes, for all that are claimed together. */
const CLAIM_MS = 15_000;

/** Of one transaction: it holds their audits. */
const ENDED_AT_ONCE = 200;

/** The life of a canary once it is planned. Every step may be repeated, and may run on two replicas at once. */
export class CanaryStore {
  constructor(private readonly source: DataSource) {}

  /** Canaries to be asked for now, by this process: they are due again later, in case that nothing comes of it. */
  async claimDue(limit: number): Promise<DueCanary[]> {
    return this.source.query(
      `WITH due AS MATERIALIZED (
         SELECT id FROM studio.canaries WHERE state IN ('planned', 'answered') AND due_at <= studio.now()
          ORDER BY due_at, id LIMIT $1 FOR UPDATE SKIP LOCKED),
       mine AS (
         UPDATE studio.canaries c SET due_at = studio.now() + interval '${CLAIM_MS} milliseconds'
           FROM due WHERE c.id = due.id RETURNING c.*)
       SELECT c.id, c.hotkey, c.kind, c.engine, c.state, c.request, c.request_key AS "requestKey", c.reference,
              c.answer_key AS "answerKey", j.input AS "answerInput"
         FROM mine c LEFT JOIN studio.jobs j ON c.state = 'answered' AND j.id = c.answer_job
        ORDER BY c.created_at, c.id`,
      [limit],
    );
  }

  /**
   * From now on the same words go out, however often they are sent.
   * @returns `repeated`: exactly this was made before. `taken`: another replica has settled others.
   */
  async settleRequest(id: string, { request, print }: MadeRequest): Promise<'settled' | 'repeated' | 'taken'> {
    try {
      const [, count]: [unknown, number] = await this.source.query(
        'UPDATE studio.canaries SET request = $2, print = $3 WHERE id = $1 AND request IS NULL',
        [id, JSON.stringify(request), print],
      );
      return count > 0 ? 'settled' : 'taken';
    } catch (error) {
      if ((error as { code?: unknown }).code === UNIQUE_VIOLATION) return 'repeated';
      throw error;
    }
  }

  /** The reference's job exists. */
  async answering(id: string, answerJob: string): Promise<void> {
    await this.source.query(
      `UPDATE studio.canaries SET state = 'answering', answer_job = $2 WHERE id = $1 AND state = 'planned'`,
      [id, answerJob],
    );
  }

  /** No reference takes it: it is a canary without a known answer from now on. */
  async withoutAnswer(id: string): Promise<void> {
    await this.source.query(
      `UPDATE studio.canaries SET reference = NULL, due_at = studio.now() WHERE id = $1 AND state = 'planned'`,
      [id],
    );
  }

  /**
   * Answers that have come: the miner's turn is after a random time, so that the two are not seen to belong together. Where
   * none will come, at once.
   */
  async takeAnswers(): Promise<void> {
    await this.source.query(
      `UPDATE studio.canaries c
          SET state = CASE WHEN j.state = 'succeeded' THEN 'answered' ELSE 'planned' END,
              reference = CASE WHEN j.state = 'succeeded' THEN c.reference END,
              due_at = studio.now() + CASE WHEN j.state = 'succeeded' THEN -ln(1 - random()) ELSE 0 END * coalesce((
                SELECT (p.body->'audit'->>'meanDelayMs')::float8
                  FROM studio.epochs e JOIN studio.policies p ON p.version = e.policy_version
                 WHERE e.state = 'open'), 0) * interval '1 millisecond'
         FROM studio.jobs j
        WHERE c.state = 'answering' AND j.id = c.answer_job AND j.finished_at IS NOT NULL`,
    );
  }

  /** The miner's job exists: its words are no longer needed. */
  async submitted(id: string, jobId: string): Promise<void> {
    await this.source.query(
      `UPDATE studio.canaries SET state = 'submitted', job_id = $2, request = NULL
        WHERE id = $1 AND state IN ('planned', 'answered')`,
      [id, jobId],
    );
  }

  /** It will not become a job, however often it is asked for. */
  async refused(id: string, refusal: string): Promise<void> {
    await this.source.query(
      `UPDATE studio.canaries SET state = 'ended', outcome = 'refused', refusal = $2, request = NULL
        WHERE id = $1 AND state IN ('planned', 'answered')`,
      [id, refusal],
    );
  }

  /** Ends canaries whose job is in the books or failed, and has those with a known answer compared. */
  async end(): Promise<Ended> {
    return this.source.transaction(async (tx) => {
      const over: { id: string }[] = await tx.query(
        `SELECT c.id FROM studio.canaries c JOIN studio.jobs j ON j.id = c.job_id
          WHERE c.state = 'submitted' AND (
            j.state IN ('failed', 'cancelled', 'expired') OR EXISTS (SELECT 1 FROM studio.draws d WHERE d.job_id = c.job_id))
          ORDER BY c.id LIMIT $1 FOR UPDATE OF c SKIP LOCKED`,
        [ENDED_AT_ONCE],
      );
      if (over.length === 0) return { canaries: 0, audits: 0 };
      const ids = over.map(({ id }) => id);
      const audits = await compareWithAnswers(tx, ids);
      await tx.query(END, [ids]);
      return { canaries: ids.length, audits };
    });
  }
}

/** SQLSTATE. */
const UNIQUE_VIOLATION = '23505';

/**
 * A known answer is an audit whose first replay is there already: the next look at it decides, or asks for confirmation. A
 * job that was drawn as well keeps its draw, and the reference is spared the work. @returns how many can be compared.
 */
async function compareWithAnswers(tx: EntityManager, ids: readonly string[]): Promise<number> {
  const known: { jobId: string }[] = await tx.query(
    `SELECT c.job_id AS "jobId" FROM studio.canaries c JOIN studio.draws d ON d.job_id = c.job_id
      WHERE c.id = ANY($1::uuid[]) AND c.reference IS NOT NULL ORDER BY c.job_id`,
    [ids],
  );
  if (known.length === 0) return 0;
  await tx.query(
    `INSERT INTO studio.audits (id, job_id, hotkey, operator, kind, engine, epoch, why, due_at)
     SELECT n.id, d.job_id, d.hotkey, d.operator, d.kind, d.engine, d.epoch, 'canary', studio.now()
       FROM unnest($1::uuid[], $2::uuid[]) AS n(id, job_id) JOIN studio.draws d ON d.job_id = n.job_id
     ON CONFLICT (job_id, round) DO NOTHING`,
    [known.map(() => uuidv7()), known.map(({ jobId }) => jobId)],
  );
  const compared: unknown[] = await tx.query(
    `WITH waiting AS (
       SELECT a.id, c.answer_key, c.answer_job, c.reference
         FROM studio.canaries c JOIN studio.audits a ON a.job_id = c.job_id AND a.round = 1 AND a.state = 'waiting'
        WHERE c.id = ANY($1::uuid[]) AND c.reference IS NOT NULL ORDER BY a.id FOR UPDATE OF a)
     INSERT INTO studio.audit_replays (audit_id, ordinal, judge, request_key, routing, job_id)
     SELECT id, 1, 'trusted', answer_key, jsonb_build_object('onlyHotkey', reference), answer_job FROM waiting
     ON CONFLICT DO NOTHING RETURNING audit_id`,
    [ids],
  );
  return compared.length;
}

/** Where the canary's own miner did not do it: whether it had its turn. */
const END = `
  UPDATE studio.canaries c SET state = 'ended', outcome = CASE
           WHEN EXISTS (SELECT 1 FROM studio.draws d WHERE d.job_id = c.job_id AND d.hotkey = c.hotkey) THEN 'done'
           WHEN EXISTS (SELECT 1 FROM studio.attempts a WHERE a.job_id = c.job_id AND a.hotkey = c.hotkey) THEN 'asked'
           ELSE 'elsewhere' END
   WHERE c.id = ANY($1::uuid[])`;
