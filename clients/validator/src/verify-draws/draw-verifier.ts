/**
 * Decides every draw of an epoch again, from the public export and the ledger alone. Pure; takes rows one at a time, so that
 * an export of any size is read once, and keeps of each what the checks of a whole miner need.
 */
import type { DrawExportHeader, DrawExportRow } from '@studio/shared/contract/draws';
import { auditRate, isDrawn, wilsonLower } from '@studio/shared/domain/audit-sampling';
import type { JobKind } from '@studio/shared/domain/job';
import { completePolicy, type Policy } from '@studio/shared/domain/policy';
import { drawU, opensCommitment } from '@studio/shared/protocol/draws';
import { Findings } from './findings';
import { checkFloor } from './floor-check';
import type { MinerDraws } from './miner-draws';
import { checkRecords } from './record-check';

/** An award of the epoch, as the log of score events has it. */
export interface Award {
  hotkey: string;
  kind: JobKind;
  points: string;
  policyVersion: number;
}

export class DrawVerifier {
  private readonly policy: Policy;
  private readonly secret: Uint8Array;
  private readonly miners = new Map<string, MinerDraws>();
  /** Never drawn job → the job that it replayed. */
  private readonly replays = new Map<string, string>();
  private readonly audited = new Set<string>();
  private readonly jobs = new Set<string>();
  private rows = 0;
  private last = '';

  /** @param awards by job id; emptied as their rows come. Undefined: there is no ledger to compare with. */
  constructor(
    private readonly header: DrawExportHeader,
    private readonly awards: Map<string, Award> | undefined,
    readonly findings = new Findings(),
  ) {
    this.policy = completePolicy(header.policy);
    this.secret = Buffer.from(header.secret, 'hex');
    const { secret, commitment } = header;
    findings.look(
      'secret',
      !opensCommitment(secret, commitment) && `SHA-256 of ${secret} is not the commitment ${commitment} of the export`,
    );
  }

  add(row: DrawExportRow): void {
    this.rows += 1;
    this.findings.look('rows', this.misplaced(row), this.ofAnotherPolicy(row));
    this.last = row.job_id;
    this.compareAward(row);
    if (row.audited !== null) this.audited.add(row.job_id);
    this.findings.look('audited', auditProblem(row));
    if (row.q === null) this.addReplay(row);
    else this.addDraw(row, row.q);
  }

  /** What can be said only once every row is there. */
  end(): Findings {
    const { findings, header } = this;
    if (this.rows !== header.rows)
      findings.fail('rows', `the export announces ${header.rows} rows and has ${this.rows}`);
    for (const miner of this.miners.values()) {
      checkRecords(miner, header, findings);
      checkFloor(miner, this.policy.audit.floorPerEpoch, findings);
    }
    this.endReplays();
    for (const [jobId, { hotkey, points }] of this.awards ?? []) {
      findings.look('awards', `job ${jobId}: an award of ${points} to ${hotkey} in the ledger, and no row`);
    }
    return findings;
  }

  private misplaced({ job_id: jobId }: DrawExportRow): string | false {
    return (
      jobId <= this.last && `job ${jobId} comes after job ${this.last}: rows are in the order of job ids, each job once`
    );
  }

  private ofAnotherPolicy({ job_id: jobId, policy_version: version }: DrawExportRow): string | false {
    const own = this.header.policy.version;
    return version !== own && `job ${jobId}: decided under policy ${version}, the epoch's is ${own}`;
  }

  private addDraw(row: DrawExportRow, q: number): void {
    const { job_id: jobId, hotkey, kind, drawn, audited, record } = row;
    const u = drawU(this.secret, jobId);
    this.findings.look('u', row.u !== u.toString() && `job ${jobId}: u is ${row.u}, recomputed ${u}`);
    this.findings.look('q', this.rateProblem(row));
    const expected = q >= 0 && q <= 1 && isDrawn(u, q);
    this.findings.look('drawn', drawn !== expected && `job ${jobId}: ${said(drawn)}, recomputed ${said(expected)}`);
    if (row.replay_of !== null) this.findings.fail('replays', `job ${jobId}: a draw and a replay in one`);
    const key = `${hotkey}|${kind}`;
    const miner = this.miners.get(key) ?? { hotkey, kind, draws: [] };
    this.miners.set(key, miner);
    miner.draws.push({ jobId, u, drawn, audited, record, finishedAt: row.finished_at, takenAt: row.taken_at });
  }

