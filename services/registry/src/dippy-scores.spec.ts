import type { MinerScore, ScoreBoard } from '@studio/shared/contract/scores';
import { winRates } from '@studio/shared/domain/win-rate';
import { dippyScores } from './dippy-scores';

const CHANGED_AT = new Date('2026-03-01T12:00:00.000Z');

function boardOf(points: Readonly<Record<string, string>>): { board: ScoreBoard; changedAt: Date } {
  const miners = Object.entries(points).map(([hotkey, own]) => ({ hotkey, points: own }) as MinerScore);
  return { board: { epoch: 3, last_seq: 9, metagraph: null, miners }, changedAt: CHANGED_AT };
}

describe('scores in the form of the public orchestrator', () => {
  it('go from 0 to 1, the best miner having 1, with what its validators read beside them', () => {
    expect(dippyScores(boardOf({ ada: '2000000', ben: '500000', cleo: '0' }), new Set())).toEqual({
      scores: {
        ada: { status: 'COMPLETED', score: { total_score: 1 } },
        ben: { status: 'COMPLETED', score: { total_score: 0.25 } },
        cleo: { status: 'COMPLETED', score: { total_score: 0 } },
      },
      stats: { source: 'ledger', requested: 3, available: 3, last_updated: '2026-03-01T12:00:00.000Z' },
    });
  });

  it('call slashed who is in quarantine and left with nothing, and nobody else', () => {
    const { scores } = dippyScores(boardOf({ ada: '7', ben: '0', cleo: '0' }), new Set(['ada', 'ben', 'gone']));
    expect(Object.entries(scores).map(([hotkey, { status }]) => [hotkey, status])).toEqual([
      ['ada', 'COMPLETED'],
      ['ben', 'SLASHED'],
      ['cleo', 'COMPLETED'],
    ]);
  });

  it('rank miners exactly as their points do, ties included', () => {
    const points = ['9007199254740991', '9007199254740991', '9007199254740990', '12', '11', '11', '1'];
    const { scores } = dippyScores(boardOf(Object.fromEntries(points.map((own, i) => [`m${i}`, own]))), new Set());
    const totals = Object.values(scores).map(({ score }) => score.total_score);
    // Ranks are all that win rates know of them.
    const ranks = totals.map((total) => BigInt(totals.filter((other) => other < total).length));
    expect(winRates(ranks)).toEqual(winRates(points.map(BigInt)));
  });

  it('are all 0 where nobody has points, and none where nobody is scored', () => {
    expect(dippyScores(boardOf({ ada: '0' }), new Set()).scores.ada?.score.total_score).toBe(0);
    expect(dippyScores({ ...boardOf({}), changedAt: null }, new Set())).toEqual({
      scores: {},
      stats: { source: 'ledger', requested: 0, available: 0, last_updated: null },
    });
  });
});
