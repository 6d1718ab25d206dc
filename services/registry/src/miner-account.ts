import type { AccountLane, AccountScore, MinerAccount, MinerView } from '@studio/shared/contract/miners';
import { blockedByAddress } from '@studio/shared/domain/address-owners';
import { isStudioError } from '@studio/shared/domain/errors';
import type { FairnessBoard } from './fairness-board';
import type { MinerAccountStore } from './miner-account.store';
import type { ScoreBoards } from './score-board';

/** A miner's own account, put together from the ledger's scores, the attempts and the auditor's verdicts. */
export class MinerAccounts {
  constructor(
    private readonly store: MinerAccountStore,
    private readonly boards: Pick<ScoreBoards, 'current'>,
    private readonly fairness: Pick<FairnessBoard, 'fairJobs'>,
  ) {}

  /** @param limit of each list. */
  async of(miner: MinerView, limit: number): Promise<MinerAccount> {
    const { hotkey } = miner;
    const [score, lanes, jobs, missed, measurement, claims, quarantines, verdicts] = await Promise.all([
      this.score(hotkey),
      this.lanes(miner),
      this.store.jobs(hotkey, limit),
      this.store.missed(hotkey, limit),
      this.store.measurement(hotkey),
      this.store.claimsAtAddressOf(hotkey),
      this.store.quarantines(hotkey),
      this.store.verdicts(hotkey, limit),
    ]);
    const blocked = blockedByAddress(claims).get(hotkey) ?? null;
    return { score, lanes, jobs, missed, measurement, blocked, quarantines, verdicts };
  }

  private async score(hotkey: string): Promise<AccountScore | null> {
    const board = await this.boards.current().catch(noEpochYet);
    const own = board?.miners.find((miner) => miner.hotkey === hotkey);
    if (!board || !own) return null;
    const points = BigInt(own.points);
    const { points: sum, points_by_kind, valid_jobs, win_rate, u16 } = own;
    const rank = 1 + board.miners.filter((other) => BigInt(other.points) > points).length;
    return {
      epoch: board.epoch,
      points: sum,
      points_by_kind,
      valid_jobs,
      win_rate,
      u16,
      rank,
      of: board.miners.length,
    };
  }

  private async lanes({ hotkey, offers }: MinerView): Promise<AccountLane[]> {
    const [facts, rampStart] = await Promise.all([this.store.lanes(hotkey), this.store.rampStart()]);
    return Promise.all(
      offers.map(async ({ kind, engine, slots }): Promise<AccountLane> => {
        const own = facts.find((lane) => lane.kind === kind && lane.engine === engine);
        return {
          kind,
          engine,
          declared: slots,
          proven: Math.min(slots, own?.proven ?? rampStart),
          open: own?.open ?? 0,
          jobs_last_hour: own?.jobs ?? 0,
          fair_share_last_hour: await this.fairness.fairJobs(hotkey, kind, engine),
        };
      }),
    );
  }
}

function noEpochYet(error: unknown): null {
  if (isStudioError(error) && error.code === 'NOT_FOUND') return null;
  throw error;
}
