/** Verdicts as rows of a table: what was found, on what grounds, and where an objection to it stands. Pure. */
import type { AccountVerdict, VerdictEvidence } from '@studio/shared/contract/miners';

/** A hash's beginning tells two results apart; the whole is in --json. */
const DIGEST = 12;

export interface VerdictLine {
  epoch: number;
  job_id: string;
  outcome: string;
  reason: string;
  evidence: string;
  state: string;
}

/** A registry may be older than this kit: then a verdict has less to it. */
export function verdictRows(verdicts: readonly Partial<AccountVerdict>[]): Partial<VerdictLine>[] {
  return verdicts.map((verdict) => {
    const { epoch, job_id, outcome, reason, evidence } = verdict;
    return { epoch, job_id, outcome, reason, evidence: evidence && evidenceText(evidence), state: stateText(verdict) };
  });
}

function evidenceText({ digest, replays, draw, suspicion }: VerdictEvidence): string {
  const own = `yours ${short(digest)}`;
  const others = replays.map((replay) => `${replay.judge === 'trusted' ? 'reference' : 'peer'} ${grounds(replay)}`);
  const why = draw ? `${draw.why}, q ${draw.q ?? 'none'}` : 'compared without a draw';
  const copied = suspicion ? [`copy of job ${suspicion.copy_of}?`] : [];
  return [why, ...copied, own, ...others].join('\n');
}

function grounds({ digest, agrees, distances }: VerdictEvidence['replays'][number]): string {
  const measured = distances?.map((figures) => ` (${figuresText(figures)})`).join('') ?? '';
  return `${agrees ? 'agrees' : `differs: ${short(digest)}`}${measured}`;
}

function figuresText(figures: Readonly<Record<string, number>>): string {
  return Object.entries(figures)
    .map(([name, value]) => `${name} ${Math.round(value * 1_000) / 1_000}`)
    .join(', ');
}

function stateText({ outcome, appeal, corrected }: Partial<AccountVerdict>): string {
  if (corrected) return `taken back (${corrected.cause}): ${corrected.reason}`;
  if (appeal && appeal.outcome === null) return `appeal of ${appeal.filed_at}: open`;
  if (appeal) return `stands after an appeal, ${appeal.outcome}: ${appeal.verdict_reason ?? ''}`;
  return outcome === 'invalid' ? 'stands: see `appeal`' : '';
}

function short(digest: string): string {
  return digest.length > DIGEST ? `${digest.slice(0, DIGEST)}…` : digest;
}
