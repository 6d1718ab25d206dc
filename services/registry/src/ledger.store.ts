import type { DataSource } from 'typeorm';
import type { LedgerEntryMessage } from '@studio/shared/contract/ledger';
import { StudioError, type FieldProblem } from '@studio/shared/domain/errors';
import type { JobKind } from '@studio/shared/domain/job';
import type { LedgerEntryType } from '@studio/shared/domain/score-window';

/** SQLSTATE that append_ledger raises for an entry that breaks a rule; its DETAIL lists them. */
const RULE_BROKEN = 'ST002';
const UNIQUE_VIOLATION = '23505';

export interface LedgerRow {
  seq: string;
  entry_id: string;
  type: LedgerEntryType;
  hotkey: string;
  kind: JobKind;
  job_id: string;
  epoch: number;
  points: string;
  reason: string;
  policy_version: number;
  created_at: Date;
}

/** The append-only ledger. Its rules live in the database (append_ledger), so that no code path can pass them by. */
export class LedgerStore {
  constructor(private readonly db: DataSource) {}

  /**
   * Appends a batch, all or nothing; an entry that is there already keeps its number.
   * @returns entry id, as given → number in the log of score events.
   * @throws StudioError LEDGER_REFUSED, with one field problem per entry that breaks a rule.
   */
  async append(entries: readonly LedgerEntryMessage[]): Promise<Map<string, string>> {
    const unique = [...new Map(entries.map((entry) => [entry.id.toLowerCase(), entry])).values()];
    try {
      const rows = await this.db.query<{ entry_id: string; seq: string }[]>(
        'SELECT entry_id, seq FROM studio.append_ledger($1::jsonb)',
        [JSON.stringify(unique)],
      );
      const seqs = new Map(rows.map(({ entry_id, seq }) => [entry_id, seq]));
      return new Map(entries.map(({ id }) => [id, seqs.get(id.toLowerCase()) ?? '']));
    } catch (error) {
      throw asRefusal(error, entries) ?? error;
    }
  }

  async ofEpoch(epoch: number): Promise<LedgerRow[]> {
    return this.db.query<LedgerRow[]>(
      `SELECT seq, entry_id, type, hotkey, kind, job_id, epoch, points, reason, policy_version, created_at
         FROM studio.ledger WHERE epoch = $1 ORDER BY seq`,
      [epoch],
    );
  }
}

function asRefusal(error: unknown, entries: readonly LedgerEntryMessage[]): StudioError | null {
  const { code, detail } = error as { code?: string; detail?: string };
  if (code === UNIQUE_VIOLATION) {
    return refusal(
      [{ path: 'entries', message: 'two entries of the batch are the same type for the same job' }],
      error,
    );
  }
  if (code !== RULE_BROKEN) return null;
  const problems = JSON.parse(detail ?? '[]') as { id: string; problem: string }[];
  return refusal(
    problems.map(({ id, problem }) => ({
      path: `entries.${entries.findIndex((entry) => entry.id.toLowerCase() === id)}`,
      message: problem,
    })),
    error,
  );
}

function refusal(fields: FieldProblem[], cause: unknown): StudioError {
  const [first] = fields;
  const more = fields.length > 1 ? ` (and ${fields.length - 1} more)` : '';
  return new StudioError('LEDGER_REFUSED', `${first?.path}: ${first?.message}${more}`, fields, { cause });
}
