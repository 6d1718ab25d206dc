/** Who plays: those that a promise speaks of, and those that it does not. */
import { careful, clairvoyant, hitAndRun } from './careful';
import type { Course } from './play';
import { quorumJudge } from './quorum';
import { cheating, copying, HONEST, percent, renewing, turning, type Strategy } from './strategies';

export interface Profile {
  strategy: Strategy;
  changes?: Partial<Course>;
}

export const RATES = [0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1] as const;

/** Members of the subnet, judged by a reference: none may earn more than an honest one. */
export const MEMBERS: readonly Profile[] = [
  { strategy: HONEST },
  ...RATES.map((rate) => ({ strategy: cheating(rate) })),
  { strategy: turning(500, 0.1) },
  { strategy: copying(0.1) },
  { strategy: named(copying(0.1), 'copies 10 %, half of them forgotten'), changes: { remembered: 0.5 } },
  { strategy: careful({ rate: 1 }) },
  { strategy: careful({ rate: 1, burst: 1 }) },
  { strategy: clairvoyant(1) },
];

const SHARES_OF_TIME = [1 / 3, 2 / 3, 0.8] as const;

/** A cheat that answers at once earns more than honest work that takes its time. */
export const FASTER: readonly Profile[] = SHARES_OF_TIME.flatMap((honestLatency) =>
  [cheating(0.005), careful({ rate: 1, burst: 1 })].map((strategy) => ({
    strategy: named(strategy, `honest jobs take ${percent(honestLatency)} of the time, ${strategy.name}`),
    changes: { honestLatency },
  })),
);

/** Who gets a new hotkey for nothing is always a newcomer. Busy miners do a burst before its first verdict comes. */
export const RENEWING: readonly Profile[] = [
  ...[0.02, 0.1, 0.5].map((rate) => ({ strategy: named(renewing(cheating(rate)), `cheats on ${percent(rate)}`) })),
  { strategy: named(careful({ rate: 1 }, 'renew'), 'careful, 100 %') },
  ...[1, 2, 3, 5, 10].map((burst) => ({ strategy: hitAndRun(burst) })),
  ...[3, 5, 10].map((burst) => ({
    strategy: named(hitAndRun(burst), `${hitAndRun(burst).name}; 1,000 jobs an epoch`),
    changes: { jobsPerEpoch: 1_000 },
  })),
];

export const COLLUDING_SHARES = [0.05, 0.1, 0.2, 0.3, 0.5] as const;

/** Up to here the quorum detects as much as the policy's κ takes for granted: 0.8³ = 0.512. */
export const PROMISED_SHARE = 0.2;

const isPromised = (share: number): boolean => share <= PROMISED_SHARE;

/** Miners that vouch for each other, where no reference judges; with so few of them honesty still has to pay more. */
export const FEW_COLLUDE: readonly Profile[] = COLLUDING_SHARES.filter(isPromised).flatMap(colluding);
export const MANY_COLLUDE: readonly Profile[] = COLLUDING_SHARES.filter((share) => !isPromised(share)).flatMap(
  colluding,
);

function colluding(share: number): Profile[] {
  const judge = quorumJudge(share);
  const strategies = [cheating(0.02), cheating(0.1), cheating(1), careful({ rate: 1, burst: 1 })];
  return strategies.map((strategy) => ({
    strategy: named(strategy, `${percent(share)} collude, ${strategy.name}`),
    changes: { judge },
  }));
}

function named(strategy: Strategy, name: string): Strategy {
  return { ...strategy, name };
}
