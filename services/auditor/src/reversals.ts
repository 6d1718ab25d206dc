/** Which awards are taken back when an epoch closes (audit.md, "What a confirmed failure does"). Pure. */
import { nearest, neighbourReversals } from '@studio/shared/domain/audit-sampling';
import type { LedgerEntryMessage } from '@studio/shared/contract/ledger';
import { reversalEntry, type EntrySubject } from './ledger-entries';

/** A reversal, and the job whose invalid verdict brought it; null for quarantine. */
export interface Reversal {
  entry: LedgerEntryMessage;
  conviction: string | null;
}

/** An award that is neither final nor reversed at an earlier close. */
export interface OpenAward extends EntrySubject {
  /** When the job finished, in ms. */
  at: number;
  /** Audited, or a replica: its own comparison speaks for it, and it does not fall with a neighbour. */
  compared: boolean;
}

export interface Conviction {
  jobId: string;
  /** The rate at which the job was drawn; null for a replica, each of which is compared. */
  q: number | null;
  kappa: number;
  reason: string;
}

/**
 * One reversal per award at most; its own verdict is the first reason, a convicted neighbour the second, quarantine the
 * last. Each conviction takes neighbours that no earlier one has taken: ten failures in a row cost ten times as much
 * as one. The order of the arguments does not matter, so that closing again decides the same.
 * @param quarantined hotkey → why.
 */
export function reversalsDue(
  awards: readonly OpenAward[],
  convictions: readonly Conviction[],
  quarantined: ReadonlyMap<string, string>,
): Reversal[] {
  const reasons = new Map<string, Reason>();
  const byJob = new Map(awards.map((award) => [award.jobId, award]));
  const due = convictions
    .flatMap((conviction) => {
      const award = byJob.get(conviction.jobId);
      return award ? [{ ...conviction, award }] : [];
    })
    .sort((a, b) => a.award.at - b.award.at || (a.jobId < b.jobId ? -1 : 1));
  for (const { jobId, reason } of due) reasons.set(jobId, { text: `audit: ${reason}`, conviction: jobId });
  for (const conviction of due) {
    for (const { jobId } of neighboursOf(conviction, awards, reasons)) {
      const text = `neighbour of invalid job ${conviction.jobId}: unaudited, and near it in time`;
      reasons.set(jobId, { text, conviction: conviction.jobId });
    }
  }
  for (const { jobId, hotkey } of awards) {
    const why = quarantined.get(hotkey);
    if (why !== undefined && !reasons.has(jobId)) reasons.set(jobId, { text: `quarantined: ${why}`, conviction: null });
  }
  return [...reasons]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([jobId, { text, conviction }]) => {
      const award = byJob.get(jobId);
      return award ? [{ entry: reversalEntry(award, text), conviction }] : [];
    });
}

interface Reason {
  text: string;
  conviction: string | null;
}

function neighboursOf(
  { award, q, kappa }: Conviction & { award: OpenAward },
  awards: readonly OpenAward[],
  taken: ReadonlyMap<string, Reason>,
): OpenAward[] {
  const candidates = awards.filter(
    (other) => other.hotkey === award.hotkey && other.kind === award.kind && !other.compared && !taken.has(other.jobId),
  );
  // Nothing was drawn and the audit was forced: no count of hidden failures can be estimated, so all that is unaudited falls.
  const count = q === 0 ? candidates.length : neighbourReversals(q ?? 1, kappa);
  return nearest(candidates, award.at, count);
}
