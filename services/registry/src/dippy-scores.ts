/**
 * The scores as the public Dippy Studio orchestrator serves them, so that its validators work by changing the host. They
 * use a miner's score only where its status is COMPLETED, compare the scores with each other and know no window, no kinds and
 * no snapshots: `/v1/scores` is the door for everybody else.
 */
import type { DippyScores } from '@studio/shared/contract/scores';
import type { ScoreBoards, ServedBoard } from './score-board';
import type { ScoreStore } from './score.store';
import { tagged, type Tagged } from './tagged-reply';

/**
 * SLASHED is who is in quarantine and left with nothing: whoever still has points is COMPLETED, so that a validator of this form
 * ranks everybody as the snapshot does.
 * @param quarantined hotkeys in quarantine for any kind.
 */
export function dippyScores(
  { board, changedAt }: Pick<ServedBoard, 'board' | 'changedAt'>,
  quarantined: ReadonlySet<string>,
): DippyScores {
  const points = board.miners.map((miner) => BigInt(miner.points));
  const best = points.reduce((a, b) => (b > a ? b : a), 0n);
  const scores = board.miners.map(({ hotkey }, index) => {
    const own = points[index] ?? 0n;
    const status = own === 0n && quarantined.has(hotkey) ? 'SLASHED' : 'COMPLETED';
    // One division of whole numbers: equal points stay equal, and the best has 1.
    const total_score = best === 0n ? 0 : Number(own) / Number(best);
    return [hotkey, { status, score: { total_score } }] as const;
  });
  return {
    scores: Object.fromEntries(scores),
    stats: {
      source: 'ledger',
      requested: scores.length,
      available: scores.length,
      last_updated: changedAt?.toISOString() ?? null,
    },
  };
}

/** Written once per change, as the board itself. */
export class DippyScoreBoard {
  private last: { key: string; served: Tagged } | undefined;

  constructor(
    private readonly boards: Pick<ScoreBoards, 'served'>,
    private readonly scores: Pick<ScoreStore, 'quarantined'>,
  ) {}

  /** @throws StudioError NOT_FOUND before the first epoch. */
  async served(): Promise<Tagged> {
    const board = await this.boards.served();
    const quarantined = await this.scores.quarantined(board.board.epoch);
    const key = `${board.etag} ${quarantined.join()}`;
    if (this.last?.key !== key) this.last = { key, served: tagged(dippyScores(board, new Set(quarantined))) };
    return this.last.served;
  }
}
