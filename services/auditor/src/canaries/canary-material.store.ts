import type { DataSource } from 'typeorm';
import { HOUSE_CLIENT_ID } from '@studio/shared/contract/submit-job';
import type { Engine, JobInput, JobKind } from '@studio/shared/domain/job';

/** Of the latest results of all lanes so many are looked through for clients' jobs of one. */
const RESULTS_SEARCHED = 5_000;
const EXAMPLES = 200;

const LORAS_SEARCHED = 200;
/** Fewer would have miners see the same ones all the time; more go back to LoRAs that nobody keeps. */
const LORAS = 50;

/** What canaries are made from, besides the corpus. Only reads. */
export class CanaryMaterialStore {
  constructor(private readonly source: DataSource) {}

  /** What clients last asked for, of this kind on this engine. */
  async examples(kind: JobKind, engine: Engine): Promise<JobInput[]> {
    const rows: { input: JobInput }[] = await this.source.query(
      `SELECT input FROM (
         SELECT kind, engine, client_id, input FROM studio.jobs WHERE state = 'succeeded'
          ORDER BY finished_at DESC, id DESC LIMIT ${RESULTS_SEARCHED}) latest
        WHERE kind = $1 AND engine = $2 AND client_id <> $3 LIMIT ${EXAMPLES}`,
      [kind, engine, HOUSE_CLIENT_ID],
    );
    return rows.map(({ input }) => input);
  }

  /**
   * LoRAs of an engine that canaries may render: the named ones that are stored, and those that came of training canaries.
   * Where a reference trained some, only those: a bad one of a miner could render pictures that are held against another.
   */
  async loras(engine: Engine, named: readonly string[]): Promise<string[]> {
    const stored: { sha256: string }[] = await this.source.query(
      `SELECT sha256 FROM studio.artifacts WHERE sha256 = ANY($1) AND facts->>'engine' = $2`,
      [named, engine],
    );
    const trained: { sha256: string; byReference: boolean }[] = await this.source.query(TRAINED_LORAS, [engine]);
    const sure = trained.filter(({ byReference }) => byReference);
    const usable = (sure.length > 0 ? sure : trained).slice(0, LORAS);
    return [...new Set([...stored, ...usable].map(({ sha256 }) => sha256))];
  }
}

/** The latest first. */
const TRAINED_LORAS = `
  SELECT c.sha256, c."byReference" FROM (
    SELECT own.created_at, coalesce(answer.result, j.result)->'lora'->>'sha256' AS sha256,
           answer.id IS NOT NULL AS "byReference"
      FROM (SELECT * FROM studio.canaries WHERE engine = $1 AND kind = 'lora-training'
             ORDER BY created_at DESC LIMIT ${LORAS_SEARCHED}) own
      LEFT JOIN studio.jobs answer ON answer.id = own.answer_job AND answer.state = 'succeeded'
      LEFT JOIN studio.jobs j ON j.id = own.job_id AND j.state = 'succeeded' AND NOT EXISTS (
             SELECT 1 FROM studio.verdicts v WHERE v.job_id = j.id AND v.outcome = 'invalid')) c
   WHERE c.sha256 IS NOT NULL ORDER BY c.created_at DESC`;
