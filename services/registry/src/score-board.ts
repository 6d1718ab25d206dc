import type { MinerScore, ScoreBoard } from '@studio/shared/contract/scores';
import { StudioError } from '@studio/shared/domain/errors';
import { Batcher } from '@studio/shared/platform/batcher';
import type { EpochStore } from './epoch.store';
import type { MetagraphStore } from './metagraph/metagraph.store';
import type { ScoreCache } from './score-cache';
import type { BoardState, ScoreStore } from './score.store';
import { minerScores } from './snapshots';
import { tagged, type Tagged } from './tagged-reply';

/** A board as it is served: composed, written and hashed once per change, however many ask. */
export interface ServedBoard extends Tagged {
  board: ScoreBoard;
  /** When the newest event of the log was written; null while there is none. */
  changedAt: Date | null;
}

/** The scores of the open epoch so far, in the form of a snapshot. */
export class ScoreBoards {
  private last: { key: string; served: ServedBoard } | undefined;

  /**
   * Readers that come while one look at the database is under way share the next one: a thousand of them ask Postgres as
   * often as one would that never stops, and nobody gets a board that is older than the question.
   */
  private readonly looks = new Batcher<null, ServedBoard>(
    async (readers) => {
      const served = await this.look();
      return readers.map(() => served);
    },
    { maxBatch: Infinity, concurrency: 1 },
  );

  constructor(
    private readonly epochs: Pick<EpochStore, 'open'>,
    private readonly scores: Pick<ScoreStore, 'boardState'>,
    private readonly cache: Pick<ScoreCache, 'sums'>,
    private readonly metagraphs: Pick<MetagraphStore, 'current' | 'used'>,
  ) {}

  /** @throws StudioError NOT_FOUND before the first epoch. */
  served(): Promise<ServedBoard> {
    return this.looks.add(null);
  }

  /** @throws StudioError NOT_FOUND before the first epoch. */
  async current(): Promise<ScoreBoard> {
    return (await this.served()).board;
  }

  /** @throws StudioError NOT_FOUND for a miner without a valid job in the window. */
  async of(hotkey: string): Promise<MinerScore> {
    const board = await this.current();
    const miner = board.miners.find((score) => score.hotkey === hotkey);
    if (!miner) throw new StudioError('NOT_FOUND', `${hotkey} has no valid job in the window of epoch ${board.epoch}`);
    return miner;
  }

  private async look(): Promise<ServedBoard> {
    const state = await this.scores.boardState(this.metagraphs.used);
    if (state === null) throw new StudioError('NOT_FOUND', 'no epoch is open yet: try again in a moment');
    const key = JSON.stringify(state);
    if (this.last?.key !== key) this.last = { key, served: await this.compose(state) };
    return this.last.served;
  }

  private async compose({ changedAt }: BoardState): Promise<ServedBoard> {
    const open = await this.epochs.open();
    if (open === null) throw new StudioError('NOT_FOUND', 'no epoch is open yet: try again in a moment');
    const stored = await this.metagraphs.current();
    const metagraph = stored && { block: stored.block, uids: stored.uids };
    const { seq, sums } = await this.cache.sums(open);
    const { miners } = minerScores(sums, open.policy, metagraph);
    const board: ScoreBoard = { epoch: open.epoch, last_seq: seq, metagraph, miners };
    return { board, changedAt, ...tagged(board) };
  }
}
