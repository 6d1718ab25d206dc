/**
 * Everything that a miner could tell two classes of requests apart by: what only one of them has, every fact on its own, and
 * all facts together, learned.
 */
import { Chance } from '@studio/simulations/chance';
import { learn, type Case } from './learned-attack';
import { beyondChance, compare } from './two-sample';

export interface Observation {
  isAudit: boolean;
  /** Kind and part of the run: the shares of audits may differ between strata, what a request looks like within one may not. */
  stratum: string;
  /** Alternates along the run: the attack is tried in the half that it did not learn from. */
  half: 0 | 1;
  /** Of the request, without values: has to be one of the same few in both classes. */
  form: string;
  /**
   * Of what follows, without values, by what it is and its status (`callback 200`). One callback in hundreds comes too late, by
   * accident: how often a status comes is a fact, to be counted; what comes with one has to be the same in both classes.
   */
  replies: Readonly<Record<string, string>>;
  /** What it has of them: an inference has no rank. */
  facts: Readonly<Record<string, number>>;
}

export interface FactDifference {
  fact: string;
  distance: number;
  p: number;
  isDifferent: boolean;
}

export interface AttackOutcome {
  /** As many audits as other requests: guessing has one half right. */
  trials: number;
  right: number;
  /** So many or more are more than luck. */
  luckEnds: number;
}

/**
 * One run in a thousand fails by chance in any of the facts together, one in a thousand by the attack. With 100 audits beside
 * 200 other requests and 80 facts, four in five times a distance of 0.4 between the distributions of one fact is found: a shift
 * by one standard deviation, or a mark that two in five audits carry alone. The attack is found out at 61 % right.
 */
export const ALPHA = 0.001;

/** Below every number that there is. */
const ABSENT = -1e15;

/** Forms that only one of the two has; of replies, with statuses that both have. */
export function formsOfOneSide(observations: readonly Observation[]): { audits: string[]; others: string[] } {
  const repliesOf = (isAudit: boolean): [string, string][] =>
    observations.filter((item) => item.isAudit === isAudit).flatMap(({ replies }) => Object.entries(replies));
  const statuses = [true, false].map((isAudit) => new Set(repliesOf(isAudit).map(([status]) => status)));
  const formsOf = (isAudit: boolean): Set<string> =>
    new Set([
      ...observations.filter((item) => item.isAudit === isAudit).map(({ form }) => form),
      ...repliesOf(isAudit)
        .filter(([status]) => statuses.every((known) => known.has(status)))
        .map(([status, form]) => `${status}: ${form}`),
    ]);
  const [audits, others] = [formsOf(true), formsOf(false)];
  return {
    audits: [...audits].filter((form) => !others.has(form)),
    others: [...others].filter((form) => !audits.has(form)),
  };
}

/** Bonferroni: each fact is held to its share of ALPHA. The least alike first. */
export function compareFacts(observations: readonly Observation[], seed: number): FactDifference[] {
  const chance = new Chance(seed);
  const names = factNames(observations);
  return names
    .map((fact) => {
      const sample = observations.map(({ facts, isAudit, stratum }) => ({
        value: facts[fact] ?? ABSENT,
        isMarked: isAudit,
        stratum,
      }));
      const { distance, p } = compare(sample, chance);
      return { fact, distance, p, isDifferent: p < ALPHA / names.length };
    })
    .sort((a, b) => a.p - b.p || b.distance - a.distance);
}

/** Learns in each half and guesses in the other. */
export function attack(observations: readonly Observation[], seed: number): AttackOutcome {
  const chance = new Chance(seed);
  const names = factNames(observations);
  const halves = ([0, 1] as const).map((half): Case[] =>
    observations
      .filter((item) => item.half === half)
      .map(({ facts, isAudit }) => ({ facts: names.map((name) => facts[name] ?? ABSENT), isMarked: isAudit })),
  ) as [Case[], Case[]];
  let [right, trials] = [0, 0];
  for (const [learned, unseen] of [halves, [...halves].reverse()] as [Case[], Case[]][]) {
    const guess = learn(learned);
    const tried = balanced(unseen, chance);
    trials += tried.length;
    right += tried.filter(({ facts, isMarked }) => guess(facts) === isMarked).length;
  }
  return { trials, right, luckEnds: beyondChance(trials, ALPHA) };
}

/** Those that are not the same in all observations. */
function factNames(observations: readonly Observation[]): string[] {
  const values = new Map<string, Set<number>>();
  for (const { facts } of observations) {
    for (const name of Object.keys(facts)) values.set(name, new Set());
  }
  for (const { facts } of observations) {
    for (const [name, seen] of values) seen.add(facts[name] ?? ABSENT);
  }
  return [...values].filter(([, seen]) => seen.size > 1).map(([name]) => name);
}

/** All of the smaller class, and as many of the larger one, drawn at random. */
function balanced(cases: readonly Case[], chance: Chance): Case[] {
  const marked = cases.filter(({ isMarked }) => isMarked);
  const others = cases.filter(({ isMarked }) => !isMarked);
  const [few, many] = marked.length < others.length ? [marked, others] : [others, marked];
  for (let at = 0; at < few.length; at += 1) {
    const other = chance.whole(at, many.length - 1);
    [many[at], many[other]] = [many[other]!, many[at]!];
  }
  return [...few, ...many.slice(0, few.length)];
}
