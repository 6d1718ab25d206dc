/**
 * Scores from the ledger: the sum of points whose award epoch lies in a trailing window. The ledger is append-only: a
 * reversal is a negative entry, a restoration gives back what a reversal took, and both carry their award's epoch, so that
 * all leave the window together.
 */
import type { JobKind } from './job';

export const LEDGER_ENTRY_TYPES = ['award', 'reversal', 'restoration'] as const;
export type LedgerEntryType = (typeof LEDGER_ENTRY_TYPES)[number];

export interface LedgerEntry {
  id: string;
  type: LedgerEntryType;
  hotkey: string;
  kind: JobKind;
  jobId: string;
  /** Epoch of the award, for its reversal and restoration too (whenever they were appended). */
  epoch: number;
  /** Millionths: ≥ 0 for an award and its restoration, the negated award for its reversal. */
  points: bigint;
  reason: string;
  policyVersion: number;
}

export interface Window {
  /** The newest epoch that counts. */
  epoch: number;
  /** How many epochs count, that one included; 0 = all since the beginning. */
  windowEpochs: number;
}

export interface MinerScore {
  points: bigint;
  pointsByKind: Partial<Record<JobKind, bigint>>;
  /** Completed jobs in the window whose award stands; at least 1. */
  validJobs: number;
}

/** What an entry adds to the count of valid jobs: a job has at most one entry of each type, so counting needs no matching. */
export function validStep(type: LedgerEntryType): 1 | -1 {
  return type === 'reversal' ? -1 : 1;
}

/** The first epoch of the window (negative figures mean: everything). */
export function firstEpoch({ epoch, windowEpochs }: Window): number {
  return windowEpochs === 0 ? -Infinity : epoch - windowEpochs + 1;
}

/**
 * The scored miners, in hotkey order. A miner is scored when it has at least one valid completed job in the window,
 * however small its sum: the seed sets no threshold. The order of `entries` does not matter.
 */
export function scoresAt(entries: Iterable<LedgerEntry>, window: Window): Map<string, MinerScore> {
  const first = firstEpoch(window);
  const scores = new Map<string, MinerScore>();
  for (const entry of entries) {
    if (entry.epoch < first || entry.epoch > window.epoch) continue;
    const score = scores.get(entry.hotkey) ?? { points: 0n, pointsByKind: {}, validJobs: 0 };
    scores.set(entry.hotkey, score);
    score.points += entry.points;
    score.pointsByKind[entry.kind] = (score.pointsByKind[entry.kind] ?? 0n) + entry.points;
    score.validJobs += validStep(entry.type);
  }
  const scored = [...scores].filter(([, score]) => score.validJobs > 0);
  return new Map(scored.sort(([a], [b]) => (a < b ? -1 : 1)));
}
