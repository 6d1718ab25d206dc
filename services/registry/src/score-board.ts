import type { MinerScore, ScoreBoard } from '@studio/shared/contract/scores';
import { StudioError } from '@studio/shared/domain/errors';
import type { EpochStore } from './epoch.store';
import type { MetagraphStore } from './metagraph/metagraph.store';
import type { ScoreCache } from './score-cache';
import { minerScores } from './snapshots';

/** The scores of the open epoch so far, in the form of a snapshot. */
export class ScoreBoards {
  /** Weights of ten thousand miners take tens of milliseconds: once per change, not once per reader. */
  private last: { board: ScoreBoard; readAtMs: number | undefined } | undefined;

  constructor(
    private readonly epochs: EpochStore,
    private readonly cache: ScoreCache,
    private readonly metagraphs: MetagraphStore,
  ) {}

  /** @throws StudioError NOT_FOUND before the first epoch. */
  async current(): Promise<ScoreBoard> {
    const open = await this.epochs.open();
    if (open === null) throw new StudioError('NOT_FOUND', 'no epoch is open yet: try again in a moment');
    const stored = await this.metagraphs.current();
    const { seq, sums } = await this.cache.sums(open);
    const readAtMs = stored?.readAt.getTime();
    const { last } = this;
    if (last?.board.epoch === open.epoch && last.board.last_seq === seq && last.readAtMs === readAtMs)
      return last.board;
    const metagraph = stored && { block: stored.block, uids: stored.uids };
    const { miners } = minerScores(sums, open.policy, metagraph);
    this.last = { board: { epoch: open.epoch, last_seq: seq, metagraph, miners }, readAtMs };
    return this.last.board;
  }

  /** @throws StudioError NOT_FOUND for a miner without a valid job in the window. */
  async of(hotkey: string): Promise<MinerScore> {
    const board = await this.current();
    const miner = board.miners.find((score) => score.hotkey === hotkey);
    if (!miner) throw new StudioError('NOT_FOUND', `${hotkey} has no valid job in the window of epoch ${board.epoch}`);
    return miner;
  }
}
