import type { ScoreEvent } from '@studio/shared/contract/scores';
import { DEFAULT_POLICY } from '@studio/shared/domain/policy';
import { LedgerCopy } from './ledger-copy';
import { scoreRows, scoreTable, type TableInput } from './score-table';

const LONG = '5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty';
const EVENTS = [
  [1, LONG, '700000'],
  [2, 'ben', '400000'],
  [3, 'cleo', '400000'],
] as const;

function input(fields: Partial<TableInput> = {}): TableInput {
  const copy = new LedgerCopy();
  const lastEvents = new Map<string, ScoreEvent>();
  for (const [seq, hotkey, points] of EVENTS) {
    const at = '2026-01-01T12:34:56.000Z';
    const event: ScoreEvent = { seq, type: 'award', epoch: 2, at, hotkey, kind: 'lora-training', points };
    copy.apply(event);
    lastEvents.set(hotkey, event);
  }
  return {
    copy,
    epoch: 2,
    policy: DEFAULT_POLICY,
    metagraph: null,
    closed: new Map([['ben', 5]]),
    lastEvents,
    ...fields,
  };
}

describe('the live table', () => {
  it('ranks the open epoch from the own sums, with what changed since the last one', () => {
    const rows = scoreRows(input());
    expect(rows.map(({ rank, hotkey, change }) => [rank, hotkey, change])).toEqual([
      [1, LONG, null],
      [2, 'ben', -2],
      [2, 'cleo', null],
    ]);
    const text = scoreTable(rows, 10);
    expect(text).toMatch(
      /│ 1 +│ 5FHneW…M694ty │ 0\.700 +│ 1\.000 +│ 99\.99 % │ 65535 │ new +│ 12:34:56 award \+0\.700 │/,
    );
    expect(text).toMatch(/│ 2 +│ ben .* │ -2 /);
  });

  it('weighs only members, and only the window', () => {
    expect(scoreRows(input({ metagraph: { block: 1, uids: { ben: 0 } } })).map(({ hotkey }) => hotkey)).toEqual([
      'ben',
    ]);
    expect(scoreRows(input({ epoch: 40 }))).toEqual([]);
  });

  it('shows as many rows as there is room for, and how many there are more', () => {
    const text = scoreTable(scoreRows(input()), 1);
    expect(text).not.toContain('ben');
    expect(text).toMatch(/… and 2 more$/);
  });
});
