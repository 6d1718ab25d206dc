/**
 * A miner's record as it stands once verdicts have been corrected: which quarantines were still deserved, and what has
 * been counted since the last of them. Pure, and the same fold as when verdicts are written (cusum.ts), so that a record
 * with no correction comes out as it was kept.
 */
import { isQuarantined, step } from '@studio/shared/domain/cusum';
import type { JobKind } from '@studio/shared/domain/job';
import type { AuditPolicy } from '@studio/shared/domain/policy';

/** A first-round verdict that is not inconclusive. */
export interface CountedVerdict {
  kind: JobKind;
  failed: boolean;
  /** Corrected: it counts for nothing, neither as a failure nor as a pass. */
  corrected: boolean;
  /** When it was decided, ms. */
  at: number;
}

/** Both kinds' rows of one quarantine, which were written together. */
export interface CountedQuarantine {
  ids: string[];
  at: number;
  /** Lifted before. */
  lifted: boolean;
}

export interface KindRecord {
  audits: number;
  passes: number;
  cusum: number;
}

export interface Standing {
  /** Ids of quarantines that what is left of the verdicts does not carry. */
  fallen: string[];
  /** Since the last quarantine that stands. */
  records: Map<JobKind, KindRecord>;
  /** When that one began, ms; undefined when none stands. */
  since: number | undefined;
}

type Figures = Pick<AuditPolicy, 'cusumFail' | 'cusumPass' | 'cusumThreshold'>;

/** A quarantine stands when the verdicts since the one before reach the threshold, those that came during it included. */
export function standingOf(
  verdicts: readonly CountedVerdict[],
  quarantines: readonly CountedQuarantine[],
  policy: Figures,
): Standing {
  const counted = verdicts.filter(({ corrected }) => !corrected).sort((a, b) => a.at - b.at);
  const inForce = quarantines.filter(({ lifted }) => !lifted).sort((a, b) => a.at - b.at);
  const fallen: string[] = [];
  let since: number | undefined;
  for (const [index, quarantine] of inForce.entries()) {
    const until = inForce[index + 1]?.at ?? Infinity;
    const segment = counted.filter(({ at }) => at > (since ?? -Infinity) && at <= until);
    if (reaches(segment, policy)) since = quarantine.at;
    else fallen.push(...quarantine.ids);
  }
  return {
    fallen,
    records: recordsOf(
      counted.filter(({ at }) => at > (since ?? -Infinity)),
      policy,
    ),
    since,
  };
}

function reaches(verdicts: readonly CountedVerdict[], policy: Figures): boolean {
  const sums = new Map<JobKind, number>();
  return verdicts.some(({ kind, failed }) => {
    const s = step(sums.get(kind) ?? 0, failed, policy);
    sums.set(kind, s);
    return isQuarantined(s, policy);
  });
}

function recordsOf(verdicts: readonly CountedVerdict[], policy: Figures): Map<JobKind, KindRecord> {
  const records = new Map<JobKind, KindRecord>();
  for (const { kind, failed } of verdicts) {
    const before = records.get(kind) ?? { audits: 0, passes: 0, cusum: 0 };
    records.set(kind, {
      audits: before.audits + 1,
      passes: before.passes + (failed ? 0 : 1),
      cusum: step(before.cusum, failed, policy),
    });
  }
  return records;
}
