/**
 * What a snapshot says, composed from sums alone: no clock, no I/O. The validator recomputes the same numbers with the
 * same domain functions and refuses a snapshot that differs in a single bit.
 */
import type { MetagraphView, MinerScore, Snapshot } from '@studio/shared/contract/scores';
import type { Policy } from '@studio/shared/domain/policy';
import { JOB_KINDS } from '@studio/shared/domain/task-kinds';
import { weightsFor, type MinerWeight, type WeightsOutcome } from '@studio/shared/domain/weights';
import { canonicalJson, sha256Hex } from '@studio/shared/protocol/canonical';
import type { Epoch } from './epoch.store';
import type { KindSum } from './score.store';

export interface SnapshotText {
  /** Canonical JSON (RFC 8785), served as it is. */
  body: string;
  sha256: string;
}

export interface SnapshotFacts {
  epoch: Epoch;
  /** Revealed by the auditor, hex; already checked against the commitment. */
  secret: string;
  ledgerSeq: number;
  sums: readonly KindSum[];
  /** Null: everybody who is scored is weighted. */
  metagraph: MetagraphView | null;
}

/** Scores, win rates and weights of the scored miners: members with at least one valid job in the window. */
export function minerScores(
  sums: readonly KindSum[],
  policy: Policy,
  metagraph: MetagraphView | null,
): { outcome: WeightsOutcome; miners: MinerScore[] } {
  const isMember = ({ hotkey }: KindSum): boolean => metagraph === null || Object.hasOwn(metagraph.uids, hotkey);
  const byHotkey = groupByHotkey(sums.filter(isMember));
  const scored = [...byHotkey].filter(([, own]) => own.reduce((jobs, { valid }) => jobs + valid, 0) > 0);
  const points = new Map(scored.map(([hotkey, own]) => [hotkey, own.reduce((sum, part) => sum + part.points, 0n)]));
  const { outcome, miners } = weightsFor(points, policy);
  return { outcome, miners: miners.map((miner) => toMinerScore(miner, byHotkey.get(miner.hotkey) ?? [])) };
}

/** @returns the snapshot's one text and its hash. */
export function composeSnapshot({ epoch, secret, ledgerSeq, sums, metagraph }: SnapshotFacts): SnapshotText {
  if (epoch.closingAt === null) throw new RangeError(`epoch ${epoch.epoch} is not closing: it has no snapshot`);
  const snapshot: Snapshot = {
    epoch: epoch.epoch,
    ledger_seq: ledgerSeq,
    policy: epoch.policy,
    metagraph: metagraph && { block: metagraph.block, uids: metagraph.uids },
    ...minerScores(sums, epoch.policy, metagraph),
    draw: { commitment: epoch.commitment, secret },
    opened_at: epoch.openedAt.toISOString(),
    closing_at: epoch.closingAt.toISOString(),
  };
  const body = canonicalJson(snapshot);
  return { body, sha256: sha256Hex(body) };
}

function groupByHotkey(sums: readonly KindSum[]): Map<string, KindSum[]> {
  const groups = new Map<string, KindSum[]>();
  for (const sum of sums) {
    const group = groups.get(sum.hotkey);
    if (group) group.push(sum);
    else groups.set(sum.hotkey, [sum]);
  }
  return groups;
}

function toMinerScore({ hotkey, points, winRate, weight, u16 }: MinerWeight, own: readonly KindSum[]): MinerScore {
  const ofKind = (kind: string): bigint => own.find((part) => part.kind === kind)?.points ?? 0n;
  return {
    hotkey,
    points: points.toString(),
    points_by_kind: Object.fromEntries(JOB_KINDS.map((kind) => [kind, ofKind(kind).toString()])) as Record<
      (typeof JOB_KINDS)[number],
      string
    >,
    valid_jobs: own.reduce((jobs, { valid }) => jobs + valid, 0),
    win_rate: winRate,
    weight,
    u16,
  };
}
