/** What a miner does with the jobs that are offered to it. */
import type { DrawRecord } from '@studio/auditor/filing';
import type { Chance } from '../chance';
import type { Settlement } from './audited-miner';

/** `skip`: it answers 429. `renew`: it leaves and comes back at once under a new hotkey, which takes this job honestly. */
export type Move = 'work' | 'cheat' | 'copy' | 'skip' | 'renew';

/** What a miner knows when a job comes. */
export interface Sight {
  /** Jobs offered so far, this one included, and where in its epoch it stands, from 0 to 1. */
  job: number;
  through: number;
  epoch: number;
  /** Jobs that this hotkey has done. */
  done: number;
  /** As the auditor has it now: only a clairvoyant may look. */
  live: Readonly<DrawRecord>;
}

export interface Player {
  move(sight: Sight, chance: Chance): Move;
  /** An epoch of this hotkey was settled. */
  settled?(news: Settlement): void;
}

export interface Strategy {
  name: string;
  /** A new player for every hotkey. */
  player: () => Player;
  /** In quarantine: wait it out, or come back at once under a new hotkey. */
  whenOut: 'wait' | 'renew';
}

const always = (name: string, move: Player['move']): Strategy => ({
  name,
  whenOut: 'wait',
  player: () => ({ move }),
});

export const HONEST = always('honest', () => 'work');

export const cheating = (rate: number): Strategy =>
  always(`cheats on ${percent(rate)}`, (_, chance) => (chance.happens(rate) ? 'cheat' : 'work'));

/** Copies from others in place of training. */
export const copying = (rate: number): Strategy =>
  always(`copies ${percent(rate)}`, (_, chance) => (chance.happens(rate) ? 'copy' : 'work'));

export const turning = (after: number, rate: number): Strategy =>
  always(`turns after ${after} jobs to ${percent(rate)}`, ({ done }, chance) =>
    done >= after && chance.happens(rate) ? 'cheat' : 'work',
  );

export const renewing = (strategy: Strategy): Strategy => ({ ...strategy, whenOut: 'renew' });

export function percent(share: number): string {
  return `${+(100 * share).toFixed(2)} %`;
}
