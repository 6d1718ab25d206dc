import type { ScoreEvent, Snapshot } from '@studio/shared/contract/scores';
import { summarise } from './miner-summary';

const event = (seq: number, type: ScoreEvent['type'], points: string, epoch = 3): ScoreEvent => ({
  seq,
  type,
  epoch,
  at: '',
  hotkey: 'alice',
  points,
});

const snapshot = { epoch: 3, ledger_seq: 5, miners: [] } as unknown as Snapshot;

describe("a miner's summary", () => {
  it('takes off what reversals took, less what restorations gave back, up to the snapshot', () => {
    const events = [
      event(1, 'award', '700'),
      event(2, 'award', '300'),
      event(3, 'reversal', '-700'),
      event(4, 'reversal', '-300'),
      event(5, 'restoration', '700'),
      event(6, 'restoration', '300'),
    ];
    const [alice] = summarise(new Map([['alice', 'Alice']]), new Set(), snapshot, events, []);
    expect(alice).toMatchObject({ awarded: '1000', reversed: '-300' });
  });
});