  private rateProblem({ job_id: jobId, q, record }: DrawExportRow): string | undefined {
    if (record === null) return `job ${jobId}: q is ${q}, and what it was decided from is missing`;
    const { jobs_seen: jobsSeen, audits, passes, cusum } = record;
    if (!(passes >= 0 && passes <= audits)) return `job ${jobId}: ${passes} passes of ${audits} audits cannot be`;
    const { audit } = this.policy;
    const expected = auditRate({ jobsSeen, cusum, wilsonLower: wilsonLower(passes, audits, audit.wilsonZ) }, audit);
    return q === expected ? undefined : `job ${jobId}: q is ${q}, recomputed ${expected}`;
  }

  private addReplay({ job_id: jobId, u, record, drawn, replay_of: replayOf }: DrawExportRow): void {
    this.findings.look(
      'replays',
      (u !== null || record !== null || drawn) && `job ${jobId}: never drawn, and yet it has a draw`,
      replayOf === null && `job ${jobId}: never drawn, and no replay either`,
    );
    if (replayOf !== null) this.replays.set(jobId, replayOf);
  }

  private endReplays(): void {
    const elsewhere = new Set<string>();
    for (const [jobId, target] of this.replays) {
      if (this.audited.has(target)) continue;
      if (this.jobs.has(target))
        this.findings.fail('replays', `job ${jobId} replays job ${target}, which was not audited`);
      else elsewhere.add(target);
    }
    if (this.replays.size === 0) return;
    const targets = new Set(this.replays.values()).size;
    this.findings.note('replays', `of ${targets} audited jobs, ${elsewhere.size} of them of other epochs`);
  }

  private compareAward({ job_id: jobId, hotkey, kind, points, policy_version: version }: DrawExportRow): void {
    this.jobs.add(jobId);
    if (!this.awards) return;
    const award = this.awards.get(jobId);
    this.awards.delete(jobId);
    const differs = (what: string, own: unknown, theirs: unknown): string | false =>
      own !== theirs && `job ${jobId}: ${what} ${String(own)}, in the ledger ${String(theirs)}`;
    this.findings.look(
      'awards',
      !award && `job ${jobId}: ${points} points of ${hotkey}, and no award in the ledger`,
      ...(award
        ? [
            differs('miner', hotkey, award.hotkey),
            differs('kind', kind, award.kind),
            differs('points', points, award.points),
            differs('policy', version, award.policyVersion),
          ]
        : []),
    );
  }
}

/** Of drawn jobs some are known answers; a copy is suspected, a floor filled and a replica convicted without a draw. */
function auditProblem({ job_id: jobId, drawn, audited, outcome, q }: DrawExportRow): string | false {
  if ((audited === null) !== (outcome === null)) return `job ${jobId}: audited ${audited}, outcome ${outcome}`;
  if (drawn && audited !== 'draw' && audited !== 'canary')
    return `job ${jobId}: drawn, and audited ${audited ?? 'never'}`;
  if (!drawn && audited === 'draw') return `job ${jobId}: audited as drawn, and not drawn`;
  const isReplica = audited === 'replica';
  const canBe = audited === null || audited === 'canary' || isReplica === (q === null);
  return !canBe && `job ${jobId}: audited as ${audited}, which ${q === null ? 'a replay' : 'a draw'} cannot be`;
}

const said = (drawn: boolean): string => (drawn ? 'drawn' : 'not drawn');

/** All of it at once, for what is in memory. */
export function verifyDraws(
  header: DrawExportHeader,
  rows: Iterable<DrawExportRow>,
  awards: ReadonlyMap<string, Award> | undefined,
): Findings {
  const verifier = new DrawVerifier(header, awards && new Map(awards));
  for (const row of rows) verifier.add(row);
  return verifier.end();
}
