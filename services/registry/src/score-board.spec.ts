import type { BoardState } from './score.store';
import { ScoreBoards } from './score-board';
import { DEFAULT_POLICY } from '@studio/shared/domain/policy';
import type { OpenEpoch } from './epoch.store';

const OPEN = { epoch: 1, policy: DEFAULT_POLICY } as OpenEpoch;

/** Boards over a log of `lastSeq` awards of one point each; what they ask for is counted, and looks wait for `release`. */
function boardsOver(log: { lastSeq: number }) {
  const asked = { looks: 0, sums: 0 };
  const waiting: (() => void)[] = [];
  const boards = new ScoreBoards(
    { open: () => Promise.resolve(OPEN) },
    {
      boardState: async (): Promise<BoardState> => {
        asked.looks += 1;
        const seen = { epoch: 1, policyVersion: 1, lastSeq: log.lastSeq, metagraphAt: null, changedAt: null };
        await new Promise<void>((resolve) => waiting.push(resolve));
        return seen;
      },
    },
    {
      sums: () => {
        asked.sums += 1;
        const ada = { hotkey: 'ada', kind: 'lora-training' as const, points: BigInt(log.lastSeq), valid: log.lastSeq };
        return Promise.resolve({ seq: log.lastSeq, sums: [ada] });
      },
    },
    { current: () => Promise.resolve(null), used: false },
  );
  const release = async (): Promise<void> => {
    while (waiting.length === 0) await new Promise((resolve) => setImmediate(resolve));
    waiting.shift()!();
  };
  return { boards, asked, release };
}

const pointsAt = async (boards: ScoreBoards): Promise<string> => (await boards.served()).board.miners[0]!.points;

describe('the board of scores', () => {
  it('is looked up once for all who ask at the same time, and composed once for all who ask before it changes', async () => {
    const { boards, asked, release } = boardsOver({ lastSeq: 3 });
    const crowd = Array.from({ length: 100 }, () => pointsAt(boards));
    await release();
    expect(new Set(await Promise.all(crowd))).toEqual(new Set(['3']));
    const later = pointsAt(boards);
    await release();
    await later;
    expect(asked).toEqual({ looks: 2, sums: 1 });
  });

  it('is never older than the question: who comes during a look gets the next one', async () => {
    const log = { lastSeq: 3 };
    const { boards, asked, release } = boardsOver(log);
    const early = pointsAt(boards);
    while (asked.looks === 0) await new Promise((resolve) => setImmediate(resolve));
    await release();
    await early;
    const before = pointsAt(boards);
    while (asked.looks === 1) await new Promise((resolve) => setImmediate(resolve));
    log.lastSeq = 4;
    const during = pointsAt(boards);
    await release();
    expect(await before).toBe('3');
    await release();
    expect(await during).toBe('4');
    expect(asked).toEqual({ looks: 3, sums: 2 });
  });
});
