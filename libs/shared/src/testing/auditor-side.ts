import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { Pool } from 'pg';
import type { LedgerEntryMessage } from '../contract/ledger';
import type { TestDatabase } from './postgres';

/** An award as the auditor's outbox sends it; every field has a default. */
export function someAward(fields: Partial<LedgerEntryMessage> = {}): LedgerEntryMessage {
  return {
    id: randomUUID(),
    type: 'award',
    hotkey: 'miner-a',
    kind: 'lora-training',
    jobId: randomUUID(),
    epoch: 1,
    points: '700000',
    reason: 'completed and valid',
    policyVersion: 1,
    ...fields,
  };
}

export function reversalOf(award: LedgerEntryMessage, fields: Partial<LedgerEntryMessage> = {}): LedgerEntryMessage {
  const points = (-BigInt(award.points)).toString();
  return { ...award, id: randomUUID(), type: 'reversal', points, reason: 'replays disagree', ...fields };
}

export function restorationOf(
  reversal: LedgerEntryMessage,
  fields: Partial<LedgerEntryMessage> = {},
): LedgerEntryMessage {
  const points = (-BigInt(reversal.points)).toString();
  return { ...reversal, id: randomUUID(), type: 'restoration', points, reason: 'the appeal was right', ...fields };
}

/** One verdict; every field but the first two has a default. */
export interface SomeVerdict {
  jobId: string;
  hotkey: string;
  epoch?: number;
  outcome?: 'valid' | 'invalid' | 'inconclusive';
  why?: 'draw' | 'floor' | 'copy' | 'replica' | 'canary';
  reason?: string;
  /** What the comparison measured, for engines that are compared within a tolerance. */
  distances?: Record<string, number>[];
}

interface SomeDraw {
  why: string;
  q: number | null;
  u: string | null;
  epoch: number;
  policyVersion: number;
}

/** What the auditor commits to, settles, decides and takes back, under its own role. */
export class AuditorSide {
  private readonly pool: Pool;
  private readonly secrets = new Map<number, string>();

  constructor({ urls }: TestDatabase) {
    this.pool = new Pool({ connectionString: urls.auditor, max: 2 });
  }

  /** Publishes the hash of a fresh secret for each epoch. */
  async commit(...epochs: number[]): Promise<void> {
    for (const epoch of epochs) {
      const secret = randomBytes(32);
      this.secrets.set(epoch, secret.toString('hex'));
      await this.pool.query('INSERT INTO studio.draw_commitments (epoch, commitment) VALUES ($1, $2)', [
        epoch,
        createHash('sha256').update(secret).digest('hex'),
      ]);
    }
  }

  /** Reveals the epoch's secret: every reversal is in the ledger. */
  async settle(epoch: number, secret = this.secrets.get(epoch)): Promise<void> {
    await this.pool.query('INSERT INTO studio.settlements (epoch, secret) VALUES ($1, $2)', [epoch, secret]);
  }

  async quarantine(hotkey: string, kind: string, fromEpoch: number, untilEpoch: number): Promise<void> {
    await this.pool.query(
      `INSERT INTO studio.quarantines (id, hotkey, kind, from_epoch, until_epoch, reason)
       VALUES ($1, $2, $3, $4, $5, 'CUSUM above its threshold')`,
      [randomUUID(), hotkey, kind, fromEpoch, untilEpoch],
    );
  }

  /** Every quarantine of the miner falls. */
  async lift(hotkey: string, cause: 'appeal' | 'amnesty'): Promise<void> {
    await this.pool.query(
      `INSERT INTO studio.quarantine_lifts (quarantine_id, cause, cause_id)
       SELECT id, $2, $3 FROM studio.quarantines WHERE hotkey = $1 ON CONFLICT DO NOTHING`,
      [hotkey, cause, randomUUID()],
    );
  }

  /** Draw, audit and verdict of a training on `ref-sep-v1`. */
  async judge(verdict: SomeVerdict): Promise<void> {
    const { jobId, hotkey, epoch = 1, why = 'draw' } = verdict;
    const [q, u] = why === 'replica' || why === 'canary' ? [null, null] : [0.1, '7'];
    await this.pool.query(
      `INSERT INTO studio.draws (job_id, attempt_no, hotkey, operator, kind, engine, epoch, policy_version, latency_us, points,
                                 award_id, q, u, drawn, finished_at)
       VALUES ($1, 1, $2, $2, 'lora-training', 'ref-sep-v1', $3, 1, 1000, 5, $4, $5, $6, $5::float8 IS NOT NULL, studio.now())`,
      [jobId, hotkey, epoch, randomUUID(), q, u],
    );
    await this.decide(1, verdict, { why, q, u, epoch, policyVersion: 1 });
  }

  /** The appeal against a verdict: the audit done again. */
  async judgeAgain(verdict: SomeVerdict): Promise<void> {
    await this.decide(2, verdict, { why: 'appeal', q: 0.1, u: '7', epoch: verdict.epoch ?? 1, policyVersion: 1 });
  }

  private async decide(round: 1 | 2, verdict: SomeVerdict, draw: SomeDraw): Promise<void> {
    const { jobId, hotkey, epoch = 1, outcome = 'invalid', reason = 'two replays agree with each other' } = verdict;
    const replay = { judge: 'trusted', hotkey: 'the-reference', digest: 'c3d4', agrees: outcome === 'valid' };
    const replays = [1, 2].map((ordinal) => ({
      ...replay,
      ordinal,
      jobId: randomUUID(),
      ...(verdict.distances && { distances: verdict.distances }),
    }));
    const evidence = { digest: 'a1b2', replays, draw, suspicion: null, kappa: 1 };
    const audit = randomUUID();
    await this.pool.query(
      `INSERT INTO studio.audits (id, job_id, round, hotkey, operator, kind, engine, epoch, why, state, due_at)
       VALUES ($1, $2, $3, $4, $4, 'lora-training', 'ref-sep-v1', $5, $6, 'decided', studio.now())`,
      [audit, jobId, round, hotkey, epoch, draw.why],
    );
    await this.pool.query(
      `INSERT INTO studio.verdicts (audit_id, job_id, attempt_no, hotkey, kind, epoch, decided_in, outcome, reason, evidence)
       VALUES ($1, $2, 1, $3, 'lora-training', $4, $4, $5, $6, $7)`,
      [audit, jobId, hotkey, epoch, outcome, reason, JSON.stringify(evidence)],
    );
  }

  /** The first verdict on the job no longer stands. */
  async correct(jobId: string, cause: 'appeal' | 'amnesty', reason: string): Promise<void> {
    await this.pool.query(
      `INSERT INTO studio.corrections (job_id, audit_id, hotkey, kind, cause, cause_id, reason)
       SELECT a.job_id, a.id, a.hotkey, a.kind, $2, $3, $4 FROM studio.audits a WHERE a.job_id = $1 AND a.round = 1`,
      [jobId, cause, randomUUID(), reason],
    );
  }

  close(): Promise<void> {
    return this.pool.end();
  }
}
