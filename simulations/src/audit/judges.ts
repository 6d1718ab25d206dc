/** Who repeats an audited job, and what comes of it. The decision is the production's `decideVerdict`. */
import { decideVerdict, type Replay } from '@studio/shared/domain/audit-verdict';
import { DEFAULT_POLICY } from '@studio/shared/domain/policy';
import type { Chance } from '../chance';

export interface Ruling {
  outcome: 'valid' | 'invalid' | 'inconclusive';
  /** How many replays it took, one after the other. */
  replays: number;
  /** Detection power that the production would note with the verdict. */
  kappa: number;
}

export type Judge = (wrong: boolean, chance: Chance) => Ruling;

const TARGET = { hotkey: 'target', digest: 'target' };
const { kappaReference } = DEFAULT_POLICY.audit;

/** Asked for in this order: the reference, a second opinion of a peer, the reference again (next-step.ts). */
const ASKED: readonly Replay[] = [
  { by: 'trusted', hotkey: 'reference', digest: 'first' },
  { by: 'peer', hotkey: 'peer', digest: 'second' },
  { by: 'trusted', hotkey: 'reference', digest: 'third' },
];

/**
 * A trusted reference, and a comparator that takes two honest results of one job for different with this probability, each
 * pair by itself. 0 is `exact`. A wrong result agrees with no honest one.
 */
export function referenceJudge(falseDifference: number): Judge {
  return (wrong, chance) => {
    const differs = new Map<string, boolean>();
    const agrees = (a: string, b: string): boolean => {
      if (a === b) return true;
      if (wrong && (a === TARGET.digest || b === TARGET.digest)) return false;
      if (falseDifference === 0) return true;
      const pair = a < b ? `${a} ${b}` : `${b} ${a}`;
      const known = differs.get(pair) ?? chance.happens(falseDifference);
      differs.set(pair, known);
      return !known;
    };
    return ruleWith(agrees);
  };
}

/** Asks for replays until there is a verdict, as the auditor does. */
function ruleWith(agrees: (a: string, b: string) => boolean): Ruling {
  for (let count = 1; ; count += 1) {
    const replays = ASKED.slice(0, count);
    const { outcome } = decideVerdict({ target: TARGET, replays, agrees, exhausted: count >= ASKED.length });
    if (outcome !== 'need-replay' && outcome !== 'need-confirmation') {
      return { outcome, replays: count, kappa: kappaReference };
    }
  }
}

/** The pairs of one case that a comparator can take for different. */
const PAIRS = ['first target', 'second target', 'target third', 'first second', 'first third', 'second third'];

/** Share of honest audited jobs that end as a confirmed failure: every way in which the pairs can come out, weighed. */
export function confirmedFailureRate(falseDifference: number): number {
  let rate = 0;
  for (let ways = 0; ways < 2 ** PAIRS.length; ways += 1) {
    const differs = new Set(PAIRS.filter((_, bit) => (ways >> bit) & 1));
    const agrees = (a: string, b: string): boolean => a === b || !differs.has([a, b].sort().join(' '));
    if (ruleWith(agrees).outcome !== 'invalid') continue;
    rate += falseDifference ** differs.size * (1 - falseDifference) ** (PAIRS.length - differs.size);
  }
  return rate;
}

/** The highest rate of false differences per comparison at which confirmed failures stay within `target`. */
export function calibrated(target: number): number {
  let [low, high] = [0, 0.5];
  for (let step = 0; step < 50; step += 1) {
    const middle = (low + high) / 2;
    if (confirmedFailureRate(middle) <= target) low = middle;
    else high = middle;
  }
  return low;
}
