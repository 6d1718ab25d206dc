/** What changed between two vectors, for whoever looks before they are set. */
import Table from 'cli-table3';
import type { CheckedSnapshot } from './snapshot-check';

export interface Vector {
  epoch: number;
  hotkeys: readonly string[];
  weights: readonly number[];
}

export interface Place {
  /** 1 is the heaviest; equal weights share the better rank. */
  rank: number;
  u16: number;
}

export interface WeightsDiff {
  /** Null where there was nothing to compare with. */
  fromEpoch: number | null;
  toEpoch: number;
  added: { hotkey: string; to: Place }[];
  removed: { hotkey: string; from: Place }[];
  changed: { hotkey: string; from: Place; to: Place }[];
  unchanged: number;
}

export function diffOf(before: Vector | null, after: Vector): WeightsDiff {
  const old = before ? placesOf(before) : new Map<string, Place>();
  const now = placesOf(after);
  const both = [...now].flatMap(([hotkey, to]) => {
    const from = old.get(hotkey);
    return from ? [{ hotkey, from, to }] : [];
  });
  const changed = both.filter(({ from, to }) => from.rank !== to.rank || from.u16 !== to.u16);
  return {
    fromEpoch: before?.epoch ?? null,
    toEpoch: after.epoch,
    added: [...now].filter(([hotkey]) => !old.has(hotkey)).map(([hotkey, to]) => ({ hotkey, to })),
    removed: [...old].filter(([hotkey]) => !now.has(hotkey)).map(([hotkey, from]) => ({ hotkey, from })),
    changed,
    unchanged: both.length - changed.length,
  };
}

/** By weight, heaviest first; equal ones by hotkey. */
export function placesOf({ hotkeys, weights }: Vector): Map<string, Place> {
  const entries = hotkeys.map((hotkey, index) => ({ hotkey, u16: weights[index] ?? 0 }));
  entries.sort((a, b) => b.u16 - a.u16 || (a.hotkey < b.hotkey ? -1 : 1));
  let rank = 0;
  return new Map(
    entries.map(({ hotkey, u16 }, index) => {
      if (index === 0 || entries[index - 1]!.u16 !== u16) rank = index + 1;
      return [hotkey, { rank, u16 }];
    }),
  );
}

const PLAIN = { style: { head: [], border: [] } };

/** Everybody who is scored, heaviest first, with the value of the last vector beside the new one. */
export function weightsTable({ weights, miners }: CheckedSnapshot, before: Vector | null): string {
  const old = before ? placesOf(before) : new Map<string, Place>();
  const ranks = placesOf(weights);
  const table = new Table({ ...PLAIN, head: ['rank', 'hotkey', 'points', 'win rate', 'weight', 'u16', 'before'] });
  for (const { hotkey, points, win_rate, weight, u16 } of [...miners].sort(
    (a, b) => b.u16 - a.u16 || (a.hotkey < b.hotkey ? -1 : 1),
  )) {
    const rank = ranks.get(hotkey)?.rank ?? '-';
    table.push([rank, hotkey, decimal(points), win_rate.toFixed(3), percent(weight), u16, place(old.get(hotkey))]);
  }
  return table.toString();
}

export function diffText(diff: WeightsDiff): string {
  if (diff.fromEpoch === null) return 'nothing was written before: there is nothing to compare with';
  const lines = [
    ...diff.added.map(({ hotkey, to }) => `+ ${hotkey}  rank ${to.rank}, u16 ${to.u16}`),
    ...diff.removed.map(({ hotkey, from }) => `- ${hotkey}  was rank ${from.rank}, u16 ${from.u16}`),
    ...diff.changed.map(
      ({ hotkey, from, to }) => `~ ${hotkey}  rank ${from.rank} → ${to.rank}, u16 ${from.u16} → ${to.u16}`,
    ),
  ];
  const head =
    `epoch ${diff.fromEpoch} → ${diff.toEpoch}: ${diff.added.length} added, ${diff.removed.length} removed, ` +
    `${diff.changed.length} changed, ${diff.unchanged} as before`;
  return [head, ...lines].join('\n');
}

const place = (before: Place | undefined): string => (before ? `${before.u16} (rank ${before.rank})` : '-');

export const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;

/** Millionths of a point, as the log has them, in points. */
export function decimal(millionths: string | bigint): string {
  const points = BigInt(millionths);
  const digits = (points < 0n ? -points : points).toString().padStart(7, '0');
  return `${points < 0n ? '-' : ''}${digits.slice(0, -6)}.${digits.slice(-6, -3)}`;
}
