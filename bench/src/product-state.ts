import { setTimeout as sleep } from 'node:timers/promises';
import type { InferenceInput } from '@studio/shared/domain/job';
import type { Product } from './product-system';

/** Audits are due within a second and take milliseconds; a burst leaves a hundred of them. */
const SETTLE_BOUND_MS = 60_000;
const POLL_MS = 100;

/** Four standard deviations: one honest run in sixteen thousand lies outside. */
const DRAW_TOLERANCE = 4;

interface Tally {
  jobs: number;
  succeeded: number;
  repeated: number;
  awarded: number;
  drawn: number;
  expected: number;
  variance: number;
  valid: number;
}

/** What the database says, read by the owner, who may read everything. */
export class ProductState {
  constructor(private readonly product: Product) {}

  /** Awards so far: entries of the ledger are numbered without gaps, and no epoch closes during a run. */
  async ledgerEntries(): Promise<number> {
    return this.number('SELECT last_seq FROM studio.score_counter');
  }

  /** Jobs of ours or of an audit that have not ended. */
  async unfinished(): Promise<number> {
    return this.number(`SELECT count(*) FROM studio.jobs WHERE state IN ('queued', 'running', 'awaiting-callback')`);
  }

  /** The stored input of a job that went through the api. */
  async anyInput(): Promise<InferenceInput> {
    const sql = 'SELECT input FROM studio.jobs WHERE client_id = $1 LIMIT 1';
    const { rows } = await this.product.owner.query<{ input: InferenceInput }>(sql, [this.product.clientId]);
    if (!rows[0]) throw new Error('no job has gone through the api yet');
    return rows[0].input;
  }

  /** Waits until every job has ended and is awarded, and every audit that was drawn has its verdict. */
  async settled(): Promise<void> {
    const end = performance.now() + SETTLE_BOUND_MS;
    while ((await this.openWork()) > 0) {
      if (performance.now() > end) throw new Error(`${await this.openWork()} jobs, awards or audits are still open`);
      await sleep(POLL_MS);
    }
  }

  private async openWork(): Promise<number> {
    return this.number(
      `SELECT (SELECT count(*) FROM studio.jobs WHERE state IN ('queued', 'running', 'awaiting-callback'))
            + (SELECT count(*) FROM studio.jobs j WHERE j.state = 'succeeded'
                AND NOT EXISTS (SELECT 1 FROM studio.draws d WHERE d.job_id = j.id))
            + (SELECT count(*) FROM studio.ledger_outbox WHERE acked_at IS NULL)
            + (SELECT count(*) FROM studio.audits WHERE state <> 'decided')`,
    );
  }

  /** Every submitted job must have succeeded and earned exactly one award; about q of them must have been audited. */
  async problems(submitted: readonly string[]): Promise<string[]> {
    const tally = await this.tally(submitted);
    const problems: string[] = [];
    const expect = (what: string, found: number, wanted: number): void => {
      if (found !== wanted) problems.push(`${what}: ${found} instead of ${wanted}`);
    };
    expect('acknowledged jobs that are stored', tally.jobs, submitted.length);
    expect('jobs that succeeded', tally.succeeded, submitted.length);
    expect('jobs that needed more than one attempt', tally.repeated, 0);
    expect('jobs with one award in the ledger', tally.awarded, submitted.length);
    expect('audits with the verdict valid', tally.valid, tally.drawn);
    const off = Math.abs(tally.drawn - tally.expected) / Math.sqrt(Math.max(tally.variance, 1));
    if (off > DRAW_TOLERANCE)
      problems.push(`${tally.drawn} jobs were drawn where ${tally.expected.toFixed(0)} should be`);
    return problems;
  }

  private async tally(submitted: readonly string[]): Promise<Tally> {
    const { rows } = await this.product.owner.query<Tally>(
      `WITH ours AS (SELECT unnest($1::uuid[]) AS id),
            jobs AS (SELECT j.* FROM studio.jobs j JOIN ours USING (id)),
            draws AS (SELECT d.* FROM studio.draws d JOIN ours ON ours.id = d.job_id)
       SELECT (SELECT count(*)::int FROM jobs) AS jobs,
              (SELECT count(*)::int FROM jobs WHERE state = 'succeeded') AS succeeded,
              (SELECT count(*)::int FROM jobs WHERE attempt_no <> 1) AS repeated,
              (SELECT count(*)::int FROM ours JOIN studio.ledger l ON l.job_id = ours.id AND l.type = 'award') AS awarded,
              (SELECT count(*)::int FROM draws WHERE drawn) AS drawn,
              (SELECT coalesce(sum(q), 0) FROM draws) AS expected,
              (SELECT coalesce(sum(q * (1 - q)), 0) FROM draws) AS variance,
              (SELECT count(*)::int FROM ours JOIN studio.verdicts v ON v.job_id = ours.id AND v.outcome = 'valid') AS valid`,
      [submitted],
    );
    return rows[0]!;
  }

  private async number(sql: string): Promise<number> {
    const { rows } = await this.product.owner.query<Record<string, string>>(sql);
    return Number(Object.values(rows[0]!)[0]);
  }
}
