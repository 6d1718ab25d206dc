import type { DataSource, EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { completePolicy, type Policy } from '@studio/shared/domain/policy';
import { correctVerdicts, type Corrected } from './correction.store';

/** What an operator takes back: invalid verdicts of an interval that a reference had a part in. */
export interface Amnesty {
  /** Only verdicts that this reference spoke in; null: that any reference did. */
  reference: string | null;
  /** By when the verdict was decided; ISO 8601, the end excluded. */
  from: string;
  until: string;
  /** For the miners: it stands in their accounts and in the ledger. */
  reason: string;
}

export interface AmnestyReport extends Corrected {
  /** Null when it was only tried. */
  id: string | null;
}

/** Thrown to undo what was only tried. */
class Undo extends Error {}

/** A replay by the trusted judge, of the given hotkey where one is given. */
const SPOKEN_IN = `v.decided_at >= $4::timestamptz AND v.decided_at < $5::timestamptz AND EXISTS (
  SELECT 1 FROM jsonb_array_elements(v.evidence->'replays') r
   WHERE r->>'judge' = 'trusted' AND ($6::text IS NULL OR r->>'hotkey' = $6))`;

export class AmnestyStore {
  constructor(private readonly source: DataSource) {}

  /** Append-only, like everything that follows from it. With `dryRun` all is done, counted and rolled back. */
  async grant(amnesty: Amnesty, dryRun: boolean): Promise<AmnestyReport> {
    const id = uuidv7();
    let report: Corrected | undefined;
    try {
      await this.source.transaction(async (tx) => {
        report = await carryOut(tx, id, amnesty);
        if (dryRun) throw new Undo();
      });
    } catch (error) {
      if (!(error instanceof Undo)) throw error;
    }
    if (!report) throw new Error('the transaction ended without a report');
    return { id: dryRun ? null : id, ...report };
  }
}

async function carryOut(tx: EntityManager, id: string, amnesty: Amnesty): Promise<Corrected> {
  const { reference, from, until, reason } = amnesty;
  await tx.query(
    'INSERT INTO studio.amnesties (id, reference, from_at, until_at, reason) VALUES ($1, $2, $3, $4, $5)',
    [id, reference, from, until, reason],
  );
  const [newest]: { body: Policy }[] = await tx.query('SELECT body FROM studio.policies ORDER BY version DESC LIMIT 1');
  if (!newest) return { verdicts: 0, miners: 0, quarantines: 0, restorations: 0, points: '0' };
  const cause = { type: 'amnesty' as const, id, reason };
  return correctVerdicts(tx, cause, SPOKEN_IN, [from, until, reference], completePolicy(newest.body));
}
