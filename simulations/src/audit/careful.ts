/**
 * Miners that know every public rule and cheat only while they believe that nobody suspects them. They see what a miner
 * can see: their own jobs at once, everything else when an epoch is settled. Quarantine alone shows before.
 */
import { wilsonLower } from '@studio/shared/domain/audit-sampling';
import { DEFAULT_POLICY } from '@studio/shared/domain/policy';
import type { Chance } from '../chance';
import type { Settlement } from './audited-miner';
import { percent, type Move, type Player, type Sight, type Strategy } from './strategies';

const { probationJobs, cusumPass, trustedWilson } = DEFAULT_POLICY.audit;

export interface Care {
  /** Share of jobs that it cheats on while unsuspected. */
  rate: number;
  /** Cheated jobs per epoch, at most. */
  burst: number;
  /** Waits for the lowered rate. */
  onlyTrusted: boolean;
  /** Epochs of honesty after a reversal that it sees. */
  pause: number;
  /** Cheats in this last part of an epoch only: what was caught shows soonest then, and least is left to be caught. */
  lastPart: number;
  /** Cheats only with so few awards exposed that a conviction finds few neighbours. */
  mostExposed: number;
  /** After a burst it refuses everything until the burst is final. */
  hides: boolean;
}

export const CARELESS: Care = {
  rate: 1,
  burst: Infinity,
  onlyTrusted: false,
  pause: 0,
  lastPart: 1,
  mostExposed: Infinity,
  hides: false,
};

export function careful(care: Partial<Care>, whenOut: Strategy['whenOut'] = 'wait'): Strategy {
  const all = { ...CARELESS, ...care };
  return { name: nameOf(all), whenOut, player: () => new CarefulPlayer(all) };
}

/** Verdicts that may still be under way when a settled record is read. */
const MARGIN_JOBS = 5;

class CarefulPlayer implements Player {
  /** S as it must be by now, if all that it did since the last settlement was honest and, while S > 0, audited. */
  private suspicion = 0;
  private isTrusted = false;
  private exposed = 0;
  private pausesUntil = 0;
  private hidesUntil = 0;
  private burstEpoch = 0;
  private inBurst = 0;

  constructor(private readonly care: Care) {}

  move(sight: Sight, chance: Chance): Move {
    const { epoch } = sight;
    if (this.burstEpoch !== epoch) {
      this.burstEpoch = epoch;
      this.inBurst = 0;
    }
    if (epoch < this.hidesUntil || (this.care.hides && this.inBurst >= this.care.burst)) return 'skip';
    const move = this.dares(sight) && chance.happens(this.care.rate) ? 'cheat' : 'work';
    const isWatched = sight.done < probationJobs || this.suspicion > 0;
    if (!isWatched) this.exposed += 1;
    this.suspicion = Math.max(0, this.suspicion + cusumPass);
    if (move === 'cheat') this.inBurst += 1;
    return move;
  }

  settled({ epoch, record, convictions, exposed }: Settlement): void {
    const { pause, hides, burst } = this.care;
    this.suspicion = record.cusum === 0 ? 0 : record.cusum - MARGIN_JOBS * cusumPass;
    this.isTrusted = this.wilson(record) >= trustedWilson;
    this.exposed = exposed;
    if (convictions > 0) this.pausesUntil = epoch + 1 + pause;
    if (convictions > 0) this.hidesUntil = 0;
    else if (hides && epoch === this.burstEpoch && this.inBurst >= burst) {
      this.hidesUntil = epoch + 1 + DEFAULT_POLICY.finalityEpochs;
    }
  }

  private wilson({ audits, passes }: Settlement['record']): number {
    return wilsonLower(passes, audits, DEFAULT_POLICY.audit.wilsonZ);
  }

  private dares({ done, epoch, through }: Sight): boolean {
    const { burst, onlyTrusted, lastPart, mostExposed } = this.care;
    if (done < probationJobs || this.suspicion > 0 || epoch < this.pausesUntil) return false;
    if (onlyTrusted && !this.isTrusted) return false;
    return this.inBurst < burst && through >= 1 - lastPart && this.exposed - this.inBurst <= mostExposed;
  }
}

/** Sees S at every moment, which no miner can: what the delay of everything to the close is for. */
export function clairvoyant(rate: number): Strategy {
  const move = ({ done, live }: Sight, chance: Chance): Move =>
    done >= probationJobs && live.cusum === 0 && chance.happens(rate) ? 'cheat' : 'work';
  return { name: `clairvoyant, ${percent(rate)}`, whenOut: 'wait', player: () => ({ move }) };
}

/** Works through probation, cheats on so many jobs, and is gone. */
export function hitAndRun(burst: number): Strategy {
  const move = ({ done }: Sight): Move =>
    done < probationJobs ? 'work' : done < probationJobs + burst ? 'cheat' : 'renew';
  return { name: `hit and run, ${burst} ${burst === 1 ? 'job' : 'jobs'}`, whenOut: 'renew', player: () => ({ move }) };
}

function nameOf({ rate, burst, onlyTrusted, pause, lastPart, mostExposed, hides }: Care): string {
  return [
    `careful, ${percent(rate)}`,
    ...(burst === Infinity ? [] : [`${burst} an epoch`]),
    ...(onlyTrusted ? ['when trusted'] : []),
    ...(pause === 0 ? [] : [`pauses ${pause} epochs`]),
    ...(lastPart === 1 ? [] : [`in the last ${percent(lastPart)}`]),
    ...(mostExposed === Infinity ? [] : [mostExposed === 0 ? 'unexposed' : `≤ ${mostExposed} exposed`]),
    ...(hides ? ['hides'] : []),
  ].join(', ');
}
