/** The table that `watch` shows: the open epoch so far, from the validator's own sums. */
import Table from 'cli-table3';
import type { MetagraphView, ScoreEvent } from '@studio/shared/contract/scores';
import type { Policy } from '@studio/shared/domain/policy';
import { weightsFor } from '@studio/shared/domain/weights';
import type { LedgerCopy } from './ledger-copy';
import { decimal, percent } from './weights-diff';

export interface ScoreRow {
  /** 1 is the best; equal scores share the better rank. */
  rank: number;
  hotkey: string;
  points: bigint;
  winRate: number;
  weight: number;
  u16: number;
  /** u16 against the last closed epoch's; null where the miner had none. */
  change: number | null;
  lastEvent: ScoreEvent | undefined;
}

export interface TableInput {
  copy: LedgerCopy;
  epoch: number;
  policy: Policy;
  /** Only its members are weighted; null: everybody. */
  metagraph: MetagraphView | null;
  /** u16 of the last closed epoch, by hotkey. */
  closed: ReadonlyMap<string, number>;
  lastEvents: ReadonlyMap<string, ScoreEvent>;
}

export function scoreRows({ copy, epoch, policy, metagraph, closed, lastEvents }: TableInput): ScoreRow[] {
  const scores = [...copy.scores({ epoch, windowEpochs: policy.windowEpochs })];
  const own = scores.filter(([hotkey]) => metagraph === null || Object.hasOwn(metagraph.uids, hotkey));
  const { miners } = weightsFor(new Map(own.map(([hotkey, { points }]) => [hotkey, points])), policy);
  const sorted = [...miners].sort((a, b) => b.winRate - a.winRate || (a.hotkey < b.hotkey ? -1 : 1));
  let rank = 0;
  return sorted.map(({ hotkey, points, winRate, weight, u16 }, index) => {
    if (index === 0 || sorted[index - 1]!.points !== points) rank = index + 1;
    const before = closed.get(hotkey);
    const change = before === undefined ? null : u16 - before;
    return { rank, hotkey, points, winRate, weight, u16, change, lastEvent: lastEvents.get(hotkey) };
  });
}

/** As many rows as the terminal has room for. */
export function scoreTable(rows: readonly ScoreRow[], room: number): string {
  const head = ['rank', 'hotkey', 'points', 'win rate', 'weight', 'u16', 'change', 'last event'];
  const table = new Table({ style: { head: [], border: [], compact: true }, head });
  for (const row of rows.slice(0, room)) {
    const { rank, hotkey, points, winRate, weight, u16, change, lastEvent } = row;
    const cells = [rank, short(hotkey), decimal(points), winRate.toFixed(3), percent(weight), u16];
    table.push([...cells, signed(change), eventText(lastEvent)]);
  }
  const more = rows.length > room ? `\n… and ${rows.length - room} more` : '';
  return table.toString() + more;
}

function eventText(event: ScoreEvent | undefined): string {
  if (!event) return '';
  const points =
    event.points === undefined ? '' : ` ${event.points.startsWith('-') ? '' : '+'}${decimal(event.points)}`;
  return `${event.at.slice(11, 19)} ${event.type}${points}`.trim();
}

const short = (hotkey: string): string => (hotkey.length > 14 ? `${hotkey.slice(0, 6)}…${hotkey.slice(-6)}` : hotkey);

function signed(change: number | null): string {
  if (change === null) return 'new';
  return change > 0 ? `+${change}` : String(change);
}
