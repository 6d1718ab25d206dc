import type { MinerScore, ScoreBoard } from '@studio/shared/contract/scores';
import { StudioError } from '@studio/shared/domain/errors';
import type { EpochStore } from './epoch.store';
import type { ScoreCache } from './score-cache';
import { minerScores } from './snapshots';

/** The scores of the open epoch so far, in the form of a snapshot. */
export class ScoreBoards {
  /** Weights of ten thousand miners take tens of milliseconds: once per change, not once per reader. */
  private last: ScoreBoard | undefined;

  constructor(
    private readonly epochs: EpochStore,
    private readonly cache: ScoreCache,
  ) {}

  /** @throws StudioError NOT_FOUND before the first epoch. */
  async current(): Promise<ScoreBoard> {
    const open = await this.epochs.open();
    if (open === null) throw new StudioError('NOT_FOUND', 'no epoch is open yet: try again in a moment');
    const { seq, sums } = await this.cache.sums(open);
    if (this.last?.epoch === open.epoch && this.last.last_seq === seq) return this.last;
    this.last = { epoch: open.epoch, last_seq: seq, miners: minerScores(sums, open.policy).miners };
    return this.last;
  }

  /** @throws StudioError NOT_FOUND for a miner without a valid job in the window. */
  async of(hotkey: string): Promise<MinerScore> {
    const board = await this.current();
    const miner = board.miners.find((score) => score.hotkey === hotkey);
    if (!miner) throw new StudioError('NOT_FOUND', `${hotkey} has no valid job in the window of epoch ${board.epoch}`);
    return miner;
  }
}
