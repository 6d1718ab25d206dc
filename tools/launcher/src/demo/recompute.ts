/**
 * Scores and weights computed a second time, from the ledger's rows alone and by the plainest code there is: pairwise
 * comparison, Math.exp. It shares nothing with the registry, so that an error would have to be made twice. Pure.
 */
export interface LedgerRow {
  type: 'award' | 'reversal' | 'restoration';
  hotkey: string;
  epoch: number;
  points: bigint;
}

export interface RecomputedWeight {
  hotkey: string;
  points: bigint;
  winRate: number;
  share: number;
  u16: number;
}

/** @param rows those with a number up to the snapshot's `ledger_seq`. */
export function recomputeWeights(
  rows: readonly LedgerRow[],
  epoch: number,
  windowEpochs: number,
  temperature: number,
): RecomputedWeight[] {
  const counted = rows.filter((row) => row.epoch <= epoch && (windowEpochs === 0 || row.epoch > epoch - windowEpochs));
  const scored = [...new Set(counted.map((row) => row.hotkey))]
    .filter((hotkey) => validJobs(counted, hotkey) > 0)
    .sort();
  const points = scored.map((hotkey) => sum(counted, hotkey));
  const winRates = points.map((own, i) =>
    winRate(
      own,
      points.filter((_, j) => j !== i),
    ),
  );
  const powers = winRates.map((rate) => Math.exp((rate - Math.max(...winRates)) / temperature));
  const total = powers.reduce((a, b) => a + b, 0);
  const shares = powers.map((power) => power / total);
  const top = Math.max(...shares.map(Math.fround));
  return scored.map((hotkey, i) => ({
    hotkey,
    points: points[i]!,
    winRate: winRates[i]!,
    share: shares[i]!,
    u16: roundHalfEven((Math.fround(shares[i]!) / top) * 65_535),
  }));
}

function validJobs(rows: readonly LedgerRow[], hotkey: string): number {
  return rows.filter((row) => row.hotkey === hotkey).reduce((n, row) => n + (row.type === 'reversal' ? -1 : 1), 0);
}

function sum(rows: readonly LedgerRow[], hotkey: string): bigint {
  return rows.filter((row) => row.hotkey === hotkey).reduce((total, row) => total + row.points, 0n);
}

function winRate(own: bigint, others: readonly bigint[]): number {
  if (others.length === 0) return 1;
  const wins = others.reduce((n, other) => n + (other < own ? 2 : other === own ? 1 : 0), 0);
  return wins / (2 * others.length);
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}
