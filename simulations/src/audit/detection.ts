/** How soon a cheating miner is flagged, and how many honest ones ever are. */
import { DEFAULT_POLICY } from '@studio/shared/domain/policy';
import type { Chance } from '../chance';
import { AuditedMiner, epochTime, type Rules } from './audited-miner';
import { filedDraws } from './draws';
import { flaggedAt, steady, type History } from './flag-times';
import { JOBS_PER_EPOCH, RULES } from './rules';
import type { Size } from './setting';
import { quantile, shareOf, type Share } from './statistics';

/** No cheater in the table gets this far. */
const GIVEN_UP_AFTER = 50_000;

export interface Quantiles {
  median: number;
  most: number;
}

export interface FlagTime {
  name: string;
  /** Jobs after which half of the miners, and 99 % of them, are flagged. */
  promised: Quantiles | undefined;
  found: Quantiles;
  /** The same with verdicts that come after the production's delay, in jobs until quarantine acts. */
  delayed: Quantiles;
  /** Points of the share flagged by then: [jobs, share]. */
  curve: [number, number][];
}

interface Case {
  name: string;
  history: History;
  promised?: Quantiles;
}

const cheater = (rate: number, promised?: Quantiles): Case => ({
  name: `cheats on ${100 * rate} %`,
  history: steady(rate, JOBS_PER_EPOCH, GIVEN_UP_AFTER),
  ...(promised ? { promised } : {}),
});

const TURNS_AFTER = 500;

/** What the mechanism was designed to: the figures that the simulation has to come to. */
export const CASES: readonly Case[] = [
  cheater(0.02),
  cheater(0.05, { median: 84, most: 890 }),
  cheater(0.1),
  cheater(0.25, { median: 11, most: 36 }),
  cheater(0.5),
  {
    name: `turns after ${TURNS_AFTER} jobs to 10 %`,
    history: { ...steady(0.1, JOBS_PER_EPOCH, GIVEN_UP_AFTER), failing: 0, turnsAfter: TURNS_AFTER },
    promised: { median: 97, most: 743 },
  },
];

const MOST = 0.99;

export function flagTime({ name, history, promised }: Case, size: Size, chance: Chance): FlagTime {
  const times = Float64Array.from({ length: size.flagHistories }, () => flaggedAt(history, DEFAULT_POLICY, chance));
  const sorted = times.sort().map((time) => time - history.turnsAfter);
  const delayed = sample(size.delayedHistories, () => playedUntilFlagged(history, RULES, chance));
  return { name, promised, found: quantilesOf(sorted), delayed, curve: curveOf(sorted) };
}

/** The case that is short enough to be filed by the production, HMACs included. */
export function filedFlagTime({ filedHistories }: Size, seed: number, chance: Chance): FiledFlagTime {
  const { name, history } = CASES.find(({ history: { failing } }) => failing === FILED_RATE)!;
  const found = sample(filedHistories, (i) => {
    const draws = filedDraws(DEFAULT_POLICY, `${seed}, history ${i}`);
    return playedUntilFlagged(history, { ...RULES, draws, replayMs: null }, chance);
  });
  return { name, found };
}

export type FiledFlagTime = Pick<FlagTime, 'name' | 'found'>;
const FILED_RATE = 0.25;

/** The same history job by job, with everything that the auditor does. @returns jobs after turning. */
export function playedUntilFlagged(history: History, rules: Rules, chance: Chance): number {
  const { jobsPerEpoch, turnsAfter, failing, failingThen, length } = history;
  const miner = new AuditedMiner('miner', rules, chance);
  for (let job = 0; job < length; job += 1) {
    const epoch = 1 + Math.floor(job / jobsPerEpoch);
    const at = epochTime(epoch, (job % jobsPerEpoch) / jobsPerEpoch, rules.policy);
    if (job > 0 && job % jobsPerEpoch === 0) miner.close(epoch - 1, at);
    miner.advance(at);
    if (miner.flaggedAfter !== undefined) return miner.flaggedAfter - turnsAfter;
    miner.file(chance.happens(job < turnsAfter ? failing : failingThen) ? 'wrong' : 'right', at, epoch);
  }
  return miner.flaggedAfter === undefined ? Infinity : miner.flaggedAfter - turnsAfter;
}

function sample(count: number, one: (i: number) => number): Quantiles {
  return quantilesOf(Float64Array.from({ length: count }, (_, i) => one(i)).sort());
}

function quantilesOf(sorted: ArrayLike<number>): Quantiles {
  return { median: quantile(sorted, 0.5), most: quantile(sorted, MOST) };
}

const CURVE_SHARES = Array.from({ length: 200 }, (_, i) => (i + 0.5) / 200).concat(0.999);

function curveOf(sorted: ArrayLike<number>): [number, number][] {
  return CURVE_SHARES.map((share) => [quantile(sorted, share), share]);
}

/** Honest miners whose results are now and then confirmed as wrong by mishap. */
export interface FalseFlags {
  failureRate: number;
  histories: number;
  flagged: Share;
  /** Of the histories, the share flagged by then. */
  curve: [number, number][];
}

export const HONEST_LENGTH = 10_000;

/** Promised of that many jobs: with this share of confirmed false failures, so many histories are flagged. */
export const FALSE_FLAGS = { rate: 0.001, least: 0.0001, most: 0.0003 };

export function falseFlags(failureRate: number, histories: number, chance: Chance): FalseFlags {
  const history = steady(failureRate, JOBS_PER_EPOCH, HONEST_LENGTH);
  const flagged: number[] = [];
  for (let i = 0; i < histories; i += 1) {
    const at = flaggedAt(history, DEFAULT_POLICY, chance);
    if (at < Infinity) flagged.push(at);
  }
  const steps = flagged.sort((a, b) => a - b).map((at, i): [number, number] => [at, (i + 1) / histories]);
  return {
    failureRate,
    histories,
    flagged: shareOf(flagged.length, histories),
    curve: [[0, 0], ...steps, [HONEST_LENGTH, flagged.length / histories]],
  };
}
