/**
 * An epoch that the registry is closing becomes settled: every drawn audit has its verdict, every reversal is in the
 * ledger, the draw secret is revealed. Each step asks Postgres what is still to do, so a crash anywhere changes nothing.
 */
import type { Logger } from 'pino';
import type { ClosingEpoch, ClosingStore } from './closing.store';
import type { CommitmentStore } from './commitment.store';
import type { Replays } from './replays';
import { reversalsDue } from './reversals';

export interface CloserEvents {
  /** Audits were added that are due now. */
  audits: () => void;
  /** Reversals wait in the outbox. */
  reversals: () => void;
  settled: () => void;
}

export class EpochCloser {
  /** Epoch whose floor was seen to be reached: the look at all its draws is not repeated every second. */
  private floored = 0;

  constructor(
    private readonly store: ClosingStore,
    private readonly commitments: Pick<CommitmentStore, 'ensure'>,
    private readonly replays: Pick<Replays, 'conclude'>,
    private readonly log: Pick<Logger, 'info' | 'warn'>,
    private readonly events: CloserEvents,
  ) {}

  /** Goes as far as it can. @returns whether it is worth another run at once. */
  async run(): Promise<boolean> {
    await this.commitments.ensure();
    const closing = await this.store.closing();
    if (!closing) return false;
    const { epoch, policy } = closing;
    if (this.floored !== epoch) {
      if ((await this.store.addFloorAudits(epoch, policy.audit.floorPerEpoch)) > 0) this.events.audits();
      this.floored = epoch;
    }
    if (!(await this.auditsAreOver(closing))) return false;
    await this.reverse(closing);
    if (!(await this.store.acknowledged(epoch))) return false;
    await this.store.settle(epoch);
    this.log.info({ epoch }, 'epoch settled');
    this.events.settled();
    return true;
  }

  private async auditsAreOver({ epoch, overdue }: ClosingEpoch): Promise<boolean> {
    const { audits, adapters, pictures } = await this.store.unsettled(epoch);
    if (audits === 0 && adapters === 0 && !pictures) return true;
    if (!overdue) return false;
    const ended = await this.replays.conclude(epoch);
    const unchecked = { uncheckedAdapters: adapters, uncheckedPictures: pictures };
    this.log.warn({ epoch, ended, ...unchecked }, 'audits undecided when the epoch had to close');
    // The rest, if any, with the next run; adapters and pictures are checked late then, and count at the next close.
    return (await this.store.unsettled(epoch)).audits === 0;
  }

  private async reverse({ epoch, policy: { finalityEpochs } }: ClosingEpoch): Promise<void> {
    const [convictions, quarantined] = await Promise.all([
      this.store.convictions(epoch, finalityEpochs),
      this.store.quarantined(epoch),
    ]);
    const hotkeys = [...new Set([...convictions.map(({ hotkey }) => hotkey), ...quarantined.keys()])];
    if (hotkeys.length === 0) return;
    const awards = await this.store.openAwards(hotkeys, epoch, finalityEpochs);
    const added = await this.store.addReversals(epoch, reversalsDue(awards, convictions, quarantined));
    if (added === 0) return;
    this.log.info({ epoch, added, miners: hotkeys.length }, 'awards reversed');
    this.events.reversals();
  }
}
