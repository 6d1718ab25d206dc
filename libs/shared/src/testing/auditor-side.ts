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

/** What the auditor commits to and settles, under its own role. */
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

  close(): Promise<void> {
    return this.pool.end();
  }
}
