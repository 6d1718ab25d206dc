import type { DataSource } from 'typeorm';
import type { Policy } from '@studio/shared/domain/policy';
import type { Epoch } from './epoch.store';
import { storedMetagraph, type StoredMetagraph } from './metagraph/metagraph.store';
import { SUMS_OF_WINDOW, toKindSum, windowBounds, type KindSum } from './score.store';
import type { SnapshotText } from './snapshots';

/** Makes the text from what the transaction read; pure. */
export type Compose = (facts: {
  ledgerSeq: number;
  sums: KindSum[];
  metagraph: StoredMetagraph | null;
}) => SnapshotText;

/** One immutable snapshot per epoch, numbered in the same log as the ledger entries. */
export class SnapshotStore {
  /** @param membersOnly weigh only the members of the metagraph. */
  constructor(
    private readonly db: DataSource,
    private readonly membersOnly: boolean,
  ) {}

  async find(epoch: number): Promise<SnapshotText | null> {
    const [row] = await this.db.query<SnapshotText[]>('SELECT body, sha256 FROM studio.snapshots WHERE epoch = $1', [
      epoch,
    ]);
    return row ?? null;
  }

  async latest(): Promise<SnapshotText | null> {
    const [row] = await this.db.query<SnapshotText[]>(
      'SELECT body, sha256 FROM studio.snapshots ORDER BY epoch DESC LIMIT 1',
    );
    return row ?? null;
  }

  /**
   * Takes the snapshot of a closing epoch and closes it. The counter's row lock keeps ledger entries out until the
   * commit, so the sums are those of all numbers up to `ledgerSeq`, and the snapshot's own number is the next.
   * @returns the snapshot's number; null when the epoch is not closing (any more): another replica was faster; null also
   * until a metagraph that is asked for has been read, because a snapshot without its members could never be mended.
   */
  async take(epoch: Epoch, compose: Compose): Promise<number | null> {
    return this.db.transaction(async (tx) => {
      const [counter] = await tx.query<{ last_seq: string }[]>('SELECT last_seq FROM studio.score_counter FOR UPDATE');
      const closing = await tx.query<unknown[]>(
        `SELECT 1 FROM studio.epochs WHERE epoch = $1 AND state = 'closing' FOR UPDATE`,
        [epoch.epoch],
      );
      const metagraph = this.membersOnly ? await storedMetagraph(tx) : null;
      if (counter === undefined || closing.length === 0 || (this.membersOnly && metagraph === null)) return null;
      const ledgerSeq = Number(counter.last_seq);
      const rows = await tx.query<Parameters<typeof toKindSum>[0][]>(
        SUMS_OF_WINDOW,
        windowOf(epoch.policy, epoch.epoch),
      );
      const { body, sha256 } = compose({ ledgerSeq, sums: rows.flatMap(toKindSum), metagraph });
      const seq = ledgerSeq + 1;
      await tx.query('INSERT INTO studio.snapshots (epoch, seq, body, sha256) VALUES ($1, $2, $3, $4)', [
        epoch.epoch,
        seq,
        body,
        sha256,
      ]);
      await tx.query('UPDATE studio.score_counter SET last_seq = $1', [seq]);
      await tx.query(`UPDATE studio.epochs SET state = 'closed', closed_at = studio.now() WHERE epoch = $1`, [
        epoch.epoch,
      ]);
      return seq;
    });
  }
}

function windowOf({ windowEpochs }: Policy, epoch: number): [number, number] {
  return windowBounds({ epoch, windowEpochs });
}
