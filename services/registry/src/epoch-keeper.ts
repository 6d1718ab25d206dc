import { SUBJECTS } from '@studio/shared/contract/subjects';
import { isStudioError, StudioError } from '@studio/shared/domain/errors';
import { epochMs, type Policy } from '@studio/shared/domain/policy';
import type { Logger } from '@studio/shared/platform/logger';
import { opensCommitment } from '@studio/shared/protocol/draws';
import type { Boundary, EpochStore } from './epoch.store';
import type { SnapshotStore } from './snapshot.store';
import { composeSnapshot } from './snapshots';

export interface EpochKeeperOptions {
  epochs: EpochStore;
  snapshots: SnapshotStore;
  /** The policy of a new database. */
  policy: Policy;
  hint: (subject: string) => void;
  /** New score events are in the log. */
  onEvents: () => void;
  log: Pick<Logger, 'info' | 'error' | 'warn'>;
}

/**
 * Moves epochs on: opens the first, closes one by the clock or on an operator's word, takes the snapshot once the
 * auditor has settled. Every step is one transaction that only one replica can win, so all replicas run it.
 */
export class EpochKeeper {
  /** Epoch whose wrong secret was already reported: once, not every second. */
  private reported = 0;

  constructor(private readonly options: EpochKeeperOptions) {}

  /** One sweep. @returns true when something moved, and the next step may be due already. */
  async run(): Promise<boolean> {
    const { epochs, policy, hint } = this.options;
    const settled = await this.settle();
    const open = await epochs.open();
    if (open === null) {
      await epochs.bootstrapPolicy(policy);
      const opened = await epochs.openFirst();
      if (opened) hint(SUBJECTS.epochChanged.subject);
      return opened || settled;
    }
    if (open.nowMs < open.openedAt.getTime() + epochMs(open.policy)) return settled;
    return (await this.closeByClock(open.epoch)) || settled;
  }

  /**
   * Closes the open epoch now.
   * @param expected refuse when another one is open: a repeated order must not close the next epoch too.
   * @throws StudioError EPOCH_NOT_CLOSABLE, with what to wait for.
   */
  async closeNow(expected?: number): Promise<Boundary> {
    const open = await this.options.epochs.open();
    if (open === null) throw new StudioError('EPOCH_NOT_CLOSABLE', 'no epoch is open yet: see that the auditor runs');
    if (expected !== undefined && open.epoch !== expected) {
      throw new StudioError('EPOCH_NOT_CLOSABLE', `epoch ${expected} is not open; epoch ${open.epoch} is`);
    }
    const boundary = await this.close(open.epoch);
    if (boundary === null) {
      throw new StudioError('EPOCH_NOT_CLOSABLE', `epoch ${open.epoch} was closed by somebody else at this moment`);
    }
    return boundary;
  }

  private async closeByClock(epoch: number): Promise<boolean> {
    try {
      return (await this.close(epoch)) !== null;
    } catch (error) {
      // The previous epoch's audits, or the next draw's commitment, are awaited: the epoch just lasts longer.
      if (isStudioError(error) && error.code === 'EPOCH_NOT_CLOSABLE') return false;
      throw error;
    }
  }

  private async close(epoch: number): Promise<Boundary | null> {
    const boundary = await this.options.epochs.close(epoch);
    if (boundary) {
      this.options.log.info(boundary, 'epoch is closing');
      this.options.hint(SUBJECTS.epochChanged.subject);
    }
    return boundary;
  }

  private async settle(): Promise<boolean> {
    const settled = await this.options.epochs.settled();
    if (settled === null) return false;
    const { epoch, secret } = settled;
    if (!opensCommitment(secret, epoch.commitment)) {
      this.report(epoch.epoch, epoch.commitment);
      return false;
    }
    const seq = await this.options.snapshots.take(epoch, (facts) => composeSnapshot({ epoch, secret, ...facts }));
    if (seq === null) return false;
    this.options.log.info({ epoch: epoch.epoch, seq }, 'snapshot taken');
    this.options.hint(SUBJECTS.epochChanged.subject);
    this.options.onEvents();
    return true;
  }

  /** The draw was not the one committed to. Nothing may be built on it: the epoch stays closing until people look. */
  private report(epoch: number, commitment: string): void {
    if (this.reported === epoch) return;
    this.reported = epoch;
    this.options.log.error(
      { epoch, commitment },
      'the revealed draw secret does not hash to the commitment: no snapshot is taken; examine the auditor',
    );
  }
}
