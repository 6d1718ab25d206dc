/** The events of an export, as a log that is whole, and what the other checks need of them. */
import type { ExportHeader } from '@studio/shared/contract/exports';
import type { ScoreEvent } from '@studio/shared/contract/scores';
import type { JobKind } from '@studio/shared/domain/job';
import { firstEpoch } from '@studio/shared/domain/score-window';
import { BrokenLog, LedgerCopy } from '../ledger-copy';
import type { Award } from '../verify-draws/draw-verifier';
import type { Findings } from './checks';

/** An award of the epoch that the export is of. */
export interface ExportedAward extends Award {
  line: number;
  /** Its reason says that it is paid nothing, whatever the latency. */
  unpaid: boolean;
}

/** How the auditor ends the reason of an award that is not paid for: nobody could have held the miner to account. */
const UNPAID = '; unpaid: ';

const HOUR_MS = 3_600_000;

export class EventLog {
  /** Sums of the events that came. */
  readonly sums: LedgerCopy;
  /** Of the epoch that the export is of, by job id. */
  readonly awards = new Map<string, ExportedAward>();
  first: ScoreEvent | undefined;
  last: ScoreEvent | undefined;
  private readonly versions: ReadonlySet<number>;
  private readonly epoch: number;
  private readonly endMs: number;

  constructor(
    private readonly header: ExportHeader,
    private readonly findings: Findings,
  ) {
    const { kind, name, from_seq: fromSeq, policies } = header;
    this.sums = LedgerCopy.from({ seq: fromSeq - 1, epochs: {} });
    this.versions = new Set(policies.map(({ version }) => version));
    this.epoch = kind === 'epoch' ? Number(name) : 0;
    this.endMs = kind === 'hour' ? Date.parse(name.replace('Z', ':00:00Z')) + HOUR_MS : Infinity;
  }

  add(event: ScoreEvent, line: number): void {
    const { seq, policy_version: version, at } = event;
    const expected = this.sums.seq + 1;
    this.findings.look(
      'log',
      seq !== expected && `seq is ${seq} where ${expected} has to come: a line is missing, or out of its place`,
      version !== undefined && !this.versions.has(version) && `policy_version ${version} is no policy of the header`,
      !(Date.parse(at) < this.endMs) && `at is ${at}, which is not before the end of the hour`,
      isUnpaid(event) && event.points !== '0' && `points are ${event.points} of an award that says to be unpaid`,
    );
    this.sums.seq = seq - 1;
    this.first ??= event;
    this.last = event;
    try {
      this.sums.apply(event);
      if (event.type === 'award' && event.epoch === this.epoch) this.addAward(event, line);
    } catch (error) {
      if (!(error instanceof BrokenLog)) throw error;
      this.findings.fail('log', error.message);
      this.sums.seq = seq;
    }
  }

  /** What can be said only once every event is there. @param windowEpochs of the epoch's policy. */
  end(windowEpochs: number | undefined): void {
    const { header, findings, last } = this;
    findings.look(
      'log',
      last?.seq !== header.to_seq && `the last event is ${last?.seq ?? 'none'}, the header announces ${header.to_seq}`,
      windowEpochs !== undefined && this.windowProblem(windowEpochs),
      header.kind === 'epoch' &&
        !(last?.type === 'snapshot' && last.epoch === this.epoch) &&
        `the last event is not the snapshot of epoch ${this.epoch}`,
    );
  }

  /** An epoch opens only once the second before it is closed: no award of it comes before that one's snapshot. */
  private windowProblem(windowEpochs: number): string | false {
    const before = firstEpoch({ epoch: this.epoch, windowEpochs }) - 2;
    if (this.first?.seq === 1) return false;
    const starts = this.first?.type === 'snapshot' && this.first.epoch === before;
    return !starts && `the log begins at ${this.first?.seq}: awards of the window may be missing before it`;
  }

  private addAward(event: ScoreEvent, line: number): void {
    const { job_id: jobId = '', hotkey = '', kind, points = '', policy_version: policyVersion = 0 } = event;
    this.findings.look('log', this.awards.has(jobId) && `job ${jobId} is awarded a second time`);
    const unpaid = isUnpaid(event);
    this.awards.set(jobId, { hotkey, kind: kind as JobKind, points, policyVersion, line, unpaid });
  }
}

function isUnpaid({ type, reason }: ScoreEvent): boolean {
  return type === 'award' && reason?.includes(UNPAID) === true;
}
