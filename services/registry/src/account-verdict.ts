/** A verdict as its miner may read it: of the auditor's evidence everything but who else did the job, and as which job. */
import type {
  AccountVerdict,
  CorrectionCause,
  VerdictDraw,
  VerdictEvidence,
  VerdictOutcome,
  VerdictSuspicion,
} from '@studio/shared/contract/miners';

/** As the auditor writes it (`verdicts.evidence`); what is not named here is not passed on. */
interface StoredEvidence {
  digest: string;
  replays: { judge: 'trusted' | 'peer'; digest: string; agrees: boolean; distances?: Record<string, number>[] }[];
  draw: { why: string; q: number | null; u: string | null; epoch: number; policyVersion: number };
  suspicion: StoredSuspicion | null;
  kappa: number;
}

type StoredSuspicion =
  /** `of` is absent in what was stored before pictures were compared. */
  | { of?: 'adapter'; copyOf: string; cosine: number; imageDifference: number | null }
  | { of: 'picture'; copyOf: string; picture: number; distance: number | null };

export interface VerdictRow extends Pick<
  AccountVerdict,
  'job_id' | 'attempt' | 'kind' | 'epoch' | 'outcome' | 'reason'
> {
  decided_at: Date;
  evidence: StoredEvidence;
  filed_at: Date | null;
  appeal_reason: string | null;
  appeal_outcome: VerdictOutcome | null;
  appeal_decided_at: Date | null;
  appeal_verdict: string | null;
  corrected_by: CorrectionCause | null;
  correction: string | null;
  corrected_at: Date | null;
}

export function toAccountVerdict(row: VerdictRow): AccountVerdict {
  const { job_id, attempt, kind, epoch, outcome, reason } = row;
  return {
    job_id,
    attempt,
    kind,
    epoch,
    outcome,
    reason,
    decided_at: row.decided_at.toISOString(),
    evidence: toEvidence(row.evidence),
    appeal: toAppeal(row),
    corrected: toCorrection(row),
  };
}

function toEvidence({ digest, replays, draw, suspicion, kappa }: StoredEvidence): VerdictEvidence {
  return {
    digest,
    replays: replays.map((replay) => ({
      judge: replay.judge,
      digest: replay.digest,
      agrees: replay.agrees,
      distances: replay.distances ?? null,
    })),
    kappa,
    draw: toDraw(draw),
    suspicion: suspicion && toSuspicion(suspicion),
  };
}

function toSuspicion(stored: StoredSuspicion): VerdictSuspicion {
  if (stored.of === 'picture') {
    const { of, copyOf, picture, distance } = stored;
    return { of, copy_of: copyOf, picture, distance };
  }
  const { copyOf, cosine, imageDifference } = stored;
  return { of: 'adapter', copy_of: copyOf, cosine, image_difference: imageDifference };
}

/** Replays and test jobs are the auditor's own: a miner is not told which of the two it did. */
function toDraw({ why, q, u, epoch, policyVersion }: StoredEvidence['draw']): VerdictDraw | null {
  const isDraw = why === 'draw' || why === 'floor' || why === 'copy';
  return isDraw ? { why, q, u, epoch, policy_version: policyVersion } : null;
}

function toAppeal(row: VerdictRow): AccountVerdict['appeal'] {
  if (!row.filed_at || row.appeal_reason === null) return null;
  return {
    filed_at: row.filed_at.toISOString(),
    reason: row.appeal_reason,
    outcome: row.appeal_outcome,
    decided_at: row.appeal_decided_at?.toISOString() ?? null,
    verdict_reason: row.appeal_verdict,
  };
}

function toCorrection({ corrected_by, correction, corrected_at }: VerdictRow): AccountVerdict['corrected'] {
  if (!corrected_by || !corrected_at) return null;
  return { cause: corrected_by, reason: correction ?? '', at: corrected_at.toISOString() };
}
