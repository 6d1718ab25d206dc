/** What became of each miner in the epoch: from the ledger's events, the snapshot and the verdicts. Pure. */
import type { ScoreEvent, Snapshot } from '@studio/shared/contract/scores';
import type { AuditReport } from './operator-client';

export interface MinerSummary {
  name: string;
  hotkey: string;
  /** Points in millionths, by kind and in all, in this score window. */
  points: string;
  pointsByKind: Record<string, string>;
  awarded: string;
  /** What reversals took and no restoration gave back. */
  reversed: string;
  validJobs: number;
  winRate: number;
  weight: number;
  u16: number;
  verdicts: { valid: number; invalid: number; inconclusive: number };
}

export function summarise(
  names: ReadonlyMap<string, string>,
  trusted: ReadonlySet<string>,
  snapshot: Snapshot,
  events: readonly ScoreEvent[],
  audits: readonly AuditReport[],
): MinerSummary[] {
  const summaries = [...names]
    .filter(([hotkey]) => !trusted.has(hotkey))
    .map(([hotkey, name]) => {
      const score = snapshot.miners.find((miner) => miner.hotkey === hotkey);
      const own = events.filter(
        (event) => event.hotkey === hotkey && event.epoch === snapshot.epoch && event.seq <= snapshot.ledger_seq,
      );
      const total = (...types: string[]): string =>
        own
          .filter((event) => types.includes(event.type))
          .reduce((sum, event) => sum + BigInt(event.points!), 0n)
          .toString();
      return {
        name,
        hotkey,
        points: score?.points ?? '0',
        pointsByKind: score?.points_by_kind ?? { 'lora-training': '0', 'lora-inference': '0' },
        awarded: total('award'),
        reversed: total('reversal', 'restoration'),
        validJobs: score?.valid_jobs ?? 0,
        winRate: score?.win_rate ?? 0,
        weight: score?.weight ?? 0,
        u16: score?.u16 ?? 0,
        verdicts: countVerdicts(audits.filter((audit) => audit.hotkey === hotkey)),
      };
    });
  return summaries.sort((a, b) => Number(BigInt(b.points) - BigInt(a.points)));
}

function countVerdicts(audits: readonly AuditReport[]): MinerSummary['verdicts'] {
  const count = (outcome: string): number => audits.filter((audit) => audit.outcome === outcome).length;
  return { valid: count('valid'), invalid: count('invalid'), inconclusive: count('inconclusive') };
}
