/** A verdict as it is written down: one sentence for people, and the evidence that lets anyone come to it again. */
import { decideVerdict, type Replay, type Verdict } from '@studio/shared/domain/audit-verdict';
import type { JobKind, JobResult } from '@studio/shared/domain/job';
import type { Policy } from '@studio/shared/domain/policy';
import { finishedReplays, type AuditCase, type AuditReason, type ReplayResult, type Suspicion } from './audit-case';
import type { Distances, ResultComparator } from './comparators/result-comparator';

export interface Judgment {
  auditId: string;
  round: 1 | 2;
  outcome: 'valid' | 'invalid' | 'inconclusive';
  reason: string;
  evidence: Evidence;
  policy: Policy;
  target: JudgedJob;
  /** Replicas that the same comparison shows to be wrong: each gets its own failure. */
  replicas: Omit<Judgment, 'auditId' | 'round' | 'replicas' | 'policy'>[];
}

export interface JudgedJob {
  jobId: string;
  attemptNo: number;
  hotkey: string;
  kind: JobKind;
  /** Of its award; the verdict takes effect at this epoch's close. */
  epoch: number;
}

export interface Evidence {
  digest: string;
  replays: {
    ordinal: number;
    judge: 'trusted' | 'peer';
    hotkey: string;
    jobId: string;
    digest: string;
    agrees: boolean;
    /** What a comparator with a tolerance measured, one per picture. */
    distances?: Distances[];
  }[];
  draw: { why: AuditReason; q: number | null; u: string | null; epoch: number; policyVersion: number };
  suspicion: Suspicion | null;
  /** Detection power of whoever judged (audit.md): decides how many neighbouring awards fall with a failure. */
  kappa: number;
  /** Of a replica: the audit that it was to settle. */
  replicaOf?: string;
}

/** A finished replay with its digest. */
interface Opinion {
  ordinal: number;
  judge: 'trusted' | 'peer';
  jobId: string;
  done: ReplayResult;
  digest: string;
}

/** @param verdict a final one: not `need-…`. @param comparator the one that it was reached with. */
export function judgmentOf(audit: AuditCase, verdict: Verdict, comparator: ResultComparator | undefined): Judgment {
  const opinions = comparator ? opinionsOf(audit, comparator) : [];
  const outcome = finalOutcome(verdict);
  const target = { ...jobOf(audit), epoch: audit.epoch };
  const draw = { why: audit.why, q: audit.q, u: audit.u, epoch: audit.epoch, policyVersion: audit.policy.version };
  const evidence = {
    ...evidenceOn(comparator?.digest(audit.result) ?? 'not comparable', opinions, comparator, audit.policy),
    draw,
    suspicion: audit.suspicion,
  };
  const reason =
    outcome === 'invalid' && comparator
      ? failureReason(audit.result, opinions, comparator, audit.suspicion)
      : verdict.reason;
  const replicas = comparator ? wrongReplicas(audit, opinions, comparator) : [];
  return { auditId: audit.id, round: audit.round, outcome, reason, evidence, policy: audit.policy, target, replicas };
}

function finalOutcome({ outcome }: Verdict): Judgment['outcome'] {
  if (outcome === 'valid' || outcome === 'invalid' || outcome === 'inconclusive') return outcome;
  throw new RangeError(`${outcome} is not a verdict`);
}

function jobOf({ jobId, attemptNo, hotkey, kind }: AuditCase): Omit<JudgedJob, 'epoch'> {
  return { jobId, attemptNo, hotkey, kind };
}

function opinionsOf({ replays }: AuditCase, { digest }: ResultComparator): Opinion[] {
  return finishedReplays(replays).map(({ ordinal, judge, jobId, done }) => ({
    ordinal,
    judge,
    jobId,
    done,
    digest: digest(done.result),
  }));
}

function evidenceOn(
  digest: string,
  opinions: readonly Opinion[],
  comparator: ResultComparator | undefined,
  { audit: { kappaReference, kappaQuorum } }: Policy,
): Pick<Evidence, 'digest' | 'replays' | 'kappa'> {
  const replays = opinions.map(({ ordinal, judge, jobId, done, digest: other }) => ({
    ordinal,
    judge,
    hotkey: done.hotkey,
    jobId,
    digest: other,
    agrees: comparator?.agrees(digest, other) ?? false,
    ...distancesOf(comparator, digest, other),
  }));
  return { digest, replays, kappa: opinions.some(({ judge }) => judge === 'trusted') ? kappaReference : kappaQuorum };
}

