/** The snapshot's text, made again from the sums of the log; and in which field another text differs from it. */
import type { DrawExportHeader } from '@studio/shared/contract/draws';
import type { MinerScore, Snapshot } from '@studio/shared/contract/scores';
import type { Policy } from '@studio/shared/domain/policy';
import { JOB_KINDS } from '@studio/shared/domain/task-kinds';
import { weightsFor } from '@studio/shared/domain/weights';
import { canonicalJson } from '@studio/shared/protocol/canonical';
import type { LedgerCopy } from '../ledger-copy';

export interface SnapshotBasis {
  epoch: number;
  /** Number of the last entry that counts. */
  ledgerSeq: number;
  policy: Policy;
  draws: DrawExportHeader;
  sums: LedgerCopy;
}

/** What nobody can compute: who belonged to the subnet, and when the epoch began and ended. */
type Facts = Pick<Snapshot, 'metagraph' | 'opened_at' | 'closing_at'>;

export function recomposed({ epoch, ledgerSeq, policy, draws, sums }: SnapshotBasis, facts: Facts): string {
  const { metagraph, opened_at, closing_at } = facts;
  const scores = [...sums.scores({ epoch, windowEpochs: policy.windowEpochs })].filter(
    ([hotkey]) => metagraph === null || Object.hasOwn(metagraph.uids, hotkey),
  );
  const { outcome, miners } = weightsFor(new Map(scores.map(([hotkey, { points }]) => [hotkey, points])), policy);
  const own = new Map(scores);
  const snapshot: Snapshot = {
    epoch,
    ledger_seq: ledgerSeq,
    policy,
    outcome,
    metagraph,
    miners: miners.map(({ hotkey, points, winRate, weight, u16 }) => ({
      hotkey,
      points: points.toString(),
      points_by_kind: Object.fromEntries(
        JOB_KINDS.map((kind) => [kind, (own.get(hotkey)?.pointsByKind[kind] ?? 0n).toString()]),
      ) as MinerScore['points_by_kind'],
      valid_jobs: own.get(hotkey)?.validJobs ?? 0,
      win_rate: winRate,
      weight,
      u16,
    })),
    draw: { commitment: draws.commitment, secret: draws.secret },
    opened_at,
    closing_at,
  };
  return canonicalJson(snapshot);
}

/**
 * The first field in which two values differ, in words; undefined when they are the same.
 * @param whose says what `ours` is.
 */
export function firstDifference(theirs: unknown, ours: unknown, path: string, whose: string): string | undefined {
  if (isParent(theirs) && isParent(ours)) {
    const keys = [...new Set([...Object.keys(theirs), ...Object.keys(ours)])].sort();
    for (const key of keys) {
      const inner = Array.isArray(ours) ? `${path}[${key}]` : `${path}.${key}`;
      const difference = firstDifference(theirs[key], ours[key], inner, whose);
      if (difference !== undefined) return difference;
    }
    return undefined;
  }
  return Object.is(theirs, ours) ? undefined : `${path} is ${said(theirs)}, ${whose} ${said(ours)}`;
}

const isParent = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;

function said(value: unknown): string {
  const text = value === undefined ? 'missing' : JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
