/**
 * Ledger entries as the auditor words them. Their ids are computed from the job, so that whoever repeats a step after a
 * crash names the same entry, and the registry appends it once.
 */
import { v5 as uuidFromName } from 'uuid';
import type { LedgerEntryMessage } from '@studio/shared/contract/ledger';
import type { JobKind } from '@studio/shared/domain/job';

/** Namespace of entry ids (RFC 9562, version 5). Chosen once; another one would make every entry a new one. */
const ENTRY_NAMESPACE = 'a3f1c6de-5d0b-5c63-9f0e-2f6f2a1d7b44';

/** The contract's limit. */
const MAX_REASON = 1_000;

export interface EntrySubject {
  jobId: string;
  hotkey: string;
  kind: JobKind;
  /** Epoch of the award, for its reversal too. */
  epoch: number;
  /** Millionths, as the award has them. */
  points: bigint;
  policyVersion: number;
}

export const awardId = (jobId: string): string => uuidFromName(`award:${jobId}`, ENTRY_NAMESPACE);
export const restorationId = (jobId: string): string => uuidFromName(`restoration:${jobId}`, ENTRY_NAMESPACE);
export const reversalId = (jobId: string): string => uuidFromName(`reversal:${jobId}`, ENTRY_NAMESPACE);

export function awardEntry(subject: EntrySubject, reason: string): LedgerEntryMessage {
  return entry('award', awardId(subject.jobId), subject, subject.points, reason);
}

/** Takes back exactly what the award gave. */
export function reversalEntry(subject: EntrySubject, reason: string): LedgerEntryMessage {
  return entry('reversal', reversalId(subject.jobId), subject, -subject.points, reason);
}

/** Gives back exactly what a reversal took. */
export function restorationEntry(reversal: LedgerEntryMessage, reason: string): LedgerEntryMessage {
  const subject = { ...reversal, points: -BigInt(reversal.points) };
  return entry('restoration', restorationId(reversal.jobId), subject, subject.points, reason);
}

function entry(
  type: LedgerEntryMessage['type'],
  id: string,
  { jobId, hotkey, kind, epoch, policyVersion }: EntrySubject,
  points: bigint,
  reason: string,
): LedgerEntryMessage {
  const short = reason.length > MAX_REASON ? `${reason.slice(0, MAX_REASON - 1)}…` : reason;
  return { id, type, hotkey, kind, jobId, epoch, points: points.toString(), reason: short, policyVersion };
}