function distancesOf(comparator: ResultComparator | undefined, a: string, b: string): { distances?: Distances[] } {
  const distances = comparator?.distances?.(a, b);
  return distances ? { distances } : {};
}

/**
 * "image differs from the reference's: pixel hash a1b2… against c3d4… (confirmed by an independent miner)". The miner reads it:
 * which peer replayed would tell it whom to collude with, and stands in the evidence alone.
 */
function failureReason(
  result: JobResult,
  opinions: readonly Opinion[],
  { digest, agrees, difference }: ResultComparator,
  suspicion: Suspicion | null,
): string {
  const own = digest(result);
  const [first, ...others] = opinions.filter((opinion) => !agrees(opinion.digest, own));
  if (!first) throw new RangeError('an invalid verdict needs a replay that differs');
  const found = difference(result, first.done.result);
  const whose = first.judge === 'trusted' ? "the reference's" : "an independent miner's";
  const confirmed = others
    .filter((opinion) => agrees(opinion.digest, first.digest))
    .map(nameOf)
    .join(' and ');
  const text = `${found?.what ?? 'result'} differs from ${whose}: ${found?.how ?? 'not equal'} (confirmed by ${confirmed})`;
  return suspicion ? `${copySentence(suspicion)}: ${text}` : text;
}

function copySentence(suspicion: Suspicion): string {
  if (suspicion.of === 'picture') {
    const { picture, copyOf, distance } = suspicion;
    const how = distance === null ? 'equal pixels' : `${distance} of 256 bits apart`;
    return `picture ${picture + 1} is a copy of one of job ${copyOf}, which another input asked for (${how})`;
  }
  const { copyOf, cosine } = suspicion;
  return `copy of the adapter of job ${copyOf}, which was trained on another photograph (cosine ${cosine.toFixed(4)})`;
}

function nameOf({ judge, done: { hotkey } }: Opinion): string {
  return judge === 'trusted' ? `the reference ${hotkey}` : 'an independent miner';
}

/** Each peer's replica is judged as if it were the target, by the other replays and the target's result. */
function wrongReplicas(
  audit: AuditCase,
  opinions: readonly Opinion[],
  comparator: ResultComparator,
): Judgment['replicas'] {
  return opinions
    .filter(({ judge }) => judge === 'peer')
    .flatMap((replica) => {
      const others = witnessesAgainst(replica, audit, opinions, comparator);
      const replays = others.map(({ judge, done, digest }): Replay => ({ by: judge, hotkey: done.hotkey, digest }));
      const target = { hotkey: replica.done.hotkey, digest: replica.digest };
      const verdict = decideVerdict({ target, replays, agrees: comparator.agrees, exhausted: true });
      return verdict.outcome === 'invalid' ? [replicaJudgment(audit, replica, others, comparator)] : [];
    });
}

/** References first: the first replay is the one that others have to confirm. */
function witnessesAgainst(
  replica: Opinion,
  audit: AuditCase,
  opinions: readonly Opinion[],
  { digest }: ResultComparator,
): Opinion[] {
  const { jobId, hotkey, operator, attemptNo, epoch, result } = audit;
  const target: Opinion = {
    ordinal: 0,
    judge: 'peer',
    jobId,
    done: { hotkey, operator, attemptNo, epoch, result },
    digest: digest(result),
  };
  const others = opinions.filter((opinion) => opinion !== replica);
  return [
    ...others.filter(({ judge }) => judge === 'trusted'),
    ...others.filter(({ judge }) => judge === 'peer'),
    target,
  ];
}

function replicaJudgment(
  audit: AuditCase,
  { jobId, done, digest }: Opinion,
  witnesses: readonly Opinion[],
  comparator: ResultComparator,
): Judgment['replicas'][number] {
  const draw = { why: 'replica' as const, q: null, u: null, epoch: done.epoch, policyVersion: audit.policy.version };
  return {
    outcome: 'invalid',
    reason: failureReason(done.result, witnesses, comparator, null),
    evidence: {
      ...evidenceOn(digest, witnesses, comparator, audit.policy),
      draw,
      suspicion: null,
      replicaOf: audit.id,
    },
    target: { jobId, attemptNo: done.attemptNo, hotkey: done.hotkey, kind: audit.kind, epoch: done.epoch },
  };
}
