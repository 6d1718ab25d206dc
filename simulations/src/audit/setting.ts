import type { Chance } from '../chance';
import type { ReversalFactor } from './reversal-factor';

/** What one run is about. */
export interface Setting {
  size: Size;
  seed: number;
  chance: Chance;
  /** Cost of a cheated job, as a share of an honest one's: 0 is the cheater's best case. */
  cheatCost: number;
  /** Other than the production's only to show that the promises can break. */
  reversalFactor: ReversalFactor;
}

/** How much is simulated. */
export interface Size {
  name: string;
  /** Histories for each time to detection; with HMACs, and with verdicts that take their time. */
  flagHistories: number;
  filedHistories: number;
  delayedHistories: number;
  /** Honest histories of 10,000 jobs. */
  honestHistories: number;
  /** u's of each kind that are tested for uniformity. */
  drawSamples: number;
  /** Miners of each profile, and the epochs that they play. */
  miners: number;
  epochs: number;
  /** Miners of each variant in the search, and of the best ones found. */
  searchMiners: number;
  finalistMiners: number;
  /** Miners of the clairvoyant at each reversal factor, and at the two factors that are compared. */
  factorMiners: number;
  comparedMiners: number;
  /** Miners that measure what honesty loses. */
  honestMiners: number;
  /** Audits for each share of colluding operators. */
  quorumAudits: number;
}

/** Below two minutes on one busy core. */
export const DEFAULT: Size = {
  name: 'default',
  flagHistories: 100_000,
  filedHistories: 2_000,
  delayedHistories: 2_000,
  honestHistories: 100_000,
  drawSamples: 100_000,
  miners: 20,
  epochs: 200,
  searchMiners: 4,
  finalistMiners: 20,
  factorMiners: 8,
  comparedMiners: 40,
  honestMiners: 200,
  quorumAudits: 20_000,
};

export const FULL: Size = {
  name: 'full',
  flagHistories: 500_000,
  filedHistories: 5_000,
  delayedHistories: 10_000,
  honestHistories: 1_000_000,
  drawSamples: 500_000,
  miners: 100,
  epochs: 200,
  searchMiners: 10,
  finalistMiners: 100,
  factorMiners: 25,
  comparedMiners: 200,
  honestMiners: 1_000,
  quorumAudits: 100_000,
};
