import type { EntityManager } from 'typeorm';
import type { AppealFiling, AppealReply } from '@studio/shared/contract/appeals';
import { StudioError } from '@studio/shared/domain/errors';
import { completePolicy, type Policy } from '@studio/shared/domain/policy';
import type { MinerStore, SignedBy } from './miner.store';

interface FiledRow {
  job_id: string;
  reason: string;
  filed_at: Date;
  state: AppealReply['state'];
}

/** Appeals as miners file them; the auditor takes them up and does the audit again. The only writer of `appeals`. */
export class AppealStore {
  constructor(private readonly miners: Pick<MinerStore, 'signed'>) {}

  /**
   * Files an appeal, or finds the same one filed before.
   * @throws StudioError SIGNATURE_REFUSED for a used nonce, NOT_FOUND where this miner may know of no invalid verdict on the
   * job, APPEAL_REFUSED where the verdict was taken back, the words are others than before, or the epoch's appeals are used up.
   */
  async file(by: SignedBy, { job_id: jobId, reason }: AppealFiling): Promise<AppealReply> {
    return this.miners.signed(by, async (tx) => {
      // One at a time for each miner: the epoch's appeals are counted, and the same one may come twice at once.
      await tx.query('SELECT 1 FROM studio.miners WHERE hotkey = $1 FOR UPDATE', [by.hotkey]);
      const { corrected } = await invalidVerdict(tx, by.hotkey, jobId);
      const filed = await filedAppeal(tx, jobId);
      if (filed) return sameAppeal(filed, reason);
      if (corrected) throw new StudioError('APPEAL_REFUSED', `the verdict on job ${jobId} was taken back already`);
      await requireRoom(tx, by.hotkey);
      await tx.query('INSERT INTO studio.appeals (job_id, hotkey, reason) VALUES ($1, $2, $3)', [
        jobId,
        by.hotkey,
        reason,
      ]);
      return toReply((await filedAppeal(tx, jobId)) as FiledRow);
    });
  }
}

/** Verdicts of epochs that are not closed are as if there were none: the answer must not tell who is audited. */
async function invalidVerdict(tx: EntityManager, hotkey: string, jobId: string): Promise<{ corrected: boolean }> {
  const [verdict] = await tx.query<{ corrected: boolean }[]>(
    `SELECT EXISTS (SELECT 1 FROM studio.corrections c WHERE c.audit_id = v.audit_id) AS corrected
       FROM studio.verdicts v
       JOIN studio.audits a ON a.id = v.audit_id AND a.round = 1
       JOIN studio.epochs decided ON decided.epoch = v.decided_in AND decided.state = 'closed'
      WHERE v.job_id = $1 AND v.hotkey = $2 AND v.outcome = 'invalid'`,
    [jobId, hotkey],
  );
  if (verdict) return verdict;
  const remedy = 'your account (GET /v1/miners/{hotkey}, signed) lists those of closed epochs';
  throw new StudioError('NOT_FOUND', `there is no invalid verdict on your job ${jobId}: ${remedy}`);
}

async function filedAppeal(tx: EntityManager, jobId: string): Promise<FiledRow | undefined> {
  const [row] = await tx.query<FiledRow[]>(
    `SELECT p.job_id, p.reason, p.filed_at, CASE WHEN a.state = 'decided' THEN 'decided' ELSE 'open' END AS state
       FROM studio.appeals p LEFT JOIN studio.audits a ON a.job_id = p.job_id AND a.round = 2
      WHERE p.job_id = $1`,
    [jobId],
  );
  return row;
}

function sameAppeal(filed: FiledRow, reason: string): AppealReply {
  if (filed.reason === reason) return toReply(filed);
  const message = `job ${filed.job_id} was appealed against at ${filed.filed_at.toISOString()}, with another reason`;
  throw new StudioError('APPEAL_REFUSED', `${message}: a verdict is appealed against once`);
}

/** @throws StudioError APPEAL_REFUSED when the miner has filed as many as one epoch allows. */
async function requireRoom(tx: EntityManager, hotkey: string): Promise<void> {
  const [open] = await tx.query<{ epoch: number; policy: Policy; filed: number }[]>(
    `SELECT e.epoch, p.body AS policy,
            (SELECT count(*)::int FROM studio.appeals a WHERE a.hotkey = $1 AND a.filed_at >= e.opened_at) AS filed
       FROM studio.epochs e JOIN studio.policies p ON p.version = e.policy_version WHERE e.state = 'open'`,
    [hotkey],
  );
  // An epoch opens in the transaction in which the one before begins to close.
  if (!open) throw new StudioError('NOT_FOUND', 'no epoch is open yet');
  const { appealsPerEpoch } = completePolicy(open.policy).audit;
  if (open.filed < appealsPerEpoch) return;
  throw new StudioError(
    'APPEAL_REFUSED',
    `${open.filed} appeals were filed in epoch ${open.epoch}, and ${appealsPerEpoch} are allowed: file this one in the next`,
  );
}

function toReply({ job_id, filed_at, state }: FiledRow): AppealReply {
  return { job_id, filed_at: filed_at.toISOString(), state };
}
