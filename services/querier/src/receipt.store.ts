/** What a receipt is made of: the job, whose result it has, and what became of it in an audit. */
import type { MinerReceipt, ReceiptVerdict } from '@studio/shared/contract/receipt';
import type { Engine, JobFailure, JobInput, JobKind, JobResult, JobState } from '@studio/shared/domain/job';
import type { DataSource } from 'typeorm';

export interface ReceiptFacts {
  id: string;
  kind: JobKind;
  engine: Engine;
  state: JobState;
  input: JobInput;
  result: JobResult | null;
  failure: JobFailure | null;
  createdAt: Date;
  finishedAt: Date | null;
  attempt: AcceptedAttempt | null;
  verdict: (Omit<ReceiptVerdict, 'decided_at'> & { decidedAt: string }) | null;
}

/** As JSON, so that times are text. */
export interface AcceptedAttempt {
  attemptNo: number;
  hotkey: string;
  dialect: 'native' | 'dippy';
  sentAt: string;
  finishedAt: string;
  rawUs: number;
  creditUs: number;
  netUs: number;
  signed: MinerReceipt | null;
}

export class ReceiptStore {
  constructor(private readonly db: DataSource) {}

  /** Undefined for another client's job. A verdict is told from the close of its epoch on, as it is to its miner. */
  async find(clientId: string, id: string): Promise<ReceiptFacts | undefined> {
    const [row] = await this.db.query<ReceiptFacts[]>(
      `SELECT j.id, j.kind, j.engine, j.state, j.input, j.result, j.failure,
              j.created_at AS "createdAt", j.finished_at AS "finishedAt",
              CASE WHEN a.job_id IS NOT NULL THEN jsonb_build_object(
                'attemptNo', a.attempt_no, 'hotkey', a.hotkey, 'dialect', a.dialect, 'sentAt', a.sent_at,
                'finishedAt', a.finished_at, 'rawUs', a.raw_us, 'creditUs', a.credit_us, 'netUs', a.net_us,
                'signed', a.receipt) END AS attempt,
              CASE WHEN e.epoch IS NOT NULL THEN jsonb_build_object(
                'outcome', v.outcome, 'reason', v.reason, 'epoch', v.decided_in, 'decidedAt', v.decided_at,
                'corrected_by', c.cause) END AS verdict
         FROM studio.jobs j
         LEFT JOIN studio.attempts a ON a.job_id = j.id AND a.attempt_no = j.accepted_attempt
         LEFT JOIN (studio.verdicts v JOIN studio.audits u ON u.id = v.audit_id AND u.round = 1
                    JOIN studio.epochs e ON e.epoch = v.decided_in AND e.state = 'closed') ON v.job_id = j.id
         LEFT JOIN studio.corrections c ON c.audit_id = v.audit_id
        WHERE j.id = $2 AND j.client_id = $1`,
      [clientId, id],
    );
    return row;
  }
}
