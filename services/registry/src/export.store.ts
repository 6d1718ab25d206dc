import type { DataSource } from 'typeorm';
import type { ExportHead, ExportKind, ExportsQuery, SignedHead } from '@studio/shared/contract/exports';
import type { Policy } from '@studio/shared/domain/policy';
import { firstEpoch, type Window } from '@studio/shared/domain/score-window';

/** What there is to sign, all of one moment. */
export interface ExportState {
  /** Time of the database. */
  now: Date;
  /** The newest head of each kind. */
  epoch: ExportHead | null;
  hour: ExportHead | null;
  /** Number of the snapshot of the epoch after the newest exported one, once there is one. */
  snapshotSeq: number | null;
  /** Time of the first event after the newest exported hour. */
  nextAt: Date | null;
}

const STATE = `
  SELECT studio.now() AS now, e.head AS epoch, h.head AS hour, s.seq AS "snapshotSeq", v.created_at AS "nextAt"
    FROM (SELECT 1) one
    LEFT JOIN LATERAL (SELECT head, name::int AS epoch FROM studio.exports WHERE kind = 'epoch'
                        ORDER BY to_seq DESC LIMIT 1) e ON true
    LEFT JOIN LATERAL (SELECT head, to_seq FROM studio.exports WHERE kind = 'hour' ORDER BY to_seq DESC LIMIT 1) h ON true
    LEFT JOIN studio.snapshots s ON s.epoch = coalesce(e.epoch, 0) + 1
    LEFT JOIN LATERAL (SELECT created_at FROM studio.score_events WHERE seq = coalesce(h.to_seq, 0) + 1) v ON true`;

const HEADS = 'SELECT head, signature FROM studio.exports WHERE kind = $1';

/** Heads of exports, and what else an export is made of. Rows are added once and never changed. */
export class ExportStore {
  constructor(private readonly db: DataSource) {}

  async state(): Promise<ExportState> {
    const [row] = await this.db.query<(Omit<ExportState, 'snapshotSeq'> & { snapshotSeq: string | null })[]>(STATE);
    if (!row) throw new Error('the state of the exports is one row');
    return { ...row, snapshotSeq: row.snapshotSeq === null ? null : Number(row.snapshotSeq) };
  }

  /** @returns false where another replica was faster, whatever it signed. */
  async add({ head, signature }: SignedHead, tiles: Buffer): Promise<boolean> {
    const rows = await this.db.query<unknown[]>(
      `INSERT INTO studio.exports (kind, name, from_seq, to_seq, head, signature, previous, tiles)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING RETURNING name`,
      [head.kind, head.name, head.from_seq, head.to_seq, JSON.stringify(head), signature, head.previous, tiles],
    );
    return rows.length > 0;
  }

  /** @param name `latest` is the newest of its kind. */
  async find(kind: ExportKind, name: string): Promise<SignedHead | null> {
    const [row] = await this.db.query<SignedHead[]>(
      `${HEADS} AND ($2 = 'latest' OR name = $2) ORDER BY to_seq DESC LIMIT 1`,
      [kind, name],
    );
    return row ?? null;
  }

  async list({ kind, before = Number.MAX_SAFE_INTEGER, limit }: ExportsQuery): Promise<SignedHead[]> {
    return this.db.query<SignedHead[]>(`${HEADS} AND to_seq < $2 ORDER BY to_seq DESC LIMIT $3`, [kind, before, limit]);
  }

  async tiles({ kind, name }: ExportHead): Promise<Buffer> {
    const [row] = await this.db.query<{ tiles: Buffer }[]>(
      'SELECT tiles FROM studio.exports WHERE kind = $1 AND name = $2',
      [kind, name],
    );
    return row?.tiles ?? Buffer.alloc(0);
  }

  /**
   * Number from which on a log holds every award of the window: the snapshot whose taking let the window's first epoch open
   * (it is the second before it), since no award of an epoch comes before the epoch.
   */
  async startOf(window: Window): Promise<number> {
    const before = firstEpoch(window) - 2;
    if (before < 1) return 1;
    const [row] = await this.db.query<{ seq: string }[]>('SELECT seq FROM studio.snapshots WHERE epoch = $1', [before]);
    return Number(row?.seq ?? 1);
  }

  /** Number of the last event after `seq` that is before the first one at or after `end`. */
  async cut(seq: number, end: Date): Promise<number> {
    const [row] = await this.db.query<{ cut: string }[]>(
      `SELECT coalesce((SELECT seq - 1 FROM studio.score_events WHERE seq > $1 AND created_at >= $2 ORDER BY seq LIMIT 1),
                       (SELECT last_seq FROM studio.score_counter)) AS cut`,
      [seq, end],
    );
    return Number(row?.cut ?? seq);
  }

  /** The policy of the epoch. */
  async policyOf(epoch: number): Promise<Policy> {
    const policy = (await this.policiesUntil(epoch, epoch))[0];
    if (!policy) throw new Error(`there is no epoch ${epoch}`);
    return policy;
  }

  /** Every policy that an epoch up to this one had, by version. */
  async policiesUntil(last: number, first = 1): Promise<Policy[]> {
    const rows = await this.db.query<{ body: Policy }[]>(
      `SELECT body FROM studio.policies
        WHERE version IN (SELECT policy_version FROM studio.epochs WHERE epoch BETWEEN $1 AND $2) ORDER BY version`,
      [first, last],
    );
    return rows.map(({ body }) => body);
  }

  async newestEpochBefore(time: Date): Promise<number> {
    const [row] = await this.db.query<{ epoch: number | null }[]>(
      'SELECT max(epoch) AS epoch FROM studio.epochs WHERE opened_at < $1',
      [time],
    );
    return row?.epoch ?? 0;
  }

  /** T_max of each job. */
  async timeouts(jobIds: readonly string[]): Promise<Map<string, number>> {
    const rows = await this.db.query<{ id: string; timeout_ms: number }[]>(
      'SELECT id, timeout_ms FROM studio.job_facts WHERE id = ANY($1::uuid[])',
      [jobIds],
    );
    return new Map(rows.map((row) => [row.id, row.timeout_ms]));
  }
}
